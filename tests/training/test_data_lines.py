"""What training says of its data before the first step."""

from pathlib import Path
from typing import Any

from training_runs import train

from hyperformer_cli.observer import Observer


class Said(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def reported(self, line: str) -> None:
        self.lines.append(line)

    def warned(self, warning: str) -> None:
        self.lines.append(f"warning: {warning}")


def test_one_line_per_task_and_its_warnings(recipe_values: dict[str, Any], tmp_path: Path) -> None:
    said = Said()
    values = {**recipe_values, "tasks": ["cola", "mrpc"], "data": {**recipe_values["data"], "max_source_length": 12}}
    train(values, tmp_path / "run", said)
    cola = next(line for line in said.lines if line.startswith("cola: "))
    assert cola.startswith("cola: 64 train, 12 validation, 12 test; inputs of ")
    assert cola.endswith(" for a limit of 12; 50 % are 'unacceptable'")
    (mrpc,) = (line for line in said.lines if line.startswith("warning: mrpc: ") and "fill all" in line)
    assert "inputs fill all 12 tokens of data.max_source_length and are cut there: 96.9 % of train" in mrpc
