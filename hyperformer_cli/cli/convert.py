"""`hyperformer convert`."""

from pathlib import Path
from typing import Annotated

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, print_json, reports_errors

EPILOG = """Example:

hyperformer convert pytorch_model.bin --recipe glue_hyperpp --to outputs/reference && hyperformer eval outputs/reference
"""


@reports_errors
def convert(
    file: Annotated[Path, typer.Argument(help="A safetensors file, or a pytorch_model.bin.")],
    recipe: Annotated[str, typer.Option(help="What was trained: a recipe file, or the name of a shipped recipe.")],
    to: Annotated[Path | None, typer.Option(help="A new folder; the recipe's output_dir by default.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make a run folder from a checkpoint that the reference code (rabeehk/hyperformer) trained.

    eval, export and fewshot take it like any run. Nothing but tensors is read from a .bin. The last line on stdout is
    the folder.
    """
    from hyperformer_cli.config.loading import load_recipe
    from hyperformer_cli.convert.reference_checkpoint import convert_checkpoint

    run = convert_checkpoint(file, load_recipe(recipe, overrides or ()), to)
    if as_json:
        print_json({"run": str(run.path), "evaluated": False})
        return
    typer.echo("not evaluated yet: hyperformer eval does that", err=True)
    typer.echo(str(run.path))
