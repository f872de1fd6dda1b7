"""Few-shot results, the paper's Table 2: a row a target and number of examples, a column a method."""

from collections.abc import Sequence

from hyperformer_cli.reporting.collect import FewShot, FewShotScore
from hyperformer_cli.reporting.groups import as_text, plain_recipe_name
from hyperformer_cli.reporting.table import Cell, Column, Row, Table, over_seeds

MAJORITY = "majority"
Point = tuple[str, str, int]  # task, metric, shots
_SAID = {"method": "{}", "train": "train {}", "init_from": "from {}"}


def fewshot_tables(fewshot: Sequence[FewShot]) -> list[Table]:
    """One table a split, with what the majority label scores."""
    splits = dict.fromkeys(found.split for found in fewshot)
    return [_table([found for found in fewshot if found.split == split], split) for split in splits]


def _table(fewshot: Sequence[FewShot], split: str) -> Table:
    by_method = [{point(score): score for score in found.scores} for found in fewshot]
    names, rows = fewshot_names(fewshot), []
    for task, metric, shots in points(fewshot):
        scores = [own.get((task, metric, shots)) for own in by_method]
        found = [score for score in scores if score is not None]
        majority = Cell(found[0].majority) if len({score.majority for score in found}) == 1 else None
        cells = (majority, *(None if score is None else over_seeds(score.values) for score in scores))
        folders = tuple(str(own.folder) for own, score in zip(fewshot, scores, strict=True) if score is not None)
        rows.append(Row((task, metric, str(shots)), cells, folders))
    return Table(
        kind="few-shot",
        title=f"Few-shot transfer, {split}, per cent",
        heads=("task", "metric", "examples"),
        column_heads=("method",),
        columns=tuple(Column((name,)) for name in (MAJORITY, *names)),
        rows=tuple(rows),
        notes=_unlike(fewshot, names, rows),
    )


def _unlike(fewshot: Sequence[FewShot], names: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    """What the columns do not have in common, besides the method."""
    keys = dict.fromkeys(key for found in fewshot for key in found.settings)
    keys = [key for key in keys if len({as_text(found.settings.get(key)) for found in fewshot}) > 1]
    ways = [", ".join(f"{key}={as_text(found.settings.get(key))}" for key in keys) for found in fewshot]
    notes = [f"{name}: {way}." for name, way in zip(names, ways, strict=True) if way]
    if any(row.cells[0] is None for row in rows):
        notes.append("No majority where the columns were tested on different data.")
    return tuple(notes)


def point(score: FewShotScore) -> Point:
    return score.task, score.metric, score.shots


def points(fewshot: Sequence[FewShot]) -> list[Point]:
    """All that was scored: targets in the order of their first results, the fewest examples first."""
    found = dict.fromkeys(point(score) for own in fewshot for score in own.scores)
    order = {target: i for i, target in enumerate(dict.fromkeys(one[:2] for one in found))}
    return sorted(found, key=lambda one: (order[one[:2]], one[2]))


def fewshot_names(fewshot: Sequence[FewShot]) -> list[str]:
    """A name each, with what sets results of one name apart."""
    plain, names = [plain_recipe_name(found.name) for found in fewshot], []
    for found, name in zip(fewshot, plain, strict=True):
        namesakes = [other for other, own in zip(fewshot, plain, strict=True) if own == name]
        ways = [key for key in _SAID if len({getattr(other, key) for other in namesakes}) > 1]
        said = ", ".join(_SAID[key].format(getattr(found, key)) for key in ways)
        names.append(f"{name} ({said})" if said else name)
    return [
        f"{name} ({found.folder})" if names.count(name) > 1 else name
        for found, name in zip(fewshot, names, strict=True)
    ]
