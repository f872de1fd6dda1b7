"""Stored parameter counts: they are what counting gives, nothing else is answered from them, and torch stays out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hyperformer_cli.adapters import parameter_counts
from hyperformer_cli.adapters.counting import count_adapted
from hyperformer_cli.adapters.parameter_counts import FILE, adapter_of_one_model, known_shape, stored_counts
from hyperformer_cli.backbones.configuration import backbone_config
from hyperformer_cli.cli.main import app
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.loading import load_recipe, shipped_recipes
from tools.parameter_counts import BACKBONES, count_backbone

STORED = json.loads(FILE.read_bytes())
TASKS = ["cola", "mrpc", "rte"]
# Rows of every kind: joint and alone, LoRA, another reduction factor, no adapters, a nano model.
SOME = [
    "glue_hyperpp_small", "glue_adapters_small", "glue_t5_small", "params_adapters_dagger_r2_small",
    "lora/qwen3/hyperpp", "ablation_no_adapters", "quickstart", "mini/t5",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_stored_figure_is_what_counting_gives(name: str) -> None:
    assert STORED["backbones"][name] == count_backbone(name, STORED["adapters"])


def test_there_is_every_backbone_and_every_shipped_recipe() -> None:
    assert list(STORED["backbones"]) == list(BACKBONES)
    for name, path in shipped_recipes().items():
        recipe = load_recipe(path)
        found = stored_counts(recipe.model.name, recipe.model.config, adapter_of_one_model(recipe))
        assert found is not None, f"{name}: run python -m tools.parameter_counts"


@pytest.mark.parametrize(("name", "tasks"), [("bundled", 7), ("bundled-lm", 1), ("t5-small", 3)])
def test_counts_grow_with_the_tasks_as_those_of_models_do(name: str, tasks: int) -> None:
    shape, names = backbone_config(name, {}), [f"task{i}" for i in range(tasks)]
    for options in STORED["adapters"]:
        config = AdapterConfig(**options, tasks=names)
        stored = stored_counts(name, {}, config)
        if stored is not None:
            assert stored == count_adapted(shape, config), options


def test_the_command_prints_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed() -> list[str]:
        return [CliRunner().invoke(app, ["count-params", *SOME, *more]).stdout for more in ((), ("--json",))]

    stored = printed()
    assert all(name in text for name in SOME for text in stored)
    monkeypatch.setattr(parameter_counts, "stored_counts", lambda *_: None)
    assert printed() == stored


def test_the_command_imports_neither_torch_nor_transformers() -> None:
    program = (
        "import sys; from hyperformer_cli.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "print(*(m for m in sys.modules if '.' not in m))"
    )
    for arguments in ((), ("glue_hyperpp_xxl", "quickstart", "--set", "tasks=[mini_cola]", "--json")):
        command = [sys.executable, "-c", program, "count-params", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert not {"torch", "transformers", "datasets", "numpy"} & set(done.stdout.split())


def test_what_is_not_exactly_what_was_counted_is_counted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AdapterConfig(method="hyperformer++", tasks=TASKS)
    assert stored_counts("google-t5/t5-small", {}, config) is not None
    assert stored_counts("Qwen/Qwen3-0.6B-Base", {}, config) == stored_counts("Qwen/Qwen3-0.6B", {}, config)
    assert stored_counts("t5-small", {"d_ff": 64}, config) is None
    assert stored_counts("t5-small", {}, AdapterConfig(**config.model_dump() | {"reduction_factor": 3})) is None
    assert stored_counts("someone/t5-small", {}, config) is None and stored_counts(None, {}, config) is None
    monkeypatch.setattr(parameter_counts, "published", lambda _: {**known_shape("bundled"), "d_ff": 3})
    assert stored_counts("t5-small", {}, config) is None  # its shape has changed since
    monkeypatch.undo()
    (tmp_path / "t5-small").mkdir()
    monkeypatch.chdir(tmp_path)
    assert stored_counts("t5-small", {}, config) is None  # a folder is what is in it
