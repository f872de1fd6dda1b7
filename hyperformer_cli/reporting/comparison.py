"""Which methods' averages differ: paired over seeds, with intervals, and a sentence that counts the comparisons."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.reporting.groups import Group, differing, distinct_names, override, settings
from hyperformer_cli.reporting.statistics import FEWEST_FOR_INTERVAL, LEVEL, PairedDifferences, holm, paired_differences
from hyperformer_cli.reporting.table import Column, Row, Table, TableCell, over_seeds

ALL = "all"
_SIGNIFICANT = 0.05
# What must agree for the same seed to mean the same examples, in training and in the score.
_SAME_DATA = ("tasks", "data.source", "data.protocol", "data.samples_per_task", "evaluation.max_examples")


@dataclass(frozen=True)
class _Comparison:
    names: tuple[str, str]
    groups: tuple[Group, Group]
    found: PairedDifferences

    @property
    def difference(self) -> TableCell:
        return over_seeds(self.found.values)


def comparison_table(groups: Sequence[Group], split: str, against: str) -> Table | None:
    """Differences of the mean of metrics over the seeds that two rows share: against one row, or between all pairs.

    Args:
        groups: the rows of Table 1, scored on the same metrics.
        split: of the scores.
        against: a row's name, or the only one that begins with it; `all` compares every pair.

    Returns:
        None where no pair can be compared.

    Raises:
        InputError: no row is named so.
    """
    names = distinct_names(groups)
    compared: list[_Comparison] = []
    notes: list[str] = []
    for i, j in _pairs(names, against):
        pair = names[i], names[j]
        first, second = groups[i], groups[j]
        if different := _other_data(first, second):
            notes.append(f"{pair[0]} and {pair[1]} are not compared: {', '.join(different)} differ.")
            continue
        scores = [
            {run.recipe.seed: _score(group, k, split) for k, run in enumerate(group.runs)} for group in (first, second)
        ]
        seeds = [seed for seed in scores[0] if seed in scores[1]]
        if len(seeds) < 2:
            notes.append(f"{pair[0]} and {pair[1]} are not compared: they share {_count(len(seeds), 'seed')}.")
            continue
        if left_out := sorted({*scores[0], *scores[1]} - {*seeds}):
            listed = ", ".join(map(str, left_out))
            notes.append(
                f"{pair[0]} and {pair[1]}: without {_count(len(left_out), 'seed')} that only one has ({listed})."
            )
        found = paired_differences(*([own[seed] for seed in seeds] for own in scores))
        compared.append(_Comparison(pair, (first, second), found))
    if not compared:
        return None if not notes else _table([], [], split, notes)
    adjusted = holm([one.found.p for one in compared])
    return _table(compared, adjusted, split, [*_verdicts(compared, adjusted), *notes])


def names_row(groups: Sequence[Group], name: str) -> bool:
    """Whether a row of these groups has this name, or begins with it."""
    return bool(_matching(distinct_names(groups), name))


def _matching(names: Sequence[str], name: str) -> list[int]:
    exact = [i for i, own in enumerate(names) if own == name]
    return exact or [i for i, own in enumerate(names) if own.casefold().startswith(name.casefold())]


def _pairs(names: Sequence[str], against: str) -> Iterator[tuple[int, int]]:
    if against == ALL:
        yield from itertools.combinations(range(len(names)), 2)
        return
    matching = _matching(names, against)
    if len(matching) != 1:
        which = "no row is" if not matching else "several rows are"
        raise InputError(f"--compare: {which} named '{against}'; {did_you_mean(against, [ALL, *names])}")
    yield from ((matching[0], j) for j in range(len(names)) if j != matching[0])


def _other_data(first: Group, second: Group) -> list[str]:
    """The settings, with both values, in which two rows have other data."""
    both = [settings(group.recipe) for group in (first, second)]
    keys = [key for key in differing(both) if key in _SAME_DATA or key.startswith("data.samples_per_task.")]
    return [f"{override(key, both[0].get(key))} and {override(key, both[1].get(key))}" for key in keys]


def _score(group: Group, number: int, split: str) -> float:
    return Group((group.runs[number],)).average(split).mean


def _table(compared: Sequence[_Comparison], adjusted: Sequence[float], split: str, notes: Sequence[str]) -> Table:
    rows = []
    for one, p in zip(compared, adjusted, strict=True):
        ends = one.found.interval or (None, None)
        interval = [None if end is None else TableCell(end) for end in ends]
        folders = tuple(folder for group in one.groups for folder in group.folders)
        rows.append(Row(one.names, (one.difference, *interval, TableCell(one.found.p), TableCell(p)), folders))
    signed = "{:+.2f}"
    heads = [
        ("difference", signed),
        (f"{LEVEL:.0%} from", signed),
        ("to", signed),
        ("p", "{:.4f}"),
        ("p (Holm)", "{:.4f}"),
    ]
    return Table(
        kind="comparison",
        title=f"Differences of the mean of metrics over seeds, {split}, points",
        row_heads=("method", "minus"),
        columns=tuple(Column((name,), written) for name, written in heads),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _verdicts(compared: Sequence[_Comparison], adjusted: Sequence[float]) -> Iterator[str]:
    """The sentences: what is distinguished, what is not, and how."""
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for one, p in zip(compared, adjusted, strict=True):
        better, worse = one.names if one.difference.mean > 0 else one.names[::-1]
        if p < _SIGNIFICANT:
            kinds[True].append(f"{better} above {worse} by {abs(one.difference.mean):.2f}")
        else:
            kinds[False].append(f"{one.names[0]} and {one.names[1]}")
    yield (
        f"Distinguished at {_SIGNIFICANT:.0%} (paired t tests, {_count(len(compared), 'comparison')}, Holm): "
        f"{'; '.join(kinds[True]) or 'none'}."
    )
    if kinds[False]:
        yield f"Not distinguished: {'; '.join(kinds[False])}. That is no proof that they are equal."
    if any(one.found.interval is None for one in compared):
        yield f"Bootstrap intervals need {FEWEST_FOR_INTERVAL} seeds."


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
