"""`hyperformer convert`."""

from pathlib import Path
from typing import Annotated

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, print_json, reports_errors

EPILOG = """Examples:

hyperformer convert pytorch_model.bin --recipe glue_hyperpp --to outputs/reference && hyperformer eval outputs/reference

hyperformer convert my_loras --recipe quickstart_lora --to outputs/loras    (my_loras/<task>/adapter_config.json)
"""


@reports_errors
def convert(
    file: Annotated[
        Path, typer.Argument(help="A safetensors file, a pytorch_model.bin, or a folder with a PEFT LoRA per task.")
    ],
    recipe: Annotated[
        str,
        typer.Option(help="A recipe file or a shipped recipe: what was trained; for LoRA folders, backbone and tasks."),
    ],
    to: Annotated[Path | None, typer.Option(help="A new folder; the recipe's output_dir by default.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Make a run folder from a checkpoint that the reference code (rabeehk/hyperformer) trained, or from LoRA folders.

    eval, predict, export and report take it like any run. Nothing but tensors is read from a .bin. The last line on
    stdout is the folder.
    """
    from hyperformer_cli.config.loading import load_recipe
    from hyperformer_cli.convert.peft_folders import convert_peft, holds_peft_folders
    from hyperformer_cli.convert.reference_checkpoint import convert_checkpoint

    convert_weights = convert_peft if holds_peft_folders(file) else convert_checkpoint
    run = convert_weights(file, load_recipe(recipe, overrides or ()), to)
    if as_json:
        print_json({"run": str(run.path), "evaluated": False})
        return
    typer.echo("not evaluated yet: hyperformer eval does that, and with --save for report", err=True)
    typer.echo(str(run.path))
