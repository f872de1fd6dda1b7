"""When a data report warns, and what it advises."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.tasks.task import Task

MOST_CUT = 0.05  # share of a split's inputs, above which it is warned
MOST_UNKNOWN = 0.05  # share of a split's tokens
OVERLAP_OF_VALIDATION = 0.01  # share of its inputs that may be train inputs too; of test none may
LONGEST_LABEL = 3  # tokens


@dataclass(frozen=True)
class SplitReport:
    """One role of a task.

    Attributes:
        rows: examples.
        labels: examples by the label's name, or lowest, mean and highest number; empty for free text.
        lengths: tokens of the inputs by percentile (the smallest length that so many per cent do not exceed), the end
            of the sequence included.
        cut: inputs longer than `data.max_source_length`; in a report on tokens, inputs that fill it, which then
            count neither as duplicates nor as overlaps.
        unknown: share of the tokens that the tokenizer does not know.
        target_lengths, targets_cut: the same for free text to write.
        duplicates: inputs that occur earlier in the split too.
        contradictions: different inputs that occur with different targets.
        empty: inputs without any text.
    """

    rows: int
    labels: dict[str, float]
    duplicates: int
    contradictions: int
    empty: int
    lengths: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    unknown: float = 0.0
    target_lengths: dict[str, int] = field(default_factory=dict)
    targets_cut: int = 0


@dataclass(frozen=True)
class LabelReport:
    """A label: the text that the model writes for it, and that text's pieces without the end of the sequence.

    Without a tokenizer there are no pieces.
    """

    name: str
    text: str
    pieces: list[str]


def data_warnings(
    task: Task,
    splits: Mapping[SplitName, SplitReport],
    overlaps: Mapping[str, int],
    labels: Sequence[LabelReport],
    limits: Mapping[str, int] | None,
    is_cut: bool,
) -> list[str]:
    """What about a task's data will hurt, each with what to do about it.

    Args:
        task: the declaration.
        splits, overlaps, labels, limits: as in a `TaskReport`.
        is_cut: whether the inputs were looked at after they had been cut.
    """
    found: list[str] = []
    if limits:
        found += _cut_warnings(splits, limits, is_cut)
        for role, split in splits.items():
            if split.unknown > MOST_UNKNOWN:
                found.append(
                    f"the tokenizer does not know {100 * split.unknown:.1f} % of the tokens of {role}; "
                    "choose a model of this language"
                )
    for role, split in splits.items():
        if split.empty:
            found.append(f"{_counted(split.empty, 'input')} of {role} without any text; leave out such rows")
        if split.contradictions:
            found.append(f"{_counted(split.contradictions, 'input')} of {role} with different labels; one is wrong")
        absent = [name for name, count in split.labels.items() if not count] if task.kind == "labels" else []
        if absent:
            found.append(f"no row of {role} has the label {', '.join(absent)}; split the rows by label")
    limits_of_overlap: dict[SplitName, float] = {"validation": OVERLAP_OF_VALIDATION, "test": 0}
    for second, least in limits_of_overlap.items():
        rows, of_all = overlaps.get(f"train/{second}", 0), splits[second].rows if second in splits else 0
        if rows > least * of_all:
            found.append(
                f"{rows:,} of {of_all:,} {second} inputs are train inputs too, and their scores say little; keep all "
                "copies of an input in one split"
            )
    long = [label for label in labels if len(label.pieces) > LONGEST_LABEL]
    if long:
        worst = max(long, key=lambda label: len(label.pieces))
        digits = ", ".join(f'{label.name}: "{i}"' for i, label in enumerate(labels[:2]))
        found.append(
            f"label '{worst.text}' has {len(worst.pieces)} tokens ({len(long)} of {len(labels)} labels have more than "
            f"{LONGEST_LABEL}); short ones are learned sooner: labels: {{{digits}, ...}} and the names in label_names"
        )
    return found


def _cut_warnings(splits: Mapping[SplitName, SplitReport], limits: Mapping[str, int], is_cut: bool) -> Iterator[str]:
    """One line for the inputs, with their share in every split, and one for the targets."""
    for what, limit, key in (
        ("inputs", limits["input"], "data.max_source_length"),
        ("targets", limits["target"], "max_target_length"),
    ):
        by_role = {role: (split.cut if what == "inputs" else split.targets_cut) for role, split in splits.items()}
        shares = {role: 100 * cut / splits[role].rows for role, cut in by_role.items()}
        if max(shares.values()) <= 100 * MOST_CUT:
            continue
        written = ", ".join(f"{share:.1f} % of {role}" for role, share in shares.items())
        if is_cut and what == "inputs":
            yield f"{what} fill all {limit} tokens of {key} and are cut there: {written}; --dry-run shows their lengths"
            continue
        lengths = [split.lengths if what == "inputs" else split.target_lengths for split in splits.values()]
        enough = max(length["99"] for length in lengths)
        yield f"{what} are cut at {key} ({limit} tokens): {written}; {enough} would hold 99 % of them"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
