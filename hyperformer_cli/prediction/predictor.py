"""Predictions of one model: batches of its tasks, sorted by length, answered in the order of the requests."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from accelerate import Accelerator
from scipy.special import softmax

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.recipe import EvaluationSection
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.likelihood import label_log_likelihoods
from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.requests import Request
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.tasks.task import Task

Prediction = dict[str, Any]  # one line of output


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
        return {name: self._encode_labels(task) if self.with_scores else [] for name, task in self.tasks.items()}

    def _encode_labels(self, task: Task) -> list[list[int]]:
        return self.tokenization.target_ids(task, task.label_texts)

    def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in their order. Batches mix tasks whose decoding has the same limits."""
        texts, limit = [request.text for request in requests], self.tokenization.max_source_length
        inputs = self.tokenization.encoding.inputs(texts, limit)
        found: dict[int, Prediction] = {}
        with self.model.frozen_adapters(), torch.inference_mode(), self.accelerator.autocast():
            for chosen, limits in self._batches(requests, [len(ids) for ids in inputs]):
                answers, scores = self._run([requests[i].task for i in chosen], [inputs[i] for i in chosen], limits)
                for i, text, own in zip(chosen, answers, scores, strict=True):
                    found[i] = self._describe(requests[i], text, own)
        return [found[i] for i in range(len(requests))]

    def _batches(
        self, requests: Sequence[Request], lengths: Sequence[int]
    ) -> Iterator[tuple[list[int], tuple[int, int]]]:
        """The numbers of each batch's requests, longest inputs first, and its limits: new tokens and beams.

        A prediction must not depend on what else is in the batch, and with beams it depends on the limits.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for i, request in enumerate(requests):
            beams = self.settings.num_beams or self.tasks[request.task].num_beams
            groups.setdefault((self._new_tokens[request.task], beams), []).append(i)
        size = self.settings.batch_size
        for limits, members in groups.items():
            members.sort(key=lambda i: -lengths[i])
            for start in range(0, len(members), size):
                yield members[start : start + size], limits

    def _run(
        self, tasks: Sequence[str], inputs: Sequence[Sequence[int]], limits: tuple[int, int]
    ) -> tuple[list[str], list[list[float]]]:
        """Generated texts, and the log-likelihoods of every row's labels, over one pass of the inputs."""
        encoding, layout = self.tokenization.encoding, self.model.family.layout
        new_tokens, beams = limits
        task_ids = [self.model.task_id(task) for task in tasks]
        batch = layout.generation_batch(inputs, encoding.pad_id)
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        read = layout.read(self.model, batch, task_ids)
        options = encoding.decoding(self.model.backbone.generation_config)
        ids = self.model.generate(
            **read, task_ids=task_ids, do_sample=False, max_new_tokens=new_tokens, num_beams=beams, **options
        )
        labels = [self._label_ids[task] for task in tasks]
        scores = label_log_likelihoods(self.model, read, task_ids, labels, self.settings.batch_size)
        return encoding.tokenizer.batch_decode(layout.generated(ids, batch), skip_special_tokens=True), scores

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
    accelerator = make_accelerator(run.recipe.training.precision)
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


def label_scores(task: Task, log_likelihoods: Sequence[float]) -> dict[str, float | None]:
    """The labels' shares of the probability of all labels, by name; None where the model gives none."""
    shares = softmax(log_likelihoods).tolist()
    rounded = [round(share, 4) if math.isfinite(share) else None for share in shares]  # JSON has no NaN
    return dict(zip(task.label_names, rounded, strict=True))
