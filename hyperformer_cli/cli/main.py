"""The command line. Every subcommand is a file of its own; heavy imports happen inside the commands."""

from typing import Any

import typer
from typer.core import TyperGroup

from hyperformer_cli.cli import (
    convert,
    count_params,
    evaluate,
    export,
    fewshot,
    init,
    predict,
    prefetch,
    recipes,
    report,
    runs,
    slurm,
    tasks,
    train,
    verify,
)


class _Commands(TyperGroup):
    """Takes from typer's messages what pydantic puts before them."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    cls=_Commands,
    help="Multi-task adapter tuning of frozen language models: HyperFormer, HyperFormer++, and the baselines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init", epilog=init.EPILOG)(init.init)
app.command("train", epilog=train.EPILOG)(train.train)
app.command("eval")(evaluate.evaluate)
app.command("fewshot", epilog=fewshot.EPILOG)(fewshot.fewshot)
app.command("predict", epilog=predict.EPILOG)(predict.predict)
app.command("report", epilog=report.EPILOG)(report.report)
app.command("export")(export.export)
app.command("convert", epilog=convert.EPILOG)(convert.convert)
app.command("prefetch", epilog=prefetch.EPILOG)(prefetch.prefetch)
app.command("verify", epilog=verify.EPILOG)(verify.verify)
app.command("slurm", epilog=slurm.EPILOG)(slurm.slurm)
app.command("count-params")(count_params.count_params)
app.add_typer(runs.app, name="runs")
app.add_typer(recipes.app, name="recipes")
app.add_typer(tasks.app, name="tasks")


def _version(wanted: bool) -> None:
    if wanted:
        from hyperformer_cli import __version__

        typer.echo(f"hyperformer {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """The console script."""
    app()
