"""Few-shot results, the paper's Table 2: one row per target and number of examples, one column per method."""

import itertools
from collections.abc import Sequence

from hyperformer_cli.reporting.collect import FewShot
from hyperformer_cli.reporting.groups import differing, override, set_apart, without_sweep_cell
from hyperformer_cli.reporting.table import Column, Row, Table, TableCell, over_seeds

_WORDS = {"method": "{}", "train": "train {}", "init_from": "from {}"}


def fewshot_tables(fewshot: Sequence[FewShot]) -> list[Table]:
    """One table per split, with what the majority label scores."""
    splits = dict.fromkeys(found.split for found in fewshot)
    return [_table([found for found in fewshot if found.split == split], split) for split in splits]


def _table(fewshot: Sequence[FewShot], split: str) -> Table:
    names = set_apart(
        [without_sweep_cell(found.name) for found in fewshot],
        [{key: getattr(found, key) for key in _WORDS} for found in fewshot],
        [found.folder for found in fewshot],
        write=lambda key, value: _WORDS[key].format(value),
    )
    by_point = [{(score.task, score.metric, score.shots): score for score in found.scores} for found in fewshot]
    points = list(dict.fromkeys(itertools.chain(*by_point)))
    targets = list(dict.fromkeys(point[:2] for point in points))
    rows = []
    for point in sorted(points, key=lambda point: (targets.index(point[:2]), point[2])):  # the fewest examples first
        scores = [own.get(point) for own in by_point]
        majorities = {score.majority for score in scores if score}
        majority = TableCell(majorities.pop()) if len(majorities) == 1 else None
        cells = (majority, *(over_seeds(score.values) if score else None for score in scores))
        folders = tuple(str(own.folder) for own, score in zip(fewshot, scores, strict=True) if score)
        rows.append(Row(tuple(map(str, point)), cells, folders))
    keys = differing([found.settings for found in fewshot])  # what the columns do not share, apart from the method
    notes = [
        f"{name}: {', '.join(override(key, found.settings.get(key)) for key in keys)}."
        for name, found in zip(names, fewshot, strict=True)
        if keys
    ]
    if any(row.cells[0] is None for row in rows):
        notes.append("No majority where the columns were tested on different data.")
    return Table(
        kind="few-shot",
        title=f"Few-shot transfer, {split}, per cent",
        row_heads=("task", "metric", "examples"),
        column_heads=("method",),
        columns=tuple(Column((name,)) for name in ("majority", *names)),
        rows=tuple(rows),
        notes=tuple(notes),
    )
