"""The bundled miniature's tasks beside what should not solve them, on their test splits.

    python benchmarks/miniature_yardstick.py [RUN...]

Prints for every task the majority's score, that of a regression on word counts (one count per field and word, trained
on the training split), that of a frozen nano model without adapters, and those of trained runs, such as the
quickstart's and that of the same on a backbone without pretraining:

    hyperformer train quickstart
    hyperformer train quickstart model.init=random name=quickstart_random
    python benchmarks/miniature_yardstick.py outputs/quickstart outputs/quickstart_random

The same with `quickstart_lm` and `--recipe quickstart_lm`, for the nano language model.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.config.loading import load_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.loading import load_tokenizer, tokenization
from hyperformer_cli.data.metrics import majority_score, score
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.tasks.registry import all_tasks
from hyperformer_cli.tasks.task import Task

MINIATURE = {task.name: task for task in all_tasks() if task.is_bundled}
Figures = dict[tuple[str, str], float]  # by task and metric, in per cent


def main() -> None:
    parser = argparse.ArgumentParser(description="The miniature's tasks beside what should not solve them.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders on the miniature")
    parser.add_argument("--recipe", default="quickstart", help="whose backbone is asked without adapters")
    options = parser.parse_args()
    runs = options.runs
    columns = {"majority": majority(), "words": bag_of_words(), "frozen": frozen_backbone(load_recipe(options.recipe))}
    columns |= {run.name: of_run(run) for run in runs}
    table = Table("task", "metric", *columns, title="Miniature, test splits, per cent")
    for key in columns["majority"]:
        figures = (column.get(key) for column in columns.values())
        table.add_row(*key, *("-" if figure is None else f"{figure:.1f}" for figure in figures))
    Console().print(table)


def majority() -> Figures:
    """What always answering the most frequent label scores."""
    return _by_metric({name: majority_score(task, _targets(task)) for name, task in MINIATURE.items()})


def bag_of_words() -> Figures:
    """A logistic regression on word counts; for numbers, a ridge regression."""
    return _by_metric({name: _regression(task) for name, task in MINIATURE.items()})


def frozen_backbone(recipe: Recipe) -> Figures:
    """A recipe's backbone as it is, asked to answer without adapters or training."""
    backbone, tokenizer = load_backbone(BackboneSource.from_recipe(recipe)).eval(), load_tokenizer(recipe)
    layout = family_of(backbone.config).layout
    encoding, found = tokenization(recipe, tokenizer, layout).encoding, {}
    for name, task in MINIATURE.items():
        texts = [task.input_text(row, with_prefix=False) for row in _rows(task, "test")]
        batch = layout.generation_batch(encoding.inputs(texts, recipe.data.max_source_length), encoding.pad_id)
        with torch.no_grad():
            answers = layout.generated(backbone.generate(**batch, max_new_tokens=4), batch)
        found[name] = score(task, tokenizer.batch_decode(answers, skip_special_tokens=True), _targets(task))
    return _by_metric(found)


def of_run(folder: Path) -> Figures:
    """A run's figures on the test split."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"]
    return {(each["task"], each["metric"]): each["value"] for each in results if each["split"] == "test"}


def _regression(task: Task) -> dict[str, float]:
    fields = [column for column in task.columns if column != task.label_column]
    known, asked = _rows(task, "train"), _rows(task, "test")
    seen, unseen = [], []
    for field in fields:
        counter = CountVectorizer(token_pattern=r"\b\w+\b")
        seen.append(counter.fit_transform([row[field] for row in known]))
        unseen.append(counter.transform([row[field] for row in asked]))
    model = Ridge() if task.is_regression else LogisticRegression(max_iter=1000)
    model.fit(hstack(seen), [row[task.label_column] for row in known])
    return score(task, [str(value) for value in model.predict(hstack(unseen))], _targets(task))


def _rows(task: Task, split: str) -> list[dict[str, Any]]:
    return load_rows(task, split, "bundled").table.to_pylist()


def _targets(task: Task) -> list[str]:
    return [task.target_text(row) for row in _rows(task, "test")]


def _by_metric(scores: dict[str, dict[str, float]]) -> Figures:
    return {(task, metric): value for task, found in scores.items() for metric, value in found.items()}


if __name__ == "__main__":
    main()
