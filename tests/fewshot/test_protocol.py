"""The few-shot protocol: which trials, which rows each draws, which task each starts from."""

import pytest
import torch

from hyperformer_cli.config.fewshot import FewshotSection
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.config.sections import DataSection
from hyperformer_cli.errors import InputError
from hyperformer_cli.fewshot.protocol import draw, settings_of, starting_task, training_rows, trials_of
from hyperformer_cli.runs.fewshot_files import FewShotTrial
from hyperformer_cli.tasks.registry import get_task


def test_sizes_above_what_there_is_become_all_of_it_as_in_the_paper_for_cb() -> None:
    settings = FewshotSection()
    sizes = [trial.shots for trial in trials_of(get_task("cb"), settings, 250, strict=False)]
    assert sizes == [size for size in (4, 16, 32, 100, 250) for _ in range(5)]
    assert [trial.seed for trial in trials_of(get_task("cb"), settings, 250, strict=False)][:5] == [1, 2, 3, 4, 5]
    assert {trial.shots for trial in trials_of(get_task("paws"), settings, 49401, strict=False)} == set(settings.sizes)
    with pytest.raises(InputError, match="'cb' has 250 training examples, fewer than 2000"):
        trials_of(get_task("cb"), settings, 250, strict=True)


def test_examples_are_drawn_by_seed_and_nested() -> None:
    few, many, other = (
        draw(range(100), FewShotTrial("paws", shots, seed)) for shots, seed in ((4, 1), (16, 1), (16, 2))
    )
    assert few == many[:4] and len(set(many)) == 16 and many != other
    generator = torch.Generator().manual_seed(1)
    assert many == torch.randperm(100, generator=generator)[:16].tolist()


def test_a_carved_tasks_validation_rows_are_not_drawn() -> None:
    available = training_rows(get_task("yelp_polarity"), DataSection(), 5000)
    assert len(available) == 4000
    held_out = torch.randperm(5000, generator=torch.Generator().manual_seed(42))[:1000].tolist()
    assert not set(available) & set(held_out)


@pytest.mark.parametrize(
    ("task", "start"),
    [("scitail", "mnli"), ("cb", "mnli"), ("trec", "mnli"), ("boolq", "qnli"), ("imdb", "sst2"),
     ("yelp_polarity", "sst2"), ("paws", "qqp")],
)  # fmt: skip
def test_the_papers_starts(task: str, start: str) -> None:
    glue = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    assert starting_task(get_task(task), "paper", glue) == start
    assert starting_task(get_task(task), "cola", glue) == "cola"
    assert starting_task(get_task(task), "random", glue) is None
    with pytest.raises(InputError, match=f"starts from '{start}', which the run was not trained on"):
        starting_task(get_task(task), "paper", ["rte"])
    with pytest.raises(InputError, match="did you mean 'mnli'"):
        starting_task(get_task(task), "mnly", glue)


def test_a_transfers_settings_name_the_rates_that_are_not_the_usual_ones() -> None:
    recipe = load_recipe("mini/fewshot")
    usual = settings_of(recipe)
    assert (usual["head_learning_rate_scale"], usual["beta2"]) == (None, None)  # as trials of earlier releases
    changed = settings_of(load_recipe("mini/fewshot", ["training.head_learning_rate_scale=0.5", "training.beta2=0.98"]))
    assert (changed["head_learning_rate_scale"], changed["beta2"]) == (0.5, 0.98)
