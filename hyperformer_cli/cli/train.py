"""`hyperformer train`."""

import json
import os
import sys
from typing import Annotated

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, is_main_process, print_json, reports_errors

_EPILOG = """Examples:

hyperformer train recipes/glue_hyperpp.yaml training.max_steps=1000

hyperformer train glue_hyperpp --nproc-per-node 4 adapter.reduction_factor=16

hyperformer train glue_hyperpp --dry-run --json | jq .parameters
"""


@reports_errors
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped recipe.")],
    changes: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="As --set.")] = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Resolve everything, print it, train nothing.")] = False,
    nproc_per_node: Annotated[int, typer.Option(min=1, help="Processes (GPUs) to start on this machine.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Train a recipe, then evaluate the best checkpoint; start again to continue a run that was stopped.

    Progress goes to stderr. The last line on stdout is the run folder.
    """
    from hyperformer_cli.config.loading import load_recipe

    loaded = load_recipe(recipe, [*(overrides or ()), *(changes or ())])
    if dry_run:
        _show_plan(loaded, as_json)
        return
    if nproc_per_node > 1 and "RANK" not in os.environ:
        _launch(nproc_per_node)

    from hyperformer_cli.cli.progress import make_observer
    from hyperformer_cli.cli.tables import results_tables, stdout_console
    from hyperformer_cli.training.run import train_recipe

    with make_observer() as observer:
        run = train_recipe(loaded, observer)
    if not is_main_process():
        return
    results = json.loads(run.results_file.read_text(encoding="utf-8"))
    if as_json:
        print_json({"run": str(run.path), **results})
        return
    for made in results_tables(results):
        stdout_console().print(made)
    typer.echo(str(run.path))


def _launch(processes: int) -> None:
    """Becomes torchrun, which starts this same command once a process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--nproc-per-node=")]
    if "--nproc-per-node" in arguments:
        at = arguments.index("--nproc-per-node")
        del arguments[at : at + 2]
    sys.stdout.flush()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    os.execv(sys.executable, [*command, "-m", "hyperformer_cli", *arguments])


def _show_plan(recipe: object, as_json: bool) -> None:
    from hyperformer_cli.cli.tables import stdout_console, table
    from hyperformer_cli.training.plan import plan

    found = plan(recipe)
    if as_json:
        print_json(found)
        return
    console, parameters = stdout_console(), found["parameters"]
    rows = [
        (
            task,
            *(f"{sizes[split]:,}" for split in ("train", "validation", "test")),
            f"{100 * sizes['share_of_steps']:.1f} %",
        )
        for task, sizes in found["tasks"].items()
    ]
    columns = ("task", "train", "validation", "test", "share of steps")
    console.print(table(f"{found['name']} ({found['method']}): {found['sizes']} sizes", columns, rows))
    runs = "" if found["runs"] == 1 else f" in {found['runs']} runs of one task each"
    console.print(f"steps {found['steps']:,}{runs}, examples {found['examples']:,} ({found['epochs']} epochs)")
    console.print(
        f"parameters {parameters['total']:,}, trained {parameters['trained']:,} "
        f"({parameters['trained_per_task_percent']:.2f} % of the backbone a task)"
    )
    console.print(f"memory about {found['memory_gib_estimate']} GiB a process at full length")
    console.print(f"would write {found['output_dir']}")
