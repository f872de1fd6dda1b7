"""Is the task vector used? A trained run with its task vectors exchanged among the tasks, or replaced by random ones.

Nothing is trained. A method that uses the vectors falls far when they are exchanged; one that does not scores the same.
Text-to-LoRA runs the same control on descriptions of tasks (https://arxiv.org/abs/2506.06105, Section 5).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from hyperformer_cli.adapters.hypernetworks import HypernetworkBank
from hyperformer_cli.data.loading import load_splits
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.scoring import Evaluator, Score, all_scores
from hyperformer_cli.errors import InputError
from hyperformer_cli.observer import SILENT, Observer
from hyperformer_cli.reporting.collect import Metric, Run
from hyperformer_cli.reporting.groups import Group, distinct_names
from hyperformer_cli.reporting.table import Column, Row, Table, over_seeds
from hyperformer_cli.runs.opened import OpenedRun
from hyperformer_cli.schema.section import SplitName

DRAWS = 3  # of exchanges, and of random vectors, per run
TRAINED, EXCHANGED, RANDOM, MAJORITY = "trained", "exchanged", "random", "most frequent answer"

Scores = dict[Metric, float]


@dataclass(frozen=True)
class RunControls:
    """The scores of one run by kind of task vectors, in per cent; those of the controls are means over the draws."""

    scores: dict[str, Scores]

    def average(self, kind: str, name: str) -> float:
        """The mean of `metrics` or of `tasks`."""
        return mean_of_metrics_and_tasks([(*metric, value) for metric, value in self.scores[kind].items()])[name]


def why_not(run: Run) -> str | None:
    """Why a run has no task vectors to exchange; None if it has."""
    if not run.recipe.adapter.has_hypernetwork:
        return f"method '{run.recipe.adapter.method}' has no task vectors"
    if not run.recipe.joint or len(run.recipe.task_names) < 2:
        return "every task has a model of its own, so that there is no other vector to give it"
    return None


def controls_table(groups: Sequence[Group], split: SplitName, observer: Observer = SILENT) -> Table:
    """Evaluates every run of these groups as it is, with exchanged and with random task vectors.

    Args:
        groups: runs for which `why_not` is None.
        split: that is evaluated.
        observer: is told of the evaluation.

    Raises:
        InputError: a run's weights are missing or damaged, the data are missing, or the groups have other tasks.
    """
    measured = [[run_controls(run, split, observer) for run in group.runs] for group in groups]
    metrics = list(measured[0][0].scores[TRAINED])
    if any(list(one.scores[TRAINED]) != metrics for own in measured for one in own):
        raise InputError("--controls: runs of other tasks or metrics need a report of their own")
    rows = []
    for group, name, own in zip(groups, distinct_names(groups), measured, strict=True):
        for kind in (TRAINED, EXCHANGED, RANDOM, MAJORITY):
            cells = [over_seeds([one.scores[kind][metric] for one in own]) for metric in metrics]
            cells += [over_seeds([one.average(kind, average) for one in own]) for average in ("metrics", "tasks")]
            drops = [one.average(TRAINED, "metrics") - one.average(kind, "metrics") for one in own]
            rows.append(Row((name, kind), (*cells, None if kind == TRAINED else over_seeds(drops)), group.folders))
    averages = (
        ("average", "mean of metrics"),
        ("average", "mean of tasks"),
        ("average", "drop of the mean of metrics"),
    )
    return Table(
        kind="controls",
        title=f"Are the task vectors used? Scores, {split}, per cent",
        row_heads=("method", "task vectors"),
        column_heads=("task", "metric"),
        columns=tuple(map(Column, (*metrics, *averages))),
        rows=tuple(rows),
        notes=(
            f"exchanged: every task has another's vector; random: normal vectors as long as the tasks' own; means of "
            f"{DRAWS} draws per run.",
        ),
        transpose_text=True,
    )


def run_controls(run: Run, split: SplitName, observer: Observer = SILENT) -> RunControls:
    """The scores of one run; the same draws for the same seed and tasks."""
    opened = OpenedRun(run.folder)
    tasks, recipe = list(opened.tasks.values()), opened.recipe
    accelerator = make_accelerator(recipe.training)
    model = opened.model.to(accelerator.device)
    if not isinstance(model.bank, HypernetworkBank):
        raise InputError(f"{run.folder}: its adapters were generated before; give the run that they came from")
    data = load_splits(recipe, tasks, split, opened.tokenization)
    evaluator = Evaluator(model, opened.tokenization, accelerator, recipe.evaluation, observer)

    def evaluate() -> list[Score]:
        return all_scores(evaluator.evaluate(tasks, split, data))

    def of_draws(draw: Callable[[np.random.Generator], Tensor]) -> Scores:
        found = []
        for number in range(DRAWS):
            with _vectors(bank, draw(np.random.default_rng([recipe.seed, number]))):
                found.append(_values(evaluate()))
        return {metric: fmean(own[metric] for own in found) for metric in found[0]}

    bank, vectors = model.bank, model.bank.task_embedding.detach()
    trained = evaluate()
    return RunControls(
        {
            TRAINED: _values(trained),
            EXCHANGED: of_draws(lambda generator: vectors[derangement(len(vectors), generator)]),
            RANDOM: of_draws(lambda generator: random_vectors(vectors, generator)),
            MAJORITY: {(score.task, score.metric): score.majority for score in trained},
        }
    )


def derangement(n: int, generator: np.random.Generator) -> list[int]:
    """A permutation of `range(n)` without a fixed point, all equally likely; n is at least 2."""
    while True:
        order = generator.permutation(n)
        if (order != np.arange(n)).all():
            return order.tolist()


def random_vectors(vectors: Tensor, generator: np.random.Generator) -> Tensor:
    """Random directions, (tasks, size), each as long as the task's own vector."""
    drawn = torch.from_numpy(generator.standard_normal(tuple(vectors.shape))).to(vectors)
    return drawn * (vectors.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True))


@contextmanager
def _vectors(bank: HypernetworkBank, vectors: Tensor) -> Iterator[None]:
    """Within the block the tasks have these vectors."""
    own = bank.task_embedding.detach().clone()
    with torch.no_grad():
        bank.task_embedding.copy_(vectors)
    try:
        yield
    finally:
        with torch.no_grad():
            bank.task_embedding.copy_(own)


def _values(scores: Sequence[Score]) -> Scores:
    return {(score.task, score.metric): score.value for score in scores}
