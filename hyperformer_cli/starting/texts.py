"""The recipe and the task that `init` writes, with comments that say what a value does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.config.json_schema import FILE, HEADER
from hyperformer_cli.starting.settings import BATCH, TEMPERATURE, Settings
from hyperformer_cli.tasks.task import Task


def template(columns: Sequence[str]) -> str:
    """The input text: the columns one after the other, with their names if there are several."""
    if len(columns) == 1:
        return f"{{{columns[0]}}}"
    return " ".join(f"{column.replace('_', ' ')}: {{{column}}}" for column in columns)


def task_text(values: dict[str, Any], task: Task) -> str:
    """A task file: its keys in the order of `values`."""
    comments = {
        "files": "CSV, TSV, JSONL or parquet; paths as seen from the folder in which you train",
        "template": "what the model reads; columns in braces",
        "label_column": "what it predicts",
        "labels": (
            "value in the column: what the model writes, one piece of its vocabulary each"
            if isinstance(task.labels, dict)
            else "what the column holds, and what the model writes"
        ),
        "label_names": "what `predict` and `report` call them",
        "metrics": "the first one is the task's principal one",
        "range": "lowest and highest number; written to one decimal",
        "target": "what the model writes",
        "max_target_length": "tokens; longer targets are cut",
    }
    lines = [f"# The task '{task.name}'; its rows were cleaned and split by `hyperformer init`."]
    if task.kind == "labels" and len(task.label_texts) == 2:
        lines.append("# F1 is that of the second label.")
    for key, value in values.items():
        lines += _entry(key, value, comments.get(key))
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, comment: str | None) -> list[str]:
    note = f"  # {comment}" if comment else ""
    if isinstance(value, dict):
        return [f"{key}:{note}", *(f"  {_flow(inner)}: {_flow(item)}" for inner, item in value.items())]
    return [f"{key}: {_flow(value)}{note}"]


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**31 - 1)
    return text.removesuffix("\n").removesuffix("\n...")


def recipe_text(
    file: Path,
    task_file: Path,
    name: str,
    model: str,
    beside: Sequence[str],
    source: str,
    length: int,
    settings: Settings,
) -> str:
    """A recipe (`file`) that trains the task of `task_file`, which lies beside it, and the tasks `beside` it."""
    tasks = _flow([task_file.name, *beside])
    is_alone, is_nano = not beside, model == BUNDLED
    shared = "it alone; tasks listed beside it share what they have in common" if is_alone else "one model for all"
    drawn = f"with the probability above, else by size^(1/{TEMPERATURE:g})"
    if settings.own_share is None:
        probability, drawn = "", f"by size^(1/{TEMPERATURE:g})"
    else:
        probability = f"probabilities: {_flow({name: settings.own_share})}, "
    mixed = "false" if is_alone else "true"
    per_step = "" if is_alone else f"; each row of a batch draws its task, {drawn}"
    kept = (
        "the nano T5 of the package, to try things out" if is_nano else "a name on the hub, or a folder; stays frozen"
    )
    return f"""\
{HEADER}
# {name}: a start, written by `hyperformer init`.   hyperformer train {file}
# For editors that complete and explain keys by the line above: hyperformer recipes schema > {file.with_name(FILE)}
# Without training, what it would do and what is in the data: hyperformer train {file} --dry-run
# Change any key here, or on the command line: hyperformer train {file} training.max_steps={2 * settings.max_steps}
name: {_flow(name)}
model:
  name: {_flow(model)}  # {kept}
adapter:
  method: hyperformer++  # or adapters: weights of its own for every task, without the shared hypernetwork
  reduction_factor: {settings.reduction_factor}  # smaller: larger adapters
tasks: {tasks}  # {shared}
data:
  source: {source}  # of tasks without files of their own
  max_source_length: {length}  # tokens of an input; fits the data, and what is longer is cut
  max_target_length: 16
  sampling: {{temperature: {TEMPERATURE:g}, {probability}mixed_batches: {mixed}, length_grouping: true}}
training:
  max_steps: {settings.max_steps}  # ten passes over the rows of {name} or more{per_step}
  batch_size: {BATCH}
  micro_batch_size: {settings.micro_batch_size}  # lower it if memory is short; the result is the same
  learning_rate: {settings.learning_rate}  # the loss does not fall: try a third; it falls slowly: three times
  schedule: linear
  warmup_steps: {settings.warmup_steps}
  label_smoothing: 0.0
  save_every: {settings.every}
evaluation: {{every: {settings.every}, splits: [validation, test], batch_size: 64}}
seed: 42
output_dir: {_flow(f"outputs/{name}")}
"""
