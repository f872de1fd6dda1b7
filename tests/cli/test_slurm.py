"""The job scripts that `hyperformer slurm` prints; bash runs them here, with SLURM's commands replaced."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hyperformer_cli.cli.main import app

SCONTROL = """#!/bin/bash
[ "$1" = show ] && echo "JobId=5 JobState=${STATE:-RUNNING} Reason=None"
[ "$1" = requeue ] && echo "requeued $2" >> calls
exit 0
"""


def script(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["slurm", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def run(text: str, folder: Path, srun: str, **variables: str) -> subprocess.Popen:
    for name, content in (("srun", srun), ("scontrol", SCONTROL), ("job.sh", text)):
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "5", **variables}
    return subprocess.Popen(["bash", "job.sh"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def calls(folder: Path) -> str:
    return (folder / "calls").read_text() if (folder / "calls").exists() else ""


def test_a_single_job() -> None:
    text = script("glue_hyperpp", "seed=7", "--gpus-per-node", "4", "--time", "12:00:00", "--sbatch", "partition=gpu")
    options = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"nodes=1", "ntasks-per-node=4", "gpus-per-node=4", "time=12:00:00", "partition=gpu", "requeue"} <= set(
        options
    )
    assert "signal=USR1@300" in options and not any(option.startswith("array") for option in options)
    assert "hyperformer train glue_hyperpp seed=7 &" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_a_sweep_is_an_array() -> None:
    text = script("low_resource_hyperpp", "--at-once", "2", "name=a b")
    assert "#SBATCH --array=0-24%2\n" in text
    assert "hyperformer train low_resource_hyperpp 'name=a b' --sweep-index \"$SLURM_ARRAY_TASK_ID\" &" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["glue_hyperpp", "--at-once", "2"], "has no sweep"),
        (["glue_hyperpp", "--gpus-per-node", "3"], "128 does not divide over 3 processes"),
        (["glue_hyperpp", "--sbatch", "a=b\nrm"], "give an option of sbatch"),
        (["glue_hyperp"], "did you mean 'glue_hyperpp'?"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["slurm", *arguments])
    assert result.exit_code == 2 and message in result.output and not result.stdout


@pytest.mark.parametrize(("code", "requeued"), [(0, ""), (1, ""), (143, "requeued 5\n")])
def test_what_was_stopped_goes_back_into_the_queue(code: int, requeued: str, tmp_path: Path) -> None:
    process = run(script("glue_hyperpp"), tmp_path, f"#!/bin/bash\nexit {code}\n")
    assert process.wait(30) == code and calls(tmp_path) == requeued


def test_what_was_cancelled_does_not(tmp_path: Path) -> None:
    process = run(script("glue_hyperpp"), tmp_path, "#!/bin/bash\nexit 143\n", STATE="COMPLETING")
    assert process.wait(30) == 143 and not calls(tmp_path)


def test_a_task_of_an_array_is_requeued_alone(tmp_path: Path) -> None:
    """The last task has the number of the whole array."""
    array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "24"}
    process = run(script("low_resource_hyperpp"), tmp_path, "#!/bin/bash\nexit 143\n", **array)
    assert process.wait(30) == 143 and calls(tmp_path) == "requeued 5_24\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_shell_passes_signals_on_and_waits(number: int, tmp_path: Path) -> None:
    """Bash would end at once, and with it the job, before anything is saved."""
    srun = "#!/bin/bash\ntrap 'stopped=yes' TERM\ntouch started\nwhile [ ! $stopped ]; do sleep 0.1; done\n"
    process = run(script("glue_hyperpp"), tmp_path, f"{srun}sleep 0.5; touch saved; exit 143\n")
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(30) == 143
    assert (tmp_path / "saved").exists() and calls(tmp_path) == "requeued 5\n"
