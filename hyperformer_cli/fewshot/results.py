"""The files of a transfer: one a cell, and `fewshot.json` with mean and standard deviation over seeds."""

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hyperformer_cli.atomic import write_json
from hyperformer_cli.errors import InputError
from hyperformer_cli.fewshot.protocol import Cell

FORMAT_VERSION = 1


def cell_file(folder: Path, cell: Cell) -> Path:
    return folder / "fewshot" / cell.task / f"{cell.shots}-shot" / f"seed-{cell.seed}.json"


def finished(folder: Path, cell: Cell, settings: Mapping[str, Any]) -> bool:
    """Whether a cell was done before, in the same way.

    Raises:
        InputError: it was done in another way.
    """
    file = cell_file(folder, cell)
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        version, before = stored["format_version"], stored["settings"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return False  # damaged: done again
    if version != FORMAT_VERSION:
        raise InputError(f"{file}: format version {version}; this release reads {FORMAT_VERSION}")
    for key, value in settings.items():
        if before.get(key) != value:
            raise InputError(
                f"{file} was made with {key} {before.get(key)!r}, now it is {value!r}; give another --output-dir, or "
                "remove the folder"
            )
    return True


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
    for file in sorted((folder / "fewshot").glob("*/*-shot/seed-*.json")):
        cell = json.loads(file.read_text(encoding="utf-8"))
        groups.setdefault((cell["task"], cell["shots"]), []).append(cell)
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
