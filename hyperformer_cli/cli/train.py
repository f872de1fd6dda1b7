"""`hyperformer train`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperformer_cli.cli.console import (
    AsJson,
    Device,
    Overrides,
    is_main_process,
    on_device,
    print_json,
    reports_errors_of_all,
)
from hyperformer_cli.cli.launch import become_launcher, check_nproc, treat_usr1_as_term
from hyperformer_cli.cli.plan import show_plan

if TYPE_CHECKING:
    from hyperformer_cli.config.recipe import Recipe

EPILOG = """Examples:

hyperformer train recipes/glue_hyperpp.yaml training.max_steps=1000

hyperformer train glue_hyperpp --nproc-per-node 4 adapter.reduction_factor=16

hyperformer train glue_hyperpp --dry-run --json | jq .parameters

hyperformer train outputs/glue_hyperpp    (continues a run that was stopped)
"""


@reports_errors_of_all
def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, the name of a shipped recipe, or a run folder to continue.")
    ],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe, applied after --set.")
    ] = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Resolve everything, print it, train nothing.")] = False,
    nproc_per_node: Annotated[int, typer.Option(min=1, help="Processes (GPUs) to start on this machine.")] = 1,
    sweep_index: Annotated[int | None, typer.Option(help="Run only this cell of the recipe's sweep, from 0.")] = None,
    device: Device = None,
    sweep_count: Annotated[bool, typer.Option("--sweep-count", help="Print the number of cells and stop.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --dry-run: examples of all tasks, and their token ids.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe, then evaluate the best checkpoint; start again to continue a run that was stopped.

    Progress goes to stderr. The last line on stdout is the run folder.
    """
    from hyperformer_cli.config.recipe_tasks import recipe_tasks
    from hyperformer_cli.config.sweep import sweep_points
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.runs.folder import RunFolder

    treat_usr1_as_term()
    starts_others = check_nproc(nproc_per_node) and not dry_run
    loaded = _load(recipe, on_device([*(overrides or ()), *(changes or ())], device))
    if sweep_count:
        typer.echo(len(sweep_points(loaded)) if loaded.sweep else 1)
        return
    if sweep_index is not None and loaded.sweep is None:
        raise InputError(f"--sweep-index: recipe '{loaded.name}' has no sweep")
    recipe_tasks(loaded)  # this and the next need no torch, whose import takes seconds
    if loaded.sweep is None and not dry_run:
        RunFolder(Path(loaded.output_dir)).check_is_free_for(loaded)
    if dry_run:
        show_plan(loaded, as_json, sweep_index, nproc_per_node, verbose)
        return
    if starts_others:
        become_launcher(nproc_per_node)

    if loaded.sweep is not None:
        _train_sweep(loaded, sweep_index, as_json)
    else:
        _train_one(loaded, as_json)


def _load(recipe: str, overrides: list[str]) -> "Recipe":
    """The recipe, or that of a run, whose folder may have been moved since."""
    from hyperformer_cli.config.loading import load_recipe
    from hyperformer_cli.runs.folder import RunFolder

    if Path(recipe).is_dir():
        return RunFolder(Path(recipe)).recipe([*overrides, f"output_dir={json.dumps(recipe)}"])
    return load_recipe(recipe, overrides)


def _train_one(recipe: "Recipe", as_json: bool) -> None:
    from hyperformer_cli.cli.progress import make_observer
    from hyperformer_cli.cli.run_summary import print_summary
    from hyperformer_cli.cli.tables import print_results
    from hyperformer_cli.training.train_recipe import train_recipe

    with make_observer() as observer:
        run = train_recipe(recipe, observer)
    if not is_main_process():
        return
    results = run.results()
    if as_json:
        print_json({"run": str(run.path), **results})
        return
    print_results(results)
    print_summary(run, results)
    typer.echo(str(run.path))


def _train_sweep(recipe: "Recipe", index: int | None, as_json: bool) -> None:
    from hyperformer_cli.cli.progress import make_observer
    from hyperformer_cli.cli.tables import stdout_console, sweep_table
    from hyperformer_cli.training.sweep import train_sweep

    with make_observer() as observer:
        folder = train_sweep(recipe, observer, index, is_main_process())
    if not is_main_process():
        return
    if index is None:
        summary = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
        if as_json:
            print_json({"run": str(folder), **summary})
            return
        stdout_console().print(sweep_table(summary))
    typer.echo(str(folder))
