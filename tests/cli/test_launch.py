"""What SLURM says, in torch's words; which commands several processes may run."""

import os
import signal

import pytest

from hyperformer_cli.cli.launch import (
    adopt_slurm_environment,
    check_nproc,
    check_runs_alone,
    first_host,
    report_failure,
    step_port,
)
from hyperformer_cli.errors import InputError

TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")
SLURM = {
    "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "1234567", "SLURM_STEP_NODELIST": "gpu[03-04]",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCH, *SLURM, "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def of_slurm(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu[03-05,9],login1", "gpu03"), ("gpu7", "gpu7"), ("a-1,b-2", "a-1"), ("n[1,2]", "n1"), ("n[08-10]", "n08")],
)
def test_first_host(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_tasks_of_srun_become_ranks(of_slurm: pytest.MonkeyPatch) -> None:
    adopt_slurm_environment()
    assert {name: os.environ[name] for name in TORCH[:4]} == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03",
    }  # fmt: skip
    assert os.environ["MASTER_PORT"] == str(step_port("1234567", "0"))


def test_two_steps_of_a_job_and_neighbouring_jobs_have_ports_of_their_own() -> None:
    ports = {step_port(job, step) for job in ("1234567", "1234568") for step in "0123"}
    assert len(ports) == 8 and all(1024 < port < 32768 for port in ports)


def test_the_shell_of_salloc_is_one_process(of_slurm: pytest.MonkeyPatch) -> None:
    """Its SLURM_NTASKS is that of the job; waiting for the others it would hang."""
    for name, value in {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}.items():
        of_slurm.setenv(name, value)
    adopt_slurm_environment()
    assert "WORLD_SIZE" not in os.environ


def test_a_batch_script_without_srun_is_one_process(of_slurm: pytest.MonkeyPatch) -> None:
    of_slurm.delenv("SLURM_STEP_ID")
    of_slurm.delenv("SLURM_STEP_NUM_TASKS")
    adopt_slurm_environment()
    assert "WORLD_SIZE" not in os.environ


def test_processes_of_another_launcher_are_left_alone(of_slurm: pytest.MonkeyPatch) -> None:
    of_slurm.setenv("RANK", "0")
    adopt_slurm_environment()
    assert "WORLD_SIZE" not in os.environ


@pytest.mark.parametrize(("visible", "local_rank"), [("3", "0"), ("0,1,2,3", "1"), (None, "1")])
def test_a_process_that_sees_one_gpu_uses_it(
    visible: str | None, local_rank: str, of_slurm: pytest.MonkeyPatch
) -> None:
    """`srun --gpus-per-task=1` shows each process its own GPU, as number 0 of one."""
    if visible:
        of_slurm.setenv("CUDA_VISIBLE_DEVICES", visible)
    adopt_slurm_environment()
    assert os.environ["LOCAL_RANK"] == local_rank


def test_nproc_per_node_is_for_a_single_process(of_slurm: pytest.MonkeyPatch) -> None:
    assert check_nproc(1) is False and check_nproc(2) is True
    adopt_slurm_environment()
    with pytest.raises(InputError, match="--nproc-per-node 2: srun has started 8 processes already"):
        check_nproc(2)
    of_slurm.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(InputError):
        check_nproc(2)
    of_slurm.setenv("TORCHELASTIC_RUN_ID", "hyperformer")  # one of those that the option started
    assert check_nproc(2) is False


def test_commands_of_one_process(of_slurm: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    check_runs_alone("predict")
    assert not capsys.readouterr().err  # the first says it
    of_slurm.setenv("SLURM_PROCID", "0")
    check_runs_alone("predict")
    assert "each of the 8 that srun started does all of it" in capsys.readouterr().err
    of_slurm.setenv("RANK", "1")
    of_slurm.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="'predict' runs in one process, and a launcher has started 2"):
        check_runs_alone("predict")


def test_a_killed_process_is_named(capsys: pytest.CaptureFixture) -> None:
    assert report_failure(2, 4, -signal.SIGKILL) == 137
    assert "process 2 of 4 was killed by SIGKILL; the system does so when memory runs out" in capsys.readouterr().err
    assert report_failure(0, 2, 143) == 143 and not capsys.readouterr().err
