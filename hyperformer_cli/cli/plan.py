"""`hyperformer train --dry-run`: the plan, rendered."""

import json
from typing import TYPE_CHECKING, Any

import typer

from hyperformer_cli.cli.console import print_json

if TYPE_CHECKING:
    from hyperformer_cli.config.recipe import Recipe
    from hyperformer_cli.data.report import KnownRows


def show_plan(
    recipe: "Recipe", as_json: bool, index: int | None = None, processes: int = 1, verbose: bool = False
) -> None:
    """Prints the plan of a recipe, or of every cell of its sweep, or of one, and a report on the data.

    Cells of a sweep that train on the same data, drawn with any seed, are shown one report. `verbose` adds token ids,
    and examples of tasks other than the user's own.
    """
    from hyperformer_cli.config.sweep import chosen_points
    from hyperformer_cli.training.plan import plan

    if recipe.sweep is None:
        found = plan(recipe, processes)
        if as_json:
            print_json(found)
            return
        _print_plan(found)
        _print_data(recipe, found, verbose)
        return
    points = chosen_points(recipe, index)
    known: dict[str, KnownRows] = {}
    plans = {number: {"cell": point.name, **plan(point.recipe, processes, known)} for number, point in points.items()}
    if as_json:
        print_json({"name": recipe.name, "cells": list(plans.values())})
        return
    of_data: dict[str, list[int]] = {}  # cells by what their data are; other seeds draw other rows of the same
    for number, found in plans.items():
        typer.echo(f"cell {number}: {found['cell']}")
        _print_plan(found)
        of_data.setdefault(_data_of(points[number].recipe), []).append(number)
    for numbers in of_data.values():
        if len(of_data) > 1:
            typer.echo(f"\ndata of cell{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}")
        _print_data(points[numbers[0]].recipe, plans[numbers[0]], verbose)


def _data_of(recipe: "Recipe") -> str:
    values = recipe.as_dict()
    data = {key: value for key, value in values["data"].items() if key != "sampling"}
    return json.dumps([values["tasks"], data, values["model"], recipe.adapter.needs_task_prefix])


def _print_data(recipe: "Recipe", found: dict[str, Any], verbose: bool) -> None:
    from hyperformer_cli.cli.data_report import print_reports
    from hyperformer_cli.config.recipe_tasks import recipe_tasks

    if found["data"]:
        own = {task.name for task in recipe_tasks(recipe) if task.files is not None}
        print_reports(found["data"], examples_of=set(found["data"]) if verbose else own, with_ids=verbose)


def _print_plan(found: dict[str, Any]) -> None:
    from hyperformer_cli.cli.tables import stdout_console, table

    console, parameters = stdout_console(), found["parameters"]
    columns = ("task", "train", "validation", "test", "share of examples")
    rows = [
        (task, *(sizes[split] for split in columns[1:4]), f"{100 * sizes['share_of_steps']:.1f} %")
        for task, sizes in found["tasks"].items()
    ]
    console.print(table(f"{found['name']} ({found['method']}): {found['sizes']} sizes", columns, rows))
    runs = "" if found["runs"] == 1 else f" in {found['runs']} runs of one task each"
    console.print(f"steps {found['steps']:,}{runs}, examples {found['examples']:,} ({found['epochs']} epochs)")
    console.print(
        f"parameters {parameters['total']:,}, trained {parameters['trained']:,} "
        f"({parameters['trained_per_task_percent']:.2f} % of the backbone per task)"
    )
    console.print(f"memory about {found['memory_gib_estimate']} GiB per process at full length")
    if found["all_reduced_bytes_per_step"]:
        console.print(f"all-reduced {found['all_reduced_bytes_per_step'] / 2**20:,.1f} MiB of gradients per step")
    console.print(f"would write {found['output_dir']}")
