"""The README's Python examples, run in order as one program, on the bundled nano T5 in place of T5-small."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hyperformer_cli import AdaptedModel, AdapterSite
from hyperformer_cli.bundled import model_folder

README = Path(__file__).parents[1] / "README.md"
NAMED = 'name = "google-t5/t5-small"\n'


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples leave behind."""
    section = re.search(r"^## Python$(.*?)^## ", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[1]
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    assert program.count(NAMED) == 1
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        exec(compile(program.replace(NAMED, f"name = {str(model_folder())!r}\n"), "README.md", "exec"), found)
    return found


def test_attach_and_a_loop_of_ones_own(names: dict[str, Any]) -> None:
    assert isinstance(names["model"], AdaptedModel)
    assert names["losses"][-1] < names["losses"][0]


def test_generate_and_a_mixed_batch(names: dict[str, Any]) -> None:
    assert len(names["answers"]) == len(names["mixed"]) == len(names["texts"])
    model, inputs = names["loaded"].eval(), names["inputs"]
    for row, task in enumerate(("cola", "rte")):
        alone = model.generate(**inputs, task=task, max_new_tokens=5)[row]
        together = model.generate(**inputs, task_ids=[0, 2], max_new_tokens=5)[row]
        width = min(len(alone), len(together))
        assert alone[:width].tolist() == together[:width].tolist()


def test_a_task_added_and_all_of_it_loaded(names: dict[str, Any]) -> None:
    assert names["loaded"].tasks == ["cola", "mrpc", "rte", "paws"]
    assert len(names["weights"]) == len(names["loaded"].adapter_weights("mrpc")) > 0
    for site, weights in names["loaded"].adapter_weights("mrpc").items():
        assert isinstance(site, AdapterSite)
        assert torch.equal(weights.down_weight, names["weights"][site].down_weight)
    before, after = names["model"].trained_parameters(), names["loaded"].trained_parameters()
    assert all(torch.equal(before[name], after[name]) for name in before)
