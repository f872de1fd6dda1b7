"""What an export starts from: a run's best weights, its tokenizer, and inputs on which the export must agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import EncoderDecoderLayout
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.collation import collate
from hyperformer_cli.data.loading import select_rows, tokenization
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.errors import InputError
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.runs.trained import load_trained_run
from hyperformer_cli.tasks.task import Task

EXAMPLES = 16  # real inputs a task on which an export is compared with its run
_GENERATED_SHAPE = (4, 12, 4)  # rows, source and target tokens, where there are no data
_FIRST_ORDINARY_ID = 3  # after <pad>, </s> and <unk>


@dataclass(frozen=True)
class ExportSource:
    """A run that is being exported.

    Attributes:
        run: its folder.
        recipe: the resolved recipe.
        model: with the best weights, in evaluation mode, on the CPU, in float32.
        tokenizer: the run's.
        tasks: names of the tasks to export, in the model's order.
        declared: their declarations, by name.
        samples: for each of these tasks a small batch to compare outputs on: `input_ids` and `attention_mask`
            (rows, source length), `labels` (rows, target length) padded with -100.
        origins: where each batch comes from, in words.
        moved_to: a folder with the model the run was trained on, where that is no longer where it was.
    """

    run: RunFolder
    recipe: Recipe
    model: AdaptedModel
    tokenizer: PreTrainedTokenizerBase
    tasks: list[str]
    declared: dict[str, Task]
    samples: dict[str, dict[str, Tensor]]
    origins: dict[str, str]
    moved_to: Path | None = None

    def given_backbone(self) -> PreTrainedModel | None:
        """The backbone anew, where it is not to be had from where it was."""
        return None if self.moved_to is None else load_backbone(BackboneSource(str(self.moved_to)))


def open_run(
    path: Path, tasks: Sequence[str] | None = None, examples: int = EXAMPLES, backbone: Path | None = None
) -> ExportSource:
    """Loads what an export needs of a run.

    Args:
        path: the run folder, or an export that holds a model of ours.
        tasks: the tasks to export; by default all of the model's.
        examples: rows of each task's validation split to compare on, where the data are at hand.
        backbone: a folder with the model the run was trained on, where that is no longer where it was.

    Raises:
        InputError: not a run, a run of a model a task, no best weights, damaged files, another backbone than the
            run's, or a task the run was not trained on.
    """
    run = RunFolder(path)
    recipe = run.recipe()
    if not recipe.joint:
        raise InputError(
            f"{path}: holds a model a task; give one of them, such as {run.cell(task=recipe.task_names[0]).path}"
        )
    model, tokenizer = load_trained_run(run, backbone=backbone)
    model = model.float()
    for task in tasks or ():
        model.task_id(task)
    chosen = [task for task in model.tasks if tasks is None or task in tasks]
    declared = {task.name: task for task in recipe_tasks(recipe) if task.name in chosen}
    samples, origins = {}, {}
    for name, task in declared.items():
        samples[name], origins[name] = _samples(task, recipe, tokenizer, examples)
    return ExportSource(run, recipe, model, tokenizer, chosen, declared, samples, origins, backbone)


def _samples(
    task: Task, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, examples: int
) -> tuple[dict[str, Tensor], str]:
    """Real rows where the run's data can be read, else token ids drawn at random; and which of the two."""
    try:
        return _real_rows(task, recipe, tokenizer, examples)
    except InputError:
        return _generated_ids(len(tokenizer)), "generated token ids (the run's data are not at hand)"


def _real_rows(
    task: Task, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, examples: int
) -> tuple[dict[str, Tensor], str]:
    split = source_split_of(task, "validation")
    rows = load_rows(task, split, recipe.data.source)
    count = rows.table.num_rows
    chosen = select_rows(task, "validation", recipe.data, {split: count}, recipe.seed)
    numbers = (range(count) if chosen.indices is None else chosen.indices)[:examples]
    tokenized = tokenization(recipe, tokenizer).apply(task, rows.take(numbers))
    layout = EncoderDecoderLayout()
    batch = collate([(0, row) for row in range(len(tokenized))], [tokenized], layout, tokenizer.pad_token_id)
    return batch, f"{len(tokenized)} rows of its validation split"


def _generated_ids(vocabulary: int) -> dict[str, Tensor]:
    rows, source, target = _GENERATED_SHAPE
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(_FIRST_ORDINARY_ID, vocabulary, (rows, source), generator=generator)
    lengths = torch.randint(source // 2, source + 1, (rows, 1), generator=generator)
    mask = (torch.arange(source) < lengths).long()
    labels = torch.randint(_FIRST_ORDINARY_ID, vocabulary, (rows, target), generator=generator)
    return {"input_ids": input_ids * mask, "attention_mask": mask, "labels": labels}
