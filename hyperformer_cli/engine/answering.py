"""From token ids of inputs to answers, the same way for evaluation and prediction.

Inputs are cut into batches by length, of one task or mixed; each is read once, and what was read is shared by decoding
and the likelihoods of labels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.layouts import Ids
from hyperformer_cli.config.sections import EvaluationSection
from hyperformer_cli.data.inference_batches import BatchLimits, plan_batches
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.answers import Answer, likeliest
from hyperformer_cli.engine.decoding import SHORT, GreedyRules, decode_greedily, greedy_rules
from hyperformer_cli.engine.likelihood import label_log_likelihoods
from hyperformer_cli.tasks.task import Task

# What a batch costs besides its tokens, in tokens: on two CPU cores with T5-small, and an estimate for GPUs.
_OVERHEAD, _OVERHEAD_ELSEWHERE = {"cpu": 128}, 1024
# Larger batches of tokens are slower on a CPU: they leave its caches.
_MOST_TOKENS = {"cpu": 2048}
# Short rows of one task leave room for more than `batch_size` of them; logits set a limit to that.
_MORE_ROWS = 2


class _Generation(NamedTuple):
    """Arguments of `generate`; with beams answers depend on both."""

    max_new_tokens: int
    num_beams: int


class _Way(Enum):
    """To an answer without `generate`."""

    GREEDY = "each row has a limit of its own"
    RANKING = "nothing is decoded"


_Mode = _Generation | _Way


class Question(NamedTuple):
    """An input: its task, and its number of tokens."""

    task: str
    length: int


@dataclass(frozen=True)
class Answering:
    """A model that answers inputs of its tasks.

    Attributes:
        model: in evaluation mode, on the accelerator's device.
        tasks: those of the inputs, by name.
        tokenization: that of training.
        accelerator: gives device, precision and processes.
        settings: batch size, beams, and whether labels are ranked.
        with_likelihoods: whether the likelihoods of label texts are given where answers do not need them.
    """

    model: AdaptedModel
    tasks: Mapping[str, Task]
    tokenization: Tokenization
    accelerator: Accelerator
    settings: EvaluationSection
    with_likelihoods: bool = False

    @torch.inference_mode()
    def answer(
        self, questions: Sequence[Question], input_ids: Callable[[int], Ids]
    ) -> Iterator[tuple[list[int], list[Answer]]]:
        """Answers this process's part of some inputs, batch after batch.

        Open `frozen_adapters` around it.

        Args:
            questions: of all processes, the same on each.
            input_ids: the token ids of an input, by its number.

        Yields:
            The numbers of a batch's inputs, and their answers. All processes yield as often; the last batch of a
            process may be empty.
        """
        for mode, planned in self._batches(questions):
            numbers = planned[planned >= 0].tolist()
            if not numbers and not self.model.is_sharded:
                yield [], []
                continue
            shown = numbers or [0]  # a sharded backbone needs all processes for every pass
            with self.accelerator.autocast():
                answers = self._run(mode, [questions[i].task for i in shown], [input_ids(i) for i in shown])
            yield numbers, answers[: len(numbers)]

    def _batches(self, questions: Sequence[Question]) -> Iterator[tuple[_Mode, np.ndarray]]:
        """This process's batches, each with its way of decoding, -1 where it has no input."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        lengths = np.array([question.length for question in questions], dtype=np.int64)
        numbers = {name: number for number, name in enumerate(self.tasks)}
        asked = np.array([numbers[question.task] for question in questions], dtype=np.int64)
        modes = [self._mode(task) for task in self.tasks.values()]
        for mode in dict.fromkeys(modes):
            members = np.flatnonzero(np.isin(asked, [i for i, own in enumerate(modes) if own == mode]))
            if not len(members):
                continue
            for batch in plan_batches(lengths[members], asked[members], self._limits(mode), world):
                own = batch[:, rank]
                yield mode, np.where(own >= 0, members[own], -1)

    def _limits(self, mode: _Mode) -> BatchLimits:
        rows, kind = self.settings.batch_size, self.accelerator.device.type
        tokens = rows * self.tokenization.max_source_length
        return BatchLimits(
            tokens=min(tokens, _MOST_TOKENS.get(kind, tokens)),
            rows=rows if isinstance(mode, _Generation) else _MORE_ROWS * rows,
            mixed_rows=rows,
            overhead=_OVERHEAD.get(kind, _OVERHEAD_ELSEWHERE),
        )

    def _mode(self, task: Task) -> _Mode:
        if self.settings.ranks(task):
            return _Way.RANKING
        generation = _Generation(self._new_tokens[task.name], self.settings.num_beams or task.num_beams)
        if generation.num_beams == 1 and generation.max_new_tokens <= SHORT and self._rules is not None:
            return _Way.GREEDY
        return generation

    def _run(self, mode: _Mode, tasks: Sequence[str], inputs: Sequence[Ids]) -> list[Answer]:
        """The rows' answers, over one pass of the inputs."""
        model, layout, encoding = self.model, self.model.family.layout, self.tokenization.encoding
        task_ids = [model.task_id(task) for task in tasks]
        labels = [self._label_ids[task] for task in tasks]
        batch: Mapping[str, Any] = layout.generation_batch(inputs, encoding.pad_id)
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        texts: list[str] = []
        if isinstance(mode, _Generation):
            read = layout.read(model, batch, task_ids) if any(labels) else batch
            ids = model.generate(**read, task_ids=task_ids, do_sample=False, **mode._asdict(), **self._options)
            texts, batch = self._texts(layout.generated(ids, batch).cpu().numpy()), read
            if not any(labels):
                return [Answer(text) for text in texts]
        limits = [self._new_tokens[task] for task in tasks]
        with model.adapting(task_ids):
            goes_on = any(labels) or max(limits) > 1
            first, rows = layout.begin(model.backbone, batch, self._start_id, goes_on)
            likelihoods = label_log_likelihoods(model, first, rows, task_ids, labels, self.settings.batch_size)
            if mode is _Way.GREEDY:
                assert self._rules is not None
                texts = self._texts(decode_greedily(model, first, rows, task_ids, limits, self._rules))
        if mode is _Way.RANKING:
            texts = [likeliest(self.tasks[task], own) for task, own in zip(tasks, likelihoods, strict=True)]
        return [Answer(text, own) for text, own in zip(texts, likelihoods, strict=True)]

    def _texts(self, ids: np.ndarray) -> list[str]:
        """Tokens to texts; the same answer is decoded once."""
        distinct, places = np.unique(ids, axis=0, return_inverse=True)
        texts = self.tokenization.tokenizer.batch_decode(distinct, skip_special_tokens=True)
        return [texts[place] for place in places.reshape(-1)]

    @cached_property
    def _new_tokens(self) -> dict[str, int]:
        return longest_target(self.tasks.values(), self.tokenization.encoding)

    @cached_property
    def _label_ids(self) -> dict[str, list[list[int]]]:
        """By task the label texts that are scored."""
        return {
            name: self.tokenization.target_ids(task, task.label_texts)
            if task.labels and (self.with_likelihoods or self.settings.ranks(task))
            else []
            for name, task in self.tasks.items()
        }

    @cached_property
    def _options(self) -> dict[str, Any]:
        """Arguments of `generate` in which the backbone's own generation configuration does not fit."""
        return self.tokenization.encoding.decoding(self.model.backbone.generation_config)

    @cached_property
    def _rules(self) -> GreedyRules | None:
        rules = greedy_rules(self.model, self._options)
        return rules if rules is not None and rules.start_id == self._start_id else None

    @cached_property
    def _start_id(self) -> int | None:
        """What the decoder begins with in training."""
        if self.model.family.layout.joins_target:
            return None
        targets = self.tokenization.encoding.targets(["a"], self.tokenization.max_target_length)
        labels = torch.tensor(targets, device=self.accelerator.device)
        return int(self.model.backbone.prepare_decoder_input_ids_from_labels(labels)[0, 0])
