"""Answers against `generate` row by row; they do not depend on how batches are cut, and are in the rows' order."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.engine import answering
from hyperformer_cli.engine.answers import Answer
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.scoring import Evaluator
from hyperformer_cli.training.setup import Setup, prepare

Evaluate = Callable[..., dict[str, list[Answer]]]


@pytest.fixture(params=["hyperformer++", "adapters", "lora", "finetune"])
def setup(request: pytest.FixtureRequest, recipe_values: dict[str, Any]) -> Setup:
    options = {"method": request.param, "reduction_factor": 4}
    if request.param == "lora":
        options = {"method": "hyperformer++", "form": "lora", "rank": 4}
    if request.param == "finetune":
        options = {"method": "finetune"}
    recipe = build_recipe({**recipe_values, "adapter": options})
    found = prepare(recipe, make_accelerator(recipe.training))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():  # tasks and rows are to differ
        for parameter in found.model.trained_parameters().values():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.3
    return found


@pytest.fixture
def evaluate(setup: Setup, recipe_values: dict[str, Any]) -> Evaluate:
    def answer(likelihoods: bool = True, **evaluation: Any) -> dict[str, list[Answer]]:
        settings = build_recipe({**recipe_values, "evaluation": evaluation}).evaluation
        evaluator = Evaluator(
            setup.model, setup.tokenization, setup.accelerator, settings, with_likelihoods=likelihoods
        )
        found = evaluator.evaluate(setup.tasks, "validation", setup.data["validation"])
        return {own.task.name: own.answers for own in found}

    return answer


def same(one: dict[str, list[Answer]], other: dict[str, list[Answer]]) -> None:
    for task, answers in one.items():
        assert [answer.text for answer in answers] == [answer.text for answer in other[task]]
        for a, b in zip(answers, other[task], strict=True):
            np.testing.assert_allclose(a.log_likelihoods, b.log_likelihoods, atol=1e-4, rtol=5e-5)


def test_answers_are_those_of_generate_row_by_row(setup: Setup, evaluate: Evaluate) -> None:
    limits = {"cola": 1, "mrpc": 1, "stsb": 3, "mnli": 1}
    found, decode = evaluate(), setup.tokenization.tokenizer.batch_decode
    setup.model.eval()
    texts = set()
    for task in setup.tasks:
        data = setup.data["validation"][task.name]
        limits[task.name] = answering.longest_target([task], setup.tokenization.encoding)[task.name]
        for row in range(0, len(data), 3):
            ids = torch.tensor(data.input_ids(row), dtype=torch.long)[None]
            alone = setup.model.generate(input_ids=ids, task=task.name, max_new_tokens=limits[task.name])
            assert found[task.name][row].text == decode(alone, skip_special_tokens=True)[0]
            texts.add(found[task.name][row].text)
    assert len(texts) > 1 and len(set(limits.values())) > 1


@pytest.mark.parametrize("method", ["generate", "rank"])
@pytest.mark.parametrize("beams", [1, 2])
def test_answers_do_not_depend_on_how_batches_are_cut(
    method: str, beams: int, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts, plan = [], answering.plan_batches
    monkeypatch.setattr(answering, "plan_batches", lambda *given: cuts.append(plan(*given)) or cuts[-1])
    whole = evaluate(method=method, num_beams=beams, batch_size=128)
    for size, tokens in ((1, 2048), (5, 2048), (128, 40)):
        monkeypatch.setitem(answering._MOST_TOKENS, "cpu", tokens)
        same(evaluate(method=method, num_beams=beams, batch_size=size), whole)
    assert len({len(batches) for batches in cuts}) > 2


def test_likelihoods_do_not_change_answers_and_generate_gives_the_same(
    evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_likelihoods = evaluate()
    without = evaluate(likelihoods=False)
    assert all(not answer.log_likelihoods for own in without.values() for answer in own)
    monkeypatch.setattr(answering, "SHORT", 0)  # all by `generate`
    by_generate = evaluate()
    for task, answers in with_likelihoods.items():
        assert [answer.text for answer in answers] == [answer.text for answer in without[task]]
    same(with_likelihoods, by_generate)
