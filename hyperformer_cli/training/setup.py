"""What a run needs before its first step: model, tokenizer, data, sampler, optimizer, devices."""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.adapters.stored import describe
from hyperformer_cli.backbones.identity import FolderState, known_frozen_hash
from hyperformer_cli.backbones.source import BackboneSource, fetch_backbone, load_backbone, recipe_family
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.data.loading import DatasetsByTask, check_texts, load_splits, load_tokenizer, tokenization
from hyperformer_cli.data.sampling import BatchSampler, ReferenceSampler, TemperatureSampler
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.optimizer import make_optimizer
from hyperformer_cli.engine.sharded import shard_model
from hyperformer_cli.engine.together import main_process_first
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.storage.trained import Description
from hyperformer_cli.tasks.metrics import check_libraries
from hyperformer_cli.tasks.task import Task


@dataclass(frozen=True)
class Setup:
    """Everything that training works with.

    Attributes:
        model: not wrapped.
        wrapped_model: what accelerate made of it.
        data: examples by split and task.
        backbone_state: of the folder that the backbone was loaded from, if it was.
        sharded_sha256: hash of the frozen weights where they have been divided among the processes since.
    """

    accelerator: Accelerator
    tokenization: Tokenization
    tasks: list[Task]
    data: dict[SplitName, DatasetsByTask]
    sampler: BatchSampler
    model: AdaptedModel
    wrapped_model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    backbone_state: FolderState | None
    sharded_sha256: str | None = None

    @cached_property
    def frozen_sha256(self) -> str:
        """Hash of the backbone's frozen weights, which training does not change."""
        if self.sharded_sha256 is not None:
            return self.sharded_sha256
        return self.model.frozen_sha256 or known_frozen_hash(self.model.backbone, self.backbone_state)

    @property
    def description(self) -> Description:
        """What `hyperformer.json` says of the model."""
        return describe(self.model.config, self.model.source, self.model.backbone, self.frozen_sha256)

    def fingerprints(self) -> dict[str, dict[str, str]]:
        """What changes whenever the content of the data does, by task and split."""
        return {
            task.name: {split: by_task[task.name].fingerprint for split, by_task in self.data.items()}
            for task in self.tasks
        }

    def data_sets(self) -> dict[str, str]:
        """The commits of the data sets that came from the hub, by their names there."""
        return {
            str(task.path): commit
            for task in self.tasks
            for by_task in self.data.values()
            if (commit := by_task[task.name].commit) is not None
        }


def prepare(recipe: Recipe, accelerator: Accelerator) -> Setup:
    """Loads and builds everything, in an order that finds mistakes soon.

    Raises:
        InputError: something that the recipe asks for is missing or does not fit the rest.
    """
    tasks = recipe_tasks(recipe)
    check_libraries(metric for task in tasks for metric in task.metrics)
    check_batch(recipe, accelerator.num_processes)
    splits: list[SplitName] = ["train", "validation", *recipe.evaluation.splits]
    with main_process_first(accelerator):  # the others read what it downloaded and tokenised
        tokenizer = load_tokenizer(recipe)
        text_to_ids = tokenization(recipe, tokenizer, recipe_family(recipe).layout)
        check_texts(tasks, text_to_ids)
        if accelerator.num_processes > 1:
            fetch_backbone(BackboneSource.from_recipe(recipe))
        data = {split: load_splits(recipe, tasks, split, text_to_ids) for split in dict.fromkeys(splits)}
    training = [data["train"][task.name] for task in tasks]
    lengths = [split.input_lengths() for split in training] if recipe.data.sampling.length_grouping else None
    sampler = make_sampler(recipe, [len(split) for split in training], lengths)
    state = FolderState.observe(BackboneSource.from_recipe(recipe).folder)  # before it is read
    model = build_model(recipe, tokenizer)
    optimizer, schedule = make_optimizer(
        model.trained_parameters().values(), recipe.training, heads=model.head_weights()
    )
    if recipe.training.compile:
        model.compile_layers()
    sharded_sha256, wrapped_model = _distribute(recipe, model, state, accelerator)
    torch.manual_seed(recipe.seed + accelerator.process_index)  # dropout differs between processes
    return Setup(
        accelerator, text_to_ids, tasks, data, sampler, model, wrapped_model, optimizer, schedule, state, sharded_sha256
    )


def _distribute(
    recipe: Recipe, model: AdaptedModel, state: FolderState | None, accelerator: Accelerator
) -> tuple[str | None, torch.nn.Module]:
    """The hash of the frozen weights, if they are divided among the processes now, and the model that steps call."""
    if not recipe.training.shard_backbone or accelerator.num_processes == 1:
        return None, accelerator.prepare(model)
    frozen_sha256 = known_frozen_hash(model.backbone, state)
    return frozen_sha256, shard_model(model, accelerator.device, accelerator.num_processes)


def check_batch(recipe: Recipe, processes: int) -> None:
    """Raises InputError where a batch does not divide over the processes."""
    size = recipe.training.batch_size
    if size % processes:
        at = recipe.where("training.batch_size")
        raise InputError(f"{at}: training.batch_size: {size} does not divide over {processes} processes")


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> AdaptedModel:
    """The backbone with the recipe's method attached, on the CPU; the same on every process."""
    source = BackboneSource.from_recipe(recipe)
    backbone = load_backbone(source)
    # transformers declares any module, but token ids are embedded by this one.
    vocabulary = cast(torch.nn.Embedding, backbone.get_input_embeddings()).num_embeddings
    pieces = 1 + max(tokenizer.get_vocab().values(), default=0)  # numbers may be left out
    if pieces > vocabulary:
        raise InputError(
            f"the tokenizer has {pieces} pieces, the model embeds {vocabulary}; they do not belong together"
        )
    torch.manual_seed(recipe.seed)
    model = AdaptedModel.attach(backbone, recipe.adapter, source.resolved(backbone))
    if recipe.model.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model.train()


def make_sampler(recipe: Recipe, sizes: list[int], lengths: list[np.ndarray] | None = None) -> BatchSampler:
    """The sampler of the recipe's protocol. The reference's draws depend on its number of processes, our `replicas`.

    Args:
        recipe: gives protocol, batch and temperature.
        sizes: training examples of each task.
        lengths: number of tokens of each, for `length_grouping`.

    Raises:
        InputError: the reference's sampler cannot draw such batches.
    """
    training, sampling = recipe.training, recipe.data.sampling
    temperature, mixed = sampling.temperature, sampling.mixed_batches
    if recipe.data.protocol == "paper":
        names = recipe.task_names
        fixed = {names.index(task): share for task, share in sampling.probabilities.items()}
        return TemperatureSampler(sizes, training.batch_size, temperature, recipe.seed, mixed, lengths, fixed)
    replicas = training.replicas
    at = f"{recipe.where('training.replicas')}: training.replicas: protocol: reference draws for {replicas} processes"
    rows, rest = divmod(training.batch_size, replicas)
    if rest:
        raise InputError(f"{at}, over which a batch_size of {training.batch_size} does not divide")
    sampler = ReferenceSampler(sizes, rows, replicas, temperature)
    if min(sizes) < replicas or not sampler.batches_per_epoch:
        raise InputError(f"{at}; a task with {min(sizes)} examples has too few for them")
    return sampler
