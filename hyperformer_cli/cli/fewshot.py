"""`hyperformer fewshot`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hyperformer_cli.cli.console import (
    AsJson,
    Backbone,
    Device,
    Overrides,
    is_main_process,
    names,
    on_device,
    print_json,
    reports_errors,
)

EPILOG = """Examples:

hyperformer fewshot --target-tasks paws,imdb

hyperformer fewshot outputs/glue_hyperpp_small --target-tasks cb --shots 4,16,32 --init-from auto

hyperformer fewshot --recipe fewshot_adapters_dagger --dry-run
"""


@reports_errors
def fewshot(
    run: Annotated[Path | None, typer.Argument(help="A trained run; by default the recipe's output_dir.")] = None,
    target_tasks: Annotated[
        str | None, typer.Option(help="Comma-separated new tasks; by default the recipe's.")
    ] = None,
    shots: Annotated[str | None, typer.Option(help="Comma-separated numbers of training examples.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Comma-separated seeds, which also draw the examples.")] = None,
    init_from: Annotated[
        str | None, typer.Option(help="Where new tasks start: paper, auto, random, or a trained task.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="What is trained: all (the paper) or task-embedding.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="The protocol's recipe; by default the run's own, or 'fewshot'.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="For fewshot.json and the trials; by default the run's.")
    ] = None,
    backbone: Backbone = None,
    device: Device = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the trials, train nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Transfer a trained run to new tasks with few examples: every target, number of shots and seed; mean and std.

    A second start skips the trials that are done.
    """
    from hyperformer_cli.config.loading import shipped_recipes
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.fewshot.resolve import DEFAULT_RECIPE, plan, resolve

    options = {
        "target_tasks": names(target_tasks, "--target-tasks"),
        "sizes": _numbers(shots, "--shots"),
        "seeds": _numbers(seeds, "--seeds"),
        "init_from": init_from,
        "train": train,
    }
    found, loaded = resolve(run, recipe, on_device(overrides, device), options)
    strict_shots = shots is not None or any(change.startswith("fewshot.sizes") for change in overrides or ())
    if dry_run:
        _show_plan(plan(found, loaded, output_dir or found.path, strict_shots), as_json)
        return
    if not found.path.is_dir():
        trained = found.path.name if found.path.name in shipped_recipes() else recipe or DEFAULT_RECIPE
        raise InputError(f"no run at {found.path}; train it first (hyperformer train {trained}), or give another RUN")
    from hyperformer_cli.cli.progress import LineObserver
    from hyperformer_cli.cli.tables import fewshot_table, stdout_console
    from hyperformer_cli.fewshot.run_fewshot import run_fewshot
    from hyperformer_cli.runs.opened import OpenedRun

    opened = OpenedRun(found.path, backbone=backbone)
    summary = run_fewshot(opened, loaded, output_dir or found.path, strict_shots, LineObserver())
    if not is_main_process():
        return
    if as_json:
        print_json({"run": str(found.path), **summary})
        return
    stdout_console().print(fewshot_table(summary))
    typer.echo(str((output_dir or found.path) / "fewshot.json"))


def _numbers(text: str | None, option: str) -> list[int] | None:
    from hyperformer_cli.errors import InputError

    try:
        return None if text is None else [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: give numbers separated by commas, such as 4,16,32") from None


def _show_plan(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    rows = [
        (name, target["similar_to"], ", ".join(map(str, target["shots"])), target["train"], target["test"])
        for name, target in found["targets"].items()
    ]
    console, protocol = stdout_console(), found["protocol"]
    done = found["cells"] - found["cells_to_do"]
    title = (
        f"{found['recipe']}: {found['cells']} trials{f', {done} of them done' * bool(done)} ({found['sizes']} sizes)"
    )
    console.print(table(title, ("target", "similar to", "examples", "train", "test"), rows, left=3))
    console.print(
        f"starts: {protocol['init_from']}; trains {protocol['train']} for {protocol['max_steps']} steps, "
        f"seeds {', '.join(map(str, protocol['seeds']))}"
    )
    console.print(f"from {found['run']}" + ("" if found["run_exists"] else " (not trained yet)"))
