"""From sheets to the rows that are used: cleaned, without faulty ones and copies, each with a role."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.starting.columns import FEWEST, is_number, label_spellings
from hyperformer_cli.starting.sheet import LeftOut, Sheet
from hyperformer_cli.starting.splitting import split_by_group, split_by_label, strata_of_numbers
from hyperformer_cli.tasks.metrics import Kind

LEAST_ROWS = 10
_COPY = "the same text as line "


@dataclass(frozen=True)
class Cleaned:
    """The rows that are used, by the file they come from.

    Attributes:
        rows: for every file its rows, their label as it will be written.
        left_out: every other row, with the reason.
        respelled: labels that were written in another case, as they were and as they are.
    """

    rows: list[list[dict[str, str]]]
    left_out: list[LeftOut]
    respelled: dict[str, str]


def clean(sheets: Sequence[Sheet], texts: Sequence[str], label: str, kind: Kind, are_split: bool) -> Cleaned:
    """Leaves out rows that training would refuse or that say nothing, and copies, which belong in one split only.

    Args:
        sheets: the files.
        texts, label: columns.
        kind: what is predicted.
        are_split: whether each file is a split of its own, whose copies of other rows stay.
    """
    spellings = label_spellings([row.values[label].strip() for sheet in sheets for row in sheet.rows])
    counts = Counter(spellings[row.values[label].strip()] for sheet in sheets for row in sheet.rows)
    counts.pop("", None)
    rare = {value for value, count in counts.items() if kind == "labels" and count < FEWEST}
    found: list[list[dict[str, str]]] = []
    left_out = [fault for sheet in sheets for fault in sheet.faults]
    respelled: dict[str, str] = {}
    seen: dict[tuple[str, ...], tuple[int, str]] = {}
    for sheet in sheets:
        kept: list[dict[str, str]] = []
        if are_split:
            seen = {}
        for row in sheet.rows:
            given = row.values[label].strip()
            value = given if kind == "text" else spellings[given]
            text = tuple(row.values[column].strip() for column in texts)
            reason = _fault(value, kind, rare, set(counts) - rare, label) if any(text) else "no text"
            if reason is None and kind != "text":
                line, first = seen.setdefault(text, (row.line, value))
                if line != row.line:
                    other = "" if first == value else f", but with another label ('{value}', there '{first}')"
                    reason = f"{_COPY}{line}{other}"
            if reason is not None:
                left_out.append(LeftOut(sheet.path, row.line, reason))
                continue
            if value != given:
                respelled[given] = value
            kept.append({**row.values, label: value})
        found.append(kept)
    return Cleaned(found, left_out, respelled)


def _fault(value: str, kind: Kind, rare: set[str], labels: set[str], column: str) -> str | None:
    if not value:
        return f"no {column}"
    if value in rare:
        near = f"; {did_you_mean(value, labels)}" if labels else ""
        return f"{column} '{value}' has fewer than {FEWEST} rows{near}"
    if kind == "numbers" and not is_number(value):
        return f"{column} '{value}' is not a number"
    return None


def is_plain_copy(reason: str) -> bool:
    """Whether a row was left out only because another one says the same."""
    return reason.startswith(_COPY) and "another label" not in reason


def assign_roles(
    rows: Sequence[Mapping[str, str]], texts: Sequence[str], label: str, kind: Kind, group: str | None, seed: int
) -> list[SplitName]:
    """A role for every row of a single file.

    Raises:
        InputError: too few rows, or groups.
    """
    if len(rows) < LEAST_ROWS:
        raise InputError(f"{len(rows)} rows can be used; three splits need {LEAST_ROWS} or more")
    values = [row[label] for row in rows]
    if kind == "numbers":
        strata: Sequence[int | str] = strata_of_numbers([float(value) for value in values])
    else:
        strata = values if kind == "labels" else [0] * len(rows)
    if group is not None:
        return split_by_group(strata, [row[group] for row in rows], seed, group)
    if kind == "text":  # one text may have several targets, and its copies belong in one split
        inputs = ["\n".join(row[column] for column in texts) for row in rows]
        distinct = list(dict.fromkeys(inputs))
        roles = dict(zip(distinct, split_by_label([0] * len(distinct), seed), strict=True))
        return [roles[text] for text in inputs]
    return split_by_label(strata, seed)
