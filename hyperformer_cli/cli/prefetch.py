"""`hyperformer prefetch`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, print_json, reports_errors

EPILOG = """Example:

hyperformer prefetch glue_hyperpp --to scratch/glue
"""


@reports_errors
def prefetch(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped recipe.")],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where model and data go; must not exist.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Write a recipe's model and data to a folder, for compute nodes without network.

    The last line on stdout is the command that trains from the folder.
    """
    from hyperformer_cli.cli.progress import LineObserver
    from hyperformer_cli.config.loading import load_recipe
    from hyperformer_cli.data.prefetch import prefetch as write

    found = write(load_recipe(recipe, overrides or ()), to, LineObserver())
    if as_json:
        print_json({"folder": str(to), **found})
        return
    replaced = {override.partition("=")[0] for override in found["overrides"]}
    kept = [override for override in overrides or () if override.partition("=")[0].strip() not in replaced]
    typer.echo(shlex.join(["hyperformer", "train", recipe, *kept, *found["overrides"]]))
