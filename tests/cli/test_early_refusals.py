"""What needs no more than YAML is answered without torch, whose import takes seconds.

And a dry run refuses what the start refuses.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hyperformer_cli.cli.main import app
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.runs.folder import RunFolder

# Runs a command in a process that cannot import torch.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from hyperformer_cli.cli.main import main
main()
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_checks_of_yaml_need_no_torch(recipe_values: dict, write_recipe: Callable, tmp_path: Path) -> None:
    recipe, folder = write_recipe(recipe_values), RunFolder(Path(recipe_values["output_dir"]))
    assert run_without_torch("recipes", "validate", recipe, "glue_hyperpp").returncode == 0
    folder.claim(build_recipe(recipe_values))
    for arguments, complaint in (
        (("train", recipe, "training.max_step=3"), "did you mean 'max_steps'"),
        (("train", recipe, "tasks=[cola,mrcp]"), "unknown task 'mrcp'"),
        (("train", recipe, "training.max_steps=3"), "holds a run of another recipe: training.max_steps"),
        (("train", recipe, "training.max_steps=3", "--nproc-per-node", 2), "holds a run of another recipe"),
        (("train", recipe, "x" * 300), "expected dotted.key=value"),
        (("train", "x" * 300), "name too long"),
        (("eval", tmp_path / "none"), "not a run folder"),
        (("eval", folder.path, "--set", "evaluation.batchsize=3"), "did you mean 'batch_size'"),
        (("export", tmp_path / "none", "--format", "static"), "not a run folder"),
    ):
        refused = run_without_torch(*arguments)
        assert refused.returncode == 2 and complaint in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_closed_standard_input_is_said(tmp_path: Path) -> None:
    command = f"{sys.executable} -m hyperformer_cli predict {tmp_path} <&-"
    refused = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr == "error: standard input is closed; give a FILE\n"


def dry_run(recipe: Path, *changes: object) -> Result:
    return run("train", recipe, "--dry-run", *changes)


@pytest.mark.parametrize(
    ("label", "text", "complaint"),
    [("7", "a", "row 2: label '7'"), ("", "a", "row 2: label ''"), ("1", None, "row 2: column 'sentence' is null")],
)
def test_the_plan_refuses_the_rows_that_the_start_refuses(
    label: Any, text: str | None, complaint: str, recipe_values: dict, write_recipe: Callable, tmp_path: Path
) -> None:
    (tmp_path / "data" / "cola").mkdir(parents=True)
    rows = [{"sentence": "a", "label": "1"}, {"sentence": text, "label": label}]
    for split in ("train", "validation"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / "cola" / f"{split}.jsonl").write_text(lines)
    recipe = write_recipe({**recipe_values, "tasks": ["cola"], "data": {"source": str(tmp_path / "data")}})
    planned, started = dry_run(recipe), run("train", recipe)
    assert planned.exit_code == started.exit_code == 2
    assert complaint in planned.stderr and planned.stderr == started.stderr


def test_the_plan_refuses_folders_that_are_no_models(
    recipe_values: dict, write_recipe: Callable, tokenizer_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    tokenizer = recipe_values["model"]["tokenizer"]
    for model, complaint in (
        ({"name": "/etc"}, "/etc"),
        ({"name": str(tmp_path / "empty"), "tokenizer": tokenizer}, "holds no weights"),
        ({"name": str(tmp_path / "empty"), "tokenizer": tokenizer, "init": "random"}, "no config.json there"),
        ({**recipe_values["model"], "tokenizer": str(tmp_path / "empty")}, "tokenizer"),
    ):
        recipe = write_recipe({**recipe_values, "model": model})
        planned, started = dry_run(recipe), run("train", recipe)
        assert planned.exit_code == started.exit_code == 2 and complaint in planned.stderr
        assert "would write" not in planned.stdout
