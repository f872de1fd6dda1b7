"""Predictions of one model: batches of its tasks, sorted by length, answered in the order of the requests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.recipe import EvaluationSection
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.answers import label_scores, likeliest
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.likelihood import label_log_likelihoods
from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.requests import Request
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.task import Task

Prediction = dict[str, Any]  # one line of output


class _Limits(NamedTuple):
    """Of generation; the beams count too, because answers with beams depend on the limit."""

    max_new_tokens: int
    num_beams: int


@dataclass(frozen=True)
class Predictor:
    """A trained model and its tasks.

    Attributes:
        model: in evaluation mode, on the accelerator's device.
        tasks: tasks of the model, by name.
        tokenization: that of training.
        accelerator: gives device and precision.
        settings: batch size and beams.
        with_scores: whether labels get scores.
    """

    model: AdaptedModel
    tasks: Mapping[str, Task]
    tokenization: Tokenization
    accelerator: Accelerator
    settings: EvaluationSection
    with_scores: bool = True

    @cached_property
    def _new_tokens(self) -> dict[str, int]:
        return longest_target(self.tasks.values(), self.tokenization.encoding)

    @cached_property
    def _label_ids(self) -> dict[str, list[list[int]]]:
        return {
            name: self.tokenization.target_ids(task, task.label_texts)
            for name, task in self.tasks.items()
            if self.with_scores or self.settings.ranks(task)
        }

    def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in their order. Batches mix tasks whose decoding has the same limits."""
        texts, limit = [request.text for request in requests], self.tokenization.max_source_length
        inputs = self.tokenization.encoding.inputs(texts, limit)
        found: dict[int, Prediction] = {}
        with self.model.frozen_adapters(), torch.inference_mode(), self.accelerator.autocast():
            for chosen, limits in self._batches(requests, [len(ids) for ids in inputs]):
                tasks = [requests[i].task for i in chosen]
                answers, scores = self._run(tasks, [inputs[i] for i in chosen], limits)
                for i, text, own in zip(chosen, answers, scores, strict=True):
                    found[i] = self._describe(requests[i], text, own)
        return [found[i] for i in range(len(requests))]

    def _batches(
        self, requests: Sequence[Request], lengths: Sequence[int]
    ) -> Iterator[tuple[list[int], _Limits | None]]:
        """The numbers of each batch's requests, longest inputs first, and its limits; None if labels are ranked.

        A prediction must not depend on what else is in the batch, and with beams it depends on the limits.
        """
        groups: dict[_Limits | None, list[int]] = {}
        for i, request in enumerate(requests):
            task = self.tasks[request.task]
            limits = _Limits(self._new_tokens[task.name], self.settings.num_beams or task.num_beams)
            groups.setdefault(None if self.settings.ranks(task) else limits, []).append(i)
        size = self.settings.batch_size
        for shared, members in groups.items():
            members.sort(key=lambda i: -lengths[i])
            for start in range(0, len(members), size):
                yield members[start : start + size], shared

    def _run(
        self, tasks: Sequence[str], inputs: Sequence[Sequence[int]], limits: _Limits | None
    ) -> tuple[list[str], list[list[float]]]:
        """The rows' answers, and the log-likelihoods of their labels, over one pass of the inputs."""
        encoding, layout = self.tokenization.encoding, self.model.family.layout
        task_ids = [self.model.task_id(task) for task in tasks]
        batch = layout.generation_batch(inputs, encoding.pad_id)
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        read = layout.read(self.model, batch, task_ids)
        texts: list[str] = []
        if limits is not None:
            options = encoding.decoding(self.model.backbone.generation_config) | limits._asdict()
            ids = self.model.generate(**read, task_ids=task_ids, do_sample=False, **options)
            texts = encoding.tokenizer.batch_decode(layout.generated(ids, batch), skip_special_tokens=True)
        labels = [self._label_ids.get(task, []) for task in tasks]
        scores = label_log_likelihoods(self.model, read, task_ids, labels, self.settings.batch_size)
        if limits is None:
            texts = [likeliest(self.tasks[task], own) for task, own in zip(tasks, scores, strict=True)]
        return texts, scores

    def _describe(self, request: Request, text: str, log_likelihoods: Sequence[float]) -> Prediction:
        task = self.tasks[request.task]
        found: Prediction = {"id": request.id, "task": request.task, "prediction": text}
        value = task.parse_prediction(text)
        if task.labels:
            found["label"] = task.label_names[value] if isinstance(value, int) else None
            if self.with_scores:
                found["scores"] = label_scores(task, log_likelihoods)
        elif task.is_regression:
            found |= {"label": None, "value": value}
        return found


def make_predictor(run: OpenedRun, with_scores: bool = True) -> Predictor:
    """The predictor of a run with one model.

    Raises:
        InputError: the model cannot be loaded, its trained weights are not finite, or there are several processes.
    """
    accelerator = make_accelerator(run.recipe.training)
    if accelerator.num_processes > 1:
        raise InputError("predict runs in one process; give each its own part of the rows")
    model = run.model.to(accelerator.device)
    trained = [*model.trained_parameters().items(), *(model.bank.named_buffers() if model.bank is not None else ())]
    infinite = [name for name, tensor in trained if not tensor.isfinite().all()]
    if infinite:
        raise InputError(
            f"{run.weights_folder}: {infinite[0]} is not finite: {len(infinite)} of {len(trained)} tensors"
        )
    return Predictor(model, run.tasks, run.tokenization, accelerator, run.recipe.evaluation, with_scores)
