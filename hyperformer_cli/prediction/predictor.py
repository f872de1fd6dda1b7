"""Predictions of one set of weights: batches of any of its tasks, sorted by length, answered in the order asked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.recipe import EvaluationSection
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.engine.likelihood import label_log_likelihoods, softmax
from hyperformer_cli.prediction.requests import Request
from hyperformer_cli.tasks.task import Task

Prediction = dict[str, Any]  # one line of output


class Predictor:
    """A trained model and its tasks.

    Args:
        model: on the accelerator's device.
        tasks: by name; all of them the model's.
        how: the tokenisation of training.
        accelerator: gives device and precision.
        settings: batch size and beams.
        with_scores: whether labels get scores.
    """

    def __init__(
        self,
        model: AdaptedModel,
        tasks: Mapping[str, Task],
        how: Tokenization,
        accelerator: Accelerator,
        settings: EvaluationSection,
        with_scores: bool,
    ):
        self.model, self.tasks, self.how = model.eval(), tasks, how
        self.accelerator, self.settings = accelerator, settings
        self._new_tokens = longest_target(tasks.values(), how.tokenizer)
        self._label_ids = {name: self._encode_labels(task) if with_scores else [] for name, task in tasks.items()}
        self._with_scores = with_scores

    def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction a request, in their order; batches mix tasks whose decoding is limited alike."""
        inputs = self._encode([request.text for request in requests])
        found: list[Prediction | None] = [None] * len(requests)
        with self.model.frozen_adapters(), torch.inference_mode(), self.accelerator.autocast():
            for chosen, limits in self._batches(requests, [len(ids) for ids in inputs]):
                texts, scores = self._run([requests[i].task for i in chosen], [inputs[i] for i in chosen], **limits)
                for i, text, own in zip(chosen, texts, scores, strict=True):
                    found[i] = self._describe(requests[i], text, own)
        return found

    def _batches(self, requests: Sequence[Request], lengths: Sequence[int]) -> Iterator[tuple[list[int], dict]]:
        """Numbers of the requests of each batch, longest inputs first, and the limits of its decoding.

        A prediction must not depend on what else is in the batch, and with beams it depends on the limit.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for i, request in enumerate(requests):
            beams = self.settings.num_beams or self.tasks[request.task].num_beams
            groups.setdefault((self._new_tokens[request.task], beams), []).append(i)
        size = self.settings.batch_size
        for (new_tokens, beams), members in groups.items():
            members.sort(key=lambda i: -lengths[i])
            for start in range(0, len(members), size):
                yield members[start : start + size], {"max_new_tokens": new_tokens, "num_beams": beams}

    def _run(
        self, tasks: Sequence[str], inputs: Sequence[Sequence[int]], **limits: int
    ) -> tuple[list[str], list[list[float]]]:
        """Generated texts, and the log-likelihoods of every row's labels, over one pass of the inputs."""
        tokenizer, layout = self.how.tokenizer, self.model.family.layout
        task_ids = [self.model.task_id(task) for task in tasks]
        batch = layout.generation_batch(inputs, tokenizer.pad_token_id)
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        read = layout.read(self.model, batch, task_ids)
        ids = self.model.generate(**read, task_ids=task_ids, do_sample=False, **limits)
        labels = [self._label_ids[task] for task in tasks]
        scores = label_log_likelihoods(self.model, read, task_ids, labels, self.settings.batch_size)
        return tokenizer.batch_decode(layout.generated(ids, batch), skip_special_tokens=True), scores

    def _describe(self, request: Request, text: str, log_likelihoods: Sequence[float]) -> Prediction:
        task = self.tasks[request.task]
        found: Prediction = {"id": request.id, "task": request.task, "prediction": text}
        value = task.parse_prediction(text)
        if task.labels:
            found["label"] = None if value is None else task.label_names[value]
            if self._with_scores:
                shares = [round(share, 4) for share in softmax(log_likelihoods)]
                found["scores"] = dict(zip(task.label_names, shares, strict=True))
        elif task.is_regression:
            found |= {"label": None, "value": value}
        return found

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self.how.tokenizer(list(texts), max_length=self.how.max_source_length, truncation=True)["input_ids"]

    def _encode_labels(self, task: Task) -> list[list[int]]:
        if not task.labels:
            return []
        limit = task.max_target_length or self.how.max_target_length
        return self.how.tokenizer(text_target=list(task.label_texts), max_length=limit, truncation=True)["input_ids"]
