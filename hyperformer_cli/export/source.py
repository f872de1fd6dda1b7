"""What an export starts from: an opened run, the tasks to export, and inputs on which the export must agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

import torch
from torch import Tensor

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import Ids
from hyperformer_cli.data.encoding import OneSequence
from hyperformer_cli.data.loading import longest_target, select_rows
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.task import Task

EXAMPLES = 16  # real inputs per task on which an export is compared with its run
_GENERATED_SHAPE = (4, 12, 4)  # rows, source and target tokens, where there are no data
_FIRST_ORDINARY_ID = 3  # after <pad>, </s> and <unk>


@dataclass(frozen=True)
class Samples:
    """A small batch of one task.

    Attributes:
        batch: to train on, as the layout of the run's backbone makes it, with `labels` padded with -100.
        prompts: its inputs, to generate from.
        origin: where it comes from, in words.
    """

    batch: dict[str, Tensor]
    prompts: dict[str, Tensor]
    origin: str


@dataclass(frozen=True)
class ExportSource:
    """A run that is being exported.

    Attributes:
        run: opened; it has one model, in evaluation mode, on the CPU, in float32.
        tasks: the tasks to export, by name, in the model's order.
        samples: for each of them a batch to compare outputs on.
        with_backbone: whether the backbone is written too, by formats that can leave it out.
    """

    run: OpenedRun
    tasks: dict[str, Task]
    samples: dict[str, Samples]
    with_backbone: bool = False

    @property
    def model(self) -> AdaptedModel:
        return self.run.model

    @property
    def form(self) -> str | None:
        """What an adapter of this run is; None where the backbone itself was fine-tuned."""
        return self.model.config.form

    @property
    def family(self) -> str:
        """The family of the backbone, whose members share a module tree."""
        return self.model.family.label.lower()

    @property
    def code(self) -> dict[str, str]:
        """What the Python in a README says of this model: its class, and options of the calls."""
        encoding, joins_target = self.run.tokenization.encoding, self.model.family.layout.joins_target
        first = isinstance(encoding, OneSequence) and not encoding.first
        options = encoding.decoding(self.model.backbone.generation_config)
        return {
            "auto_class": self.model.family.layout.auto_class,
            "tokenizer_options": ", add_special_tokens=False" if first else "",
            "generate_options": "".join(f", {name}={value!r}" for name, value in options.items()),
            "new_tokens": ', inputs["input_ids"].shape[1] :' if joins_target else "",
        }

    @property
    def first_task(self) -> str:
        """The task that code in a README shows."""
        return next(iter(self.tasks))

    def about(self, task: str) -> dict[str, Any]:
        """How inputs of a task are written (columns in braces) and what its answers mean."""
        declared, encoding = self.tasks[task], self.run.tokenization.encoding
        return {
            "input": encoding.around(declared.input_template(self.run.recipe.adapter.needs_task_prefix)),
            "labels": list(declared.label_texts),
            "label_names": declared.label_names,
            "metrics": declared.metrics,
            "max_new_tokens": longest_target([declared], encoding)[task],
        }

    def example_input(self, task: str) -> str:
        """A text that looks like an input of the task."""
        parts = Formatter().parse(self.about(task)["input"])
        return "".join(text + ("" if column is None else "A cat sat on the mat.") for text, column, _, _ in parts)


def open_source(
    run: OpenedRun, tasks: Sequence[str] | None = None, examples: int = EXAMPLES, with_backbone: bool = False
) -> ExportSource:
    """Loads the model of a run and a batch for each task.

    Args:
        run: of one model.
        tasks: the tasks to export, by default all of the model's; others are ignored.
        examples: rows of each task's validation split to compare on, where the data are available.
        with_backbone: see `ExportSource`.

    Raises:
        InputError: the run has one model per task, no best weights, damaged files, or another backbone than it was
            trained on.
    """
    run.model.float()
    chosen = {name: run.tasks[name] for name in run.model.tasks if tasks is None or name in tasks}
    samples = {name: _samples(run, task, examples) for name, task in chosen.items()}
    return ExportSource(run, chosen, samples, with_backbone)


def _samples(run: OpenedRun, task: Task, examples: int) -> Samples:
    """Real rows where the run's data can be read, else token ids drawn at random."""
    try:
        return _real_rows(run, task, examples)
    except InputError:
        return _samples_of(run, *_generated_ids(len(run.tokenizer)), "generated token ids (the run's data are missing)")


def _real_rows(run: OpenedRun, task: Task, examples: int) -> Samples:
    data, split = run.recipe.data, source_split_of(task, "validation")
    rows = load_rows(task, split, data.source)
    numbers = select_rows(task, "validation", data, rows.table.num_rows, run.recipe.seed)[:examples]
    tokenized = run.tokenization.apply(task, rows.take(numbers))
    inputs = [tokenized.input_ids(row) for row in range(len(tokenized))]
    targets = [tokenized.target_ids(row) for row in range(len(tokenized))]
    return _samples_of(run, inputs, targets, f"{len(tokenized)} rows of its validation split")


def _samples_of(run: OpenedRun, inputs: Sequence[Ids], targets: Sequence[Ids], origin: str) -> Samples:
    layout, pad_id = run.model.family.layout, run.tokenization.encoding.pad_id
    return Samples(layout.training_batch(inputs, targets, pad_id), layout.generation_batch(inputs, pad_id), origin)


def _generated_ids(vocabulary: int) -> tuple[list[list[int]], list[list[int]]]:
    """Inputs of several lengths, and targets."""
    rows, source, target = _GENERATED_SHAPE
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(_FIRST_ORDINARY_ID, vocabulary, (rows, source), generator=generator).tolist()
    lengths = torch.randint(source // 2, source + 1, (rows,), generator=generator).tolist()
    labels = torch.randint(_FIRST_ORDINARY_ID, vocabulary, (rows, target), generator=generator).tolist()
    return [ids[:length] for ids, length in zip(input_ids, lengths, strict=True)], labels
