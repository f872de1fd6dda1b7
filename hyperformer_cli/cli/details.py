"""Figures per label and confusions as tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from hyperformer_cli.cli.tables import stdout_console, table

_MOST_CONFUSIONS = 10


def print_details(details: Iterable[Mapping[str, Any]]) -> None:
    """The `details` of results.json on stdout: per task and split one table of labels and one of confusions."""
    console = stdout_console()
    for own in details:
        head = f"{own['task']}: {own['split']}"
        if "labels" in own:
            console.print()
            console.print(_labels_table(head, own["labels"]))
            console.print()
            _print_confusion(console, head, own)
        if own["outside"]:
            what = "the labels" if "labels" in own else "the task's numbers"
            shown = ", ".join(f"'{answer}' ({count:,})" for answer, count in own["outside_answers"].items())
            console.print(f"{head}: {own['outside']:,} answers outside {what}: {shown}")


def _labels_table(head: str, labels: Sequence[Mapping[str, Any]]) -> Any:
    keys = ("label", "precision", "recall", "f1", "examples", "predicted")
    rows = [[label[key] for key in keys] for label in labels]
    return table(f"{head}, per label (%)", ("label", "precision", "recall", "F1", "examples", "predicted"), rows)


def _print_confusion(console: Console, head: str, details: Mapping[str, Any]) -> None:
    """The matrix where the window is wide enough for it, else the most frequent confusions."""
    names, counts = [label["label"] for label in details["labels"]], details["confusion"]
    columns = [*names, "no label"] if details["outside"] else names
    rows = [[name, *own[: len(columns)]] for name, own in zip(names, counts, strict=True)]
    made = table(f"{head}, gold by row, predicted by column", ("", *columns), rows)
    if sum(max(5, len(name)) + 2 for name in columns) + max(map(len, names)) <= console.width:
        console.print(made)
        return
    pairs = [
        (count, gold, predicted)
        for gold, own in zip(names, counts, strict=True)
        for predicted, count in zip((*names, "no label"), own, strict=True)
        if count and gold != predicted
    ]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:_MOST_CONFUSIONS]
    title = f"{head}, the most frequent of {len(pairs)} confusions"
    console.print(
        table(title, ("gold", "predicted", "rows"), [(gold, other, count) for count, gold, other in worst], left=2)
    )
