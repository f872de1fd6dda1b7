"""What SLURM says, in torch's words."""

import pytest

from hyperformer_cli.cli.launch import adopt_slurm_environment, first_host

TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SLURM = {
    "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCH, *SLURM):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu[03-05,9],login1", "gpu03"), ("gpu7", "gpu7"), ("a-1,b-2", "a-1"), ("n[1,2]", "n1"), ("n[08-10]", "n08")],
)
def test_first_host(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_tasks_of_srun_become_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    adopt_slurm_environment()
    assert {name: os.environ[name] for name in TORCH} == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu03", "MASTER_PORT": "34567",
    }  # fmt: skip


@pytest.mark.parametrize("changes", [{"SLURM_NTASKS": "1"}, {"SLURM_STEP_ID": None}, {"RANK": "0"}])
def test_a_single_task_and_a_launchers_processes_are_left_alone(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name, value in (SLURM | changes).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    adopt_slurm_environment()
    assert "WORLD_SIZE" not in os.environ
