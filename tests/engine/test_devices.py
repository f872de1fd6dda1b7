"""Which device is used, what is said of it, and what is refused."""

from types import SimpleNamespace

import pytest
import torch

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.sections import TrainingSection
from hyperformer_cli.engine import devices
from hyperformer_cli.engine.devices import (
    describe_devices,
    device_warnings,
    make_accelerator,
    usable_device,
    why_no_gpu,
)
from hyperformer_cli.engine.together import COLLECTIVE_TIMEOUT
from hyperformer_cli.errors import InputError
from hyperformer_cli.observer import Observer, RunStart
from hyperformer_cli.training.train_recipe import train_recipe

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what is refused without a GPU")


def accelerator_on(kind: str) -> SimpleNamespace:
    return SimpleNamespace(device=torch.device(kind), num_processes=2)


@no_gpu
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"training\.device: cuda cannot be used: .*(CUDA|GPU)"):
        make_accelerator(TrainingSection(device="cuda"))
    with pytest.raises(InputError, match=r"training\.device: mps cannot be used"):
        make_accelerator(TrainingSection(device="mps"))
    assert make_accelerator(TrainingSection(device="cpu")).device.type == "cpu"
    assert usable_device("auto") == "cpu"


def test_a_driver_that_is_too_old_is_told_from_a_build_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch says so when CUDA is initialised, and else just that no GPU is available."""

    def too_old() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update")

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "built without CUDA" in why_no_gpu()
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", too_old)
    assert why_no_gpu() == "The NVIDIA driver on your system is too old (found version 11040)."
    found = device_warnings(accelerator_on("cpu"), TrainingSection(), 10)
    assert len(found) == 1 and "torch has CUDA but cannot use it: The NVIDIA driver" in found[0]


def test_what_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    plain = TrainingSection()
    assert device_warnings(accelerator_on("cpu"), plain, devices.LARGE - 1) == []
    assert "100 million parameters" in device_warnings(accelerator_on("cpu"), plain, devices.LARGE)[0]
    assert device_warnings(accelerator_on("cuda"), plain, devices.LARGE) == []
    for kind, settings in (("mps", plain), ("cuda", TrainingSection(deterministic=False))):
        assert "bit for bit" in device_warnings(accelerator_on(kind), settings, 1)[0]


def test_kernels_follow_the_recipe() -> None:
    matmul, sdp = torch.backends.cuda.matmul, torch.backends.cuda
    try:
        devices._choose_kernels(deterministic=True, tf32=False)
        assert torch.are_deterministic_algorithms_enabled() and not torch.utils.deterministic.fill_uninitialized_memory
        assert not (sdp.mem_efficient_sdp_enabled() or sdp.cudnn_sdp_enabled() or matmul.allow_tf32)
        assert sdp.math_sdp_enabled()
        devices._choose_kernels(deterministic=False, tf32=True)
        assert sdp.mem_efficient_sdp_enabled() and matmul.allow_tf32
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        devices._choose_kernels(deterministic=False, tf32=False)


def test_the_start_says_where_it_runs(recipe_values: dict) -> None:
    class Said(Observer):
        run: RunStart
        warnings: tuple[str, ...] = ()

        def started(self, run: RunStart) -> None:
            self.run = run

        def warned(self, line: str) -> None:
            self.warnings += (line,)

    said = Said()
    recipe_values["training"] |= {"max_steps": 1, "device": "cpu"}
    train_recipe(build_recipe(recipe_values), said)
    threads = torch.get_num_threads()
    assert said.run.devices == f"CPU, {threads} thread{'s' * (threads > 1)}, float32, 1 process"
    assert describe_devices(accelerator_on("cpu"), TrainingSection(precision="bfloat16")).endswith("2 processes")


def test_the_process_groups_time_is_stated() -> None:
    assert 600 <= COLLECTIVE_TIMEOUT.total_seconds() <= 3600
