"""Evaluation of all tasks on a split: predictions, metrics, both averages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.config.recipe import EvaluationSection
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.decoding import generate_predictions
from hyperformer_cli.runs.results import mean_of_metrics_and_tasks
from hyperformer_cli.tasks.task import Task


@dataclass(frozen=True)
class Score:
    """One metric of one task on one split, in per cent; `majority` is what the most frequent answer alone scores."""

    task: str
    split: str
    metric: str
    value: float
    majority: float
    examples: int

    def as_dict(self) -> dict[str, str | float | int]:
        rounded = {"value": round(self.value, 4), "majority": round(self.majority, 4)}
        return {**asdict(self), **rounded}


def evaluate_split(
    model: AdaptedModel,
    tasks: Sequence[Task],
    splits: Mapping[str, TokenizedSplit],
    split_name: str,
    tokenizer: PreTrainedTokenizerBase,
    accelerator: Accelerator,
    settings: EvaluationSection,
    after_batch: Callable[[str, int], None] = lambda task, examples: None,
    after_task: Callable[[], None] = lambda: None,
) -> list[Score]:
    """Scores every task on its split, the adapters of all tasks generated once.

    Args:
        model: unwrapped; left in the mode it came in.
        tasks: the declarations.
        splits: each task's examples, by name.
        split_name: what the scores call the split.
        tokenizer: the model's.
        accelerator: gives device, precision and processes.
        settings: batch size, beams, and how many examples at most.
        after_batch: called with task and examples done.
        after_task: called by all processes at the same point.

    Returns:
        One score a task and metric, on every process.
    """
    from hyperformer_cli.data import metrics  # imports `evaluate`, which takes seconds

    lengths = longest_target(tasks, tokenizer)
    was_training = model.training
    model.eval()
    scores: list[Score] = []
    with model.frozen_adapters():
        for task in tasks:
            split = limited(splits[task.name], settings.max_examples)
            predictions = generate_predictions(
                model,
                task.name,
                split,
                tokenizer,
                accelerator,
                batch_size=settings.batch_size,
                num_beams=settings.num_beams or task.num_beams,
                max_new_tokens=lengths[task.name],
                after_batch=lambda examples, name=task.name: after_batch(name, examples),
            )
            references = split.targets()
            majority = metrics.majority_score(task, references)
            scores += [
                Score(task.name, split_name, metric, value, majority[metric], len(split))
                for metric, value in metrics.score(task, predictions, references).items()
            ]
            after_task()
    model.train(was_training)
    return scores


def limited(split: TokenizedSplit, max_examples: int | None) -> TokenizedSplit:
    """The first `max_examples` of a split; all of them for None."""
    return split if max_examples is None else split.select(range(min(max_examples, len(split))))


def averages(scores: Sequence[Score]) -> dict[str, float]:
    """Both averages of a split's scores; see `mean_of_metrics_and_tasks`."""
    return mean_of_metrics_and_tasks([(score.task, score.metric, score.value) for score in scores])
