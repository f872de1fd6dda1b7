"""The files of a transfer: one a cell, and `fewshot.json` with mean and standard deviation over seeds."""

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import InputError
from hyperformer_cli.fewshot.protocol import Cell
from hyperformer_cli.storage.atomic import write_json

FORMAT_VERSION = 1


def cell_file(folder: Path, cell: Cell) -> Path:
    return folder / "fewshot" / cell.task / f"{cell.shots}-shot" / f"seed-{cell.seed}.json"


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files of a process that was killed while it wrote."""
    for leftover in [*folder.glob(".fewshot.json.*.tmp"), *(folder / "fewshot").rglob(".seed-*.tmp")]:
        leftover.unlink()


def read_cells(folder: Path) -> dict[Cell, dict[str, Any]]:
    """The files of all cells that are done; damaged ones are as good as none.

    Raises:
        InputError: one is of another format version.
    """
    cells = {}
    for file in sorted((folder / "fewshot").glob("*/*-shot/seed-*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            version = content["format_version"]
            cell = Cell(content["task"], int(content["shots"]), int(content["seed"]))
            whole = version != FORMAT_VERSION or (content["results"] and isinstance(content["settings"], dict))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if version != FORMAT_VERSION:
            raise InputError(f"{file}: format version {version}; this release reads {FORMAT_VERSION}")
        if whole and file == cell_file(folder, cell):
            cells[cell] = content
    return cells


def check_settings(
    folder: Path, cells: Mapping[Cell, Mapping[str, Any]], common: Mapping[str, Any], by_task: Mapping[str, Any]
) -> None:
    """Sees to it that what a folder holds was made as what is to be added will be: means are over equals.

    Args:
        folder: of the cells.
        cells: as `read_cells` gives them.
        common: settings of all cells.
        by_task: further settings of the cells of each task that is to be run.

    Raises:
        InputError: a cell was made in another way.
    """
    for cell, content in cells.items():
        for key, value in {**common, **by_task.get(cell.task, {})}.items():
            before = content["settings"].get(key)
            if before != value:
                what = "other data or another template" if key == "data_sha256" else f"{key} {before!r}, now {value!r}"
                raise InputError(
                    f"{cell_file(folder, cell)} was made with {what}; give another --output-dir, or remove the folder"
                )


def write_cell(folder: Path, cell: Cell, settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Writes a cell's file: what was asked, what came out."""
    content = {
        "format_version": FORMAT_VERSION,
        "task": cell.task,
        "shots": cell.shots,
        "seed": cell.seed,
        **{key: settings[key] for key in ("init_from", "train")},
        "settings": dict(settings),
        **found,
    }
    write_json(cell_file(folder, cell), content)


def write_summary(folder: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `fewshot.json` over all cells in the folder, in the order of tasks' names and sizes."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for cell, content in read_cells(folder).items():
        groups.setdefault((cell.task, cell.shots), []).append(content)
    results = [row for key in sorted(groups) for row in _rows(groups[key])]
    summary = {"format_version": FORMAT_VERSION, **head, "split": "test", "results": results}
    write_json(folder / "fewshot.json", summary)
    return summary


def _rows(cells: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """One row a metric, over the seeds of one task and size."""
    cells = sorted(cells, key=lambda cell: cell["seed"])
    for number, score in enumerate(cells[0]["results"]):
        values = [cell["results"][number]["value"] for cell in cells]
        yield {
            "task": cells[0]["task"],
            "shots": cells[0]["shots"],
            "metric": score["metric"],
            "mean": round(statistics.fmean(values), 4),
            "std": round(statistics.stdev(values), 4) if len(values) > 1 else None,
            "n": len(values),
            "majority": score["majority"],
            "init_from": cells[0]["init_from"],
            "seeds": [cell["seed"] for cell in cells],
            "values": values,
        }
