"""`hyperformer verify`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hyperformer_cli.cli.console import AsJson, print_json, reports_errors

EPILOG = """Example:

hyperformer verify outputs/quickstart | grep -v '^ok'
"""


@reports_errors
def verify(
    run: Annotated[Path, typer.Argument(help="A run folder, a sweep's, or an export.")],
    as_json: AsJson = False,
) -> None:
    """Check every file of a run, its checkpoints, cells and exports against the SHA-256 in their manifests.

    One line per file. The exit code is 1 if a file is damaged or missing.
    """
    from hyperformer_cli.runs.verify import verify_run

    found = verify_run(run)
    if as_json:
        print_json({"run": str(run), "is_whole": found.is_whole, **asdict(found)})
    else:
        for file, state in sorted(found.files.items()):
            typer.echo(f"{state:<8} {file}")
        for file in found.unlisted:
            typer.echo(f"unlisted {file}")
        for folder, count in found.without_manifest.items():
            typer.echo(f"no manifest for {count} files in {folder}/")
        broken = sum(state != "ok" for state in found.files.values())
        typer.echo(f"{len(found.files)} files checked, {broken} damaged or missing", err=True)
    if not found.is_whole:
        raise typer.Exit(1)
