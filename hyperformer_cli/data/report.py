"""What is in a task's data, and what about it will hurt: counts, lengths beside the limits, duplicates, warnings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hyperformer_cli.config.sections import DataSection
from hyperformer_cli.data.encoding import Encoding
from hyperformer_cli.data.examined import UNLIMITED, Examined, examine_rows, examine_tokens
from hyperformer_cli.data.loading import select_rows
from hyperformer_cli.data.report_warnings import LabelReport, SplitReport, data_warnings
from hyperformer_cli.data.sources import Rows, load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit
from hyperformer_cli.schema.section import SPLITS, SplitName
from hyperformer_cli.tasks.task import Task

# Rows of a data set's split and what was found in them, by the task's definition, data.source and the split.
KnownRows = dict[tuple[str, str, str], tuple[Rows, Examined]]

PERCENTILES = (50, 95, 99, 100)
EXAMPLES = 3


@dataclass(frozen=True)
class Example:
    """A row as the model sees it: cut, and decoded from the ids again."""

    input: str
    target: str
    input_ids: list[int]
    target_ids: list[int]


@dataclass(frozen=True)
class TaskReport:
    """A task's data.

    Attributes:
        limits: tokens that an input and a target may have; without a tokenizer None.
        overlaps: for pairs such as `train/test`, the examples of the second split whose input is one of the first's.
        shared_first: names of labels that begin with the same piece.
        warnings: what will hurt, each with what to do about it.
    """

    task: str
    limits: dict[str, int] | None
    splits: dict[SplitName, SplitReport]
    overlaps: dict[str, int]
    labels: list[LabelReport]
    shared_first: list[list[str]]
    examples: list[Example]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def report_on_rows(
    task: Task,
    data: DataSection,
    seed: int,
    prefix: bool,
    tokenization: Tokenization | None,
    only: Sequence[SplitName] = SPLITS,
    known: KnownRows | None = None,
) -> TaskReport:
    """Reports on every row of a task's roles.

    Args:
        task: the declaration.
        data: source and protocol.
        seed: a recipe's.
        prefix: whether the task's name stands before an input.
        tokenization: its limits count; without one nothing is said of tokens.
        only: the roles.
        known: rows examined before with this prefix and tokenizer; gets what is examined now.

    Raises:
        InputError: as training would: a file or a row that cannot be used.
    """
    encoding = None if tokenization is None else tokenization.encoding
    known = {} if known is None else known
    whole: dict[str, tuple[Rows, Examined]] = {}
    roles: dict[SplitName, Examined] = {}
    selected: dict[SplitName, Sequence[int]] = {}
    for role in only:
        source = source_split_of(task, role)
        key = (task.model_dump_json(), data.source, source)
        if key not in known:
            rows = load_rows(task, source, data.source)
            known[key] = rows, examine_rows(task, rows, prefix, encoding)
        whole[source] = known[key]
        selected[role] = select_rows(task, role, data, len(whole[source][1]), seed)
        roles[role] = whole[source][1].select(selected[role])
    examples = []
    if tokenization is not None:
        rows, _ = whole[source_split_of(task, only[0])]
        chosen = [selected[only[0]][i] for i in _one_per_target(roles[only[0]])]
        examples = _examples(task, rows.take(chosen), tokenization)
    return _report(task, roles, tokenization, examples)


def report_on_tokens(task: Task, splits: Mapping[SplitName, TokenizedSplit], tokenization: Tokenization) -> TaskReport:
    """Reports on what was tokenised, without reading the rows again; its inputs are those that the model sees."""
    prefix, encoding = tokenization.task_prefix, tokenization.encoding
    roles = {role: examine_tokens(task, split, prefix, encoding) for role, split in splits.items()}
    return _report(task, roles, tokenization, [])


def _report(
    task: Task,
    roles: Mapping[SplitName, Examined],
    tokenization: Tokenization | None,
    examples: list[Example],
) -> TaskReport:
    limits = None
    encoding = None if tokenization is None else tokenization.encoding
    labels = _labels(task, encoding)
    if tokenization is not None:
        longest_target = task.max_target_length or tokenization.max_target_length
        limits = {"input": tokenization.max_source_length, "target": longest_target}
    splits = {role: _split_report(task, found, limits, encoding) for role, found in roles.items()}
    pairs = [(first, second) for i, first in enumerate(roles) for second in list(roles)[i + 1 :]]
    known = {role: _comparable(found, limits) for role, found in roles.items()}
    overlaps = {f"{a}/{b}": int(np.isin(known[b].inputs, known[a].inputs).sum()) for a, b in pairs}
    by_first: dict[str, list[str]] = {}
    for label in labels:
        if label.pieces:
            by_first.setdefault(label.pieces[0], []).append(label.name)
    is_cut = any(found.is_cut for found in roles.values())
    warnings = [f"{task.name}: {text}" for text in data_warnings(task, splits, overlaps, labels, limits, is_cut)]
    shared = [names for names in by_first.values() if len(names) > 1]
    return TaskReport(task.name, limits, splits, overlaps, labels, shared, examples, warnings)


def _split_report(task: Task, found: Examined, limits: dict[str, int] | None, encoding: Encoding | None) -> SplitReport:
    counts = np.bincount(found.targets, minlength=len(found.target_texts))
    known = _comparable(found, limits)
    pairs = np.unique(np.stack([known.inputs, known.targets.astype(np.uint64)]), axis=1)
    _, targets_of = np.unique(pairs[0], return_counts=True)
    plain = SplitReport(
        rows=len(found),
        labels=_label_counts(task, found, counts),
        duplicates=len(known) - len(np.unique(known.inputs)),
        contradictions=0 if task.is_free_text else int((targets_of > 1).sum()),
        empty=int(found.empty.sum()),
    )
    if encoding is None or limits is None or found.lengths is None or found.unknown is None:
        return plain
    cut = found.lengths >= limits["input"] if found.is_cut else found.lengths > limits["input"]
    of_tokens = replace(
        plain,
        lengths=_percentiles(found.lengths),
        cut=int(cut.sum()),
        unknown=float(found.unknown.sum() / max(found.lengths.sum(), 1)),
    )
    if not task.is_free_text:
        return of_tokens
    lengths = np.array([len(ids) for ids in encoding.targets(found.target_texts, UNLIMITED)])[found.targets]
    return replace(of_tokens, target_lengths=_percentiles(lengths), targets_cut=int((lengths > limits["target"]).sum()))


def _comparable(found: Examined, limits: Mapping[str, int] | None) -> Examined:
    """The rows whose inputs can be told apart: of what was cut only the beginning is known."""
    if not found.is_cut or limits is None or found.lengths is None:
        return found
    return found.select(np.flatnonzero(found.lengths < limits["input"]).tolist())


def _percentiles(lengths: np.ndarray) -> dict[str, int]:
    found = np.percentile(lengths, PERCENTILES, method="inverted_cdf")
    return {str(percent): int(length) for percent, length in zip(PERCENTILES, found, strict=True)}


def _label_counts(task: Task, found: Examined, counts: np.ndarray) -> dict[str, float]:
    if task.kind == "labels":
        by_text = dict(zip(found.target_texts, counts.tolist(), strict=True))
        named = zip(task.label_names, task.label_texts, strict=True)
        return {name: by_text.get(text, 0) for name, text in named}
    if task.kind == "numbers":
        numbers = np.array([float(text) for text in found.target_texts])[found.targets]
        return {"lowest": numbers.min(), "mean": round(float(numbers.mean()), 4), "highest": numbers.max()}
    return {}


def _labels(task: Task, encoding: Encoding | None) -> list[LabelReport]:
    return [
        LabelReport(name, text, [] if encoding is None else _pieces(text, encoding))
        for name, text in zip(task.label_names, task.label_texts, strict=True)
    ]


def _pieces(text: str, encoding: Encoding) -> list[str]:
    tokenizer = encoding.tokenizer
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    ids = [number for number in encoding.targets([text], UNLIMITED)[0] if number not in special]
    return list(tokenizer.convert_ids_to_tokens(ids))


def _one_per_target(found: Examined) -> list[int]:
    """The first rows of a split, of different targets as far as there are."""
    _, first = np.unique(found.targets, return_index=True)
    rows = sorted(first.tolist())[:EXAMPLES]
    return [*rows, *(row for row in range(len(found)) if row not in rows)][:EXAMPLES]


def _examples(task: Task, rows: Rows, tokenization: Tokenization) -> list[Example]:
    tokens, tokenizer = tokenization.apply(task, rows), tokenization.tokenizer
    found = []
    for row in range(len(tokens)):
        inputs, targets = tokens.input_ids(row).tolist(), tokens.target_ids(row).tolist()
        read, written = tokenizer.batch_decode([inputs, targets])
        found.append(Example(read, written, inputs, targets))
    return found


def summary(report: TaskReport) -> str:
    """A report in one line, without its warnings."""
    rows = ", ".join(f"{split.rows:,} {role}" for role, split in report.splits.items())
    train = report.splits["train"]
    parts = [f"{report.task}: {rows}"]
    if report.limits is not None:
        most = "at least " if train.lengths["100"] >= report.limits["input"] and train.cut else ""
        parts.append(
            f"inputs of {train.lengths['50']} tokens (median), {train.lengths['95']} (95 %), "
            f"{most}{train.lengths['100']} (longest) for a limit of {report.limits['input']}"
        )
    if report.labels:
        name, count = max(train.labels.items(), key=lambda item: item[1])
        parts.append(f"{100 * count / train.rows:.0f} % are '{name}'")
    return "; ".join(parts)
