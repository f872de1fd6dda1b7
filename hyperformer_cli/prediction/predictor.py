"""Predictions of one model: batches of its tasks, sorted by length, answered in the order of the requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hyperformer_cli.engine.answering import Answering, Question
from hyperformer_cli.engine.answers import Answer, label_scores
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.errors import InputError
from hyperformer_cli.prediction.requests import Request
from hyperformer_cli.runs.opened import OpenedRun

Prediction = dict[str, Any]  # one line of output


@dataclass(frozen=True)
class Predictor:
    """A trained model and its tasks.

    Attributes:
        answering: the model, and how it answers; labels get scores if `answering.with_likelihoods`.
    """

    answering: Answering

    def predict(self, requests: Sequence[Request]) -> list[Prediction]:
        """One prediction per request, in their order."""
        texts, limit = [request.text for request in requests], self.answering.tokenization.max_source_length
        inputs = self.answering.tokenization.encoding.inputs(texts, limit)
        questions = [Question(request.task, len(ids)) for request, ids in zip(requests, inputs, strict=True)]
        found: dict[int, Prediction] = {}
        with self.answering.model.frozen_adapters():
            for numbers, answers in self.answering.answer(questions, inputs.__getitem__):
                for i, answer in zip(numbers, answers, strict=True):
                    found[i] = self._describe(requests[i], answer)
        return [found[i] for i in range(len(requests))]

    def _describe(self, request: Request, answer: Answer) -> Prediction:
        task, text = self.answering.tasks[request.task], answer.text
        found: Prediction = {"id": request.id, "task": request.task, "prediction": text}
        value = task.parse_prediction(text)
        if task.labels:
            found["label"] = task.label_names[value] if isinstance(value, int) else None
            if self.answering.with_likelihoods:
                found["scores"] = label_scores(task, answer.log_likelihoods)
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
    return Predictor(Answering(model, run.tasks, run.tokenization, accelerator, run.recipe.evaluation, with_scores))
