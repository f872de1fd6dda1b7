"""`hyperformer slurm`."""

import re
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from hyperformer_cli.cli.console import reports_errors

if TYPE_CHECKING:
    from hyperformer_cli.config.recipe import Recipe

EPILOG = """Examples:

hyperformer slurm glue_hyperpp --gpus-per-node 4 --time 12:00:00 > job.sh && sbatch job.sh

hyperformer slurm my_sweep.yaml --gpus-per-node 1 --at-once 8 --sbatch partition=gpu | sbatch
"""

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
{options}
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@{notice}

# {notice} seconds before the time limit SLURM sends SIGUSR1, and SIGTERM when the job is preempted. hyperformer then
# saves and exits with code 143, and the job goes back into the queue, where it continues from its checkpoint.
export OMP_NUM_THREADS={cpus}
srun --kill-on-bad-exit=1 --cpus-per-task={cpus} {command} &
step=$!
# A signal to this shell is passed on; it waits until the run has saved, since the job ends with it.
trap 'kill -TERM "$step" 2>/dev/null && again=yes' TERM USR1
again=yes
while [ "$again" ]; do
    again=
    wait "$step"
    code=$?
done

# A cancelled job is no longer RUNNING. The plain number of an array's last task would name the whole array.
job=${{SLURM_ARRAY_JOB_ID:+${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID}}
job=${{job:-$SLURM_JOB_ID}}
if [ "$code" -eq 143 ] && scontrol show job "$job" | grep -q 'JobState=RUNNING'; then
    echo "job $job was stopped and goes back into the queue"
    scontrol requeue "$job"
fi
exit "$code"
"""


@reports_errors
def slurm(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped recipe.")],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe, as for train.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes per run.")] = 1,
    gpus_per_node: Annotated[int, typer.Option(min=0, help="GPUs per node; one process for each.")] = 1,
    tasks_per_node: Annotated[
        int | None, typer.Option(min=1, help="Processes per node; by default one per GPU, or one without GPUs.")
    ] = None,
    cpus_per_task: Annotated[int, typer.Option(min=1, help="Cores per process.")] = 4,
    time: Annotated[
        str, typer.Option(help="The time limit, as sbatch reads it; a longer run is requeued.")
    ] = "24:00:00",
    notice: Annotated[int, typer.Option(min=1, help="Seconds before the limit at which the run is to save.")] = 300,
    at_once: Annotated[int | None, typer.Option(min=1, help="Cells of a sweep that run at one time.")] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(metavar="OPTION=VALUE", help="Another option of sbatch, such as partition=gpu. Repeatable."),
    ] = None,
) -> None:
    """Print a job script for SLURM: one job, or for a recipe with a sweep an array with one task per cell.

    Submit it from the folder in which the recipe would be trained. The job saves before its time limit and when it is
    preempted, goes back into the queue, and continues.
    """
    from hyperformer_cli.config.loading import load_recipe
    from hyperformer_cli.config.recipe_tasks import recipe_tasks
    from hyperformer_cli.config.sweep import sweep_points
    from hyperformer_cli.errors import InputError

    loaded = load_recipe(recipe, changes or ())
    recipe_tasks(loaded)
    cells = len(sweep_points(loaded)) if loaded.sweep else 0
    if at_once and not cells:
        raise InputError(f"--at-once: recipe '{loaded.name}' has no sweep")
    tasks = tasks_per_node or max(gpus_per_node, 1)
    _check_batch(loaded, nodes * tasks)
    lines = [f"nodes={nodes}", f"ntasks-per-node={tasks}", f"cpus-per-task={cpus_per_task}", f"time={time}"]
    lines += [f"gpus-per-node={gpus_per_node}"] if gpus_per_node else []
    lines += [f"array=0-{cells - 1}" + (f"%{at_once}" if at_once else "")] if cells else []
    lines += sbatch or []
    arguments = ["hyperformer", "train", recipe, *(changes or [])]
    command = shlex.join(arguments) + (' --sweep-index "$SLURM_ARRAY_TASK_ID"' if cells else "")
    script = _SCRIPT.format(
        name=re.sub(r"[^\w./=,-]+", "-", loaded.name),
        options="\n".join(f"#SBATCH --{_checked(line)}" for line in lines),
        log="slurm-%A_%a.out" if cells else "slurm-%j.out",
        notice=notice,
        cpus=cpus_per_task,
        command=command,
    )
    typer.echo(script, nl=False)


def _checked(option: str) -> str:
    """An option for a line of its own; an InputError if it would not stay one."""
    from hyperformer_cli.errors import InputError

    option = option.removeprefix("--")
    if not option or "\n" in option or option.startswith(("=", "-")):
        raise InputError(f"--sbatch {option!r}: give an option of sbatch, such as partition=gpu")
    return option


def _check_batch(recipe: "Recipe", processes: int) -> None:
    from hyperformer_cli.errors import InputError

    size = recipe.training.batch_size
    if size % processes:
        at = recipe.where("training.batch_size")
        raise InputError(f"{at}: training.batch_size: {size} does not divide over {processes} processes")
