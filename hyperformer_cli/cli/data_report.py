"""Reports on tasks' data, as tables and lines."""

from collections.abc import Collection, Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from hyperformer_cli.cli.lines import say
from hyperformer_cli.cli.tables import stdout_console, table

_MOST_LABELS = 20  # of a task, in its table
_SHOWN_UNKNOWN = 0.0005  # share that is shown as 0.1 %
_MEANING = {
    "unknown": "unknown tokens",
    "twice": "inputs that occur twice in a split",
    "in train": "inputs of train in another split",
    "empty": "inputs without text",
}


def print_reports(
    reports: Mapping[str, Mapping[str, Any]], examples_of: Collection[str], with_ids: bool = False
) -> None:
    """Prints reports of tasks (`TaskReport.as_dict`): one table of all inputs, then labels, examples and warnings.

    Args:
        reports: by task.
        examples_of: the tasks whose examples are shown.
        with_ids: whether token ids are shown too.
    """
    console = stdout_console()
    console.print()
    console.print(_inputs(reports))
    for report in reports.values():
        _print_targets(report)
    for name, report in reports.items():
        if name in examples_of:
            _print_examples(report, with_ids)
    if any(report["limits"] is None for report in reports.values()):
        console.print("without token lengths: no tokenizer at hand (`tasks show --model` names one)")
    for report in reports.values():
        for warning in report["warnings"]:
            say(f"warning: {warning}", 9)


def _inputs(reports: Mapping[str, Mapping[str, Any]]) -> Any:
    """Rows, and the lengths of inputs beside their limit; empty inputs and the like only where there are any."""
    limit = next(iter(reports.values()))["limits"]
    rows = []
    for name, report in reports.items():
        for role, split in report["splits"].items():
            lengths = list(split["lengths"].values()) or [None] * 4
            cut = None if limit is None else _percent(split["cut"] / split["rows"])
            unknown = _percent(split["unknown"]) if split["unknown"] >= _SHOWN_UNKNOWN else None
            overlap = report["overlaps"].get(f"train/{role}")
            own = (unknown, split["duplicates"] or None, overlap or None, split["empty"] or None)
            rows.append((name, role, split["rows"], *lengths, cut, *own))
    columns = ("task", "split", "rows", "50 %", "95 %", "99 %", "100 %", "cut", "unknown", "twice", "in train", "empty")
    filled = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    title = "inputs" if limit is None else f"inputs in tokens, of which {limit['input']} may be used"
    missing = ", ".join(_MEANING[column] for i, column in enumerate(columns) if column in _MEANING and i not in filled)
    shown = table(title, [columns[i] for i in filled], [[row[i] for i in filled] for row in rows], left=2)
    return Group(shown, Text(f"none: {missing}")) if missing else shown


def _print_targets(report: Mapping[str, Any]) -> None:
    console, splits = stdout_console(), report["splits"]
    if report["labels"]:
        rows = [
            (
                label["name"],
                label["text"],
                " ".join(label["pieces"]),
                *(split["labels"][label["name"]] for split in splits.values()),
            )
            for label in report["labels"][:_MOST_LABELS]
        ]
        console.print(table(f"labels of {report['task']}", ("label", "text", "pieces", *splits), rows, left=3))
        if len(report["labels"]) > _MOST_LABELS:
            console.print(f"and {len(report['labels']) - _MOST_LABELS} more labels")
        for names in report["shared_first"]:
            say(f"begin with the same piece: {', '.join(names)}")
        return
    for role, split in splits.items():
        numbers = ", ".join(f"{name} {value:,}" for name, value in split["labels"].items())
        lengths = ", ".join(f"{length} ({percent} %)" for percent, length in split["target_lengths"].items())
        if numbers or lengths:
            what = numbers or f"tokens of the targets (limit {report['limits']['target']}): {lengths}"
            say(f"{report['task']}, {role}: {what}")


def _print_examples(report: Mapping[str, Any], with_ids: bool) -> None:
    console = stdout_console()
    for number, example in enumerate(report["examples"], 1):
        console.print(f"{report['task']}, example {number}", style="bold")
        for part in ("input", "target"):
            say(f"{part:<8} {example[part]}", 9)
            if with_ids:
                say(f"{'':<8} {' '.join(map(str, example[f'{part}_ids']))}", 9)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
