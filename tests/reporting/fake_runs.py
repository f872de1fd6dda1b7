"""Run folders without training: the files a report reads, in the shapes the other commands write."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperformer_cli.config.loading import dump_recipe, load_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.recipe_tasks import recipe_tasks
from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.runs.results import build_results
from hyperformer_cli.storage.atomic import write_text

METRICS = {
    "cola": ["matthews_correlation"], "mrpc": ["accuracy", "f1"], "qqp": ["accuracy", "f1"],
    "stsb": ["pearson", "spearmanr"],
}  # fmt: skip


def write_run(folder: Path, recipe: str, *overrides: str, values: Mapping[tuple[str, str], float] | float = 50) -> Path:
    """A finished run of a recipe; `values` are the test scores by task and metric, or one for all."""
    loaded = load_recipe(recipe, [*overrides, f"output_dir={folder}"])
    write_text(folder / "recipe.yaml", dump_recipe(loaded))
    write_text(folder / "results.json", json.dumps(results(loaded, values)))
    lines = [
        {"kind": "training", "step": step, "loss": 1.0, "loss_by_task": {t: 2 / step**0.2 for t in loaded.task_names}}
        for step in (100, 200, 300)
    ]
    validation = [own for own in results(loaded, values)["results"] if own["split"] == "validation"]
    lines += [{"kind": "evaluation", "step": step, "results": validation} for step in (100, 300)]
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return folder


def results(recipe: Recipe, values: Mapping[tuple[str, str], float] | float) -> dict[str, Any]:
    """What results.json holds; validation scores ten less than test."""
    scores = []
    for split, less in (("validation", 10), ("test", 0)):
        for task in recipe.task_names:
            for metric in METRICS.get(task.removeprefix("mini_"), ["accuracy"]):
                value = values[task, metric] if isinstance(values, Mapping) else values
                about = {"task": task, "split": split, "metric": metric}
                scores.append({**about, "value": value - less, "majority": 50.0, "examples": 100})
    average = {
        split: mean_of_metrics_and_tasks([(s["task"], s["metric"], s["value"]) for s in scores if s["split"] == split])
        for split in ("validation", "test")
    }
    parameters = {
        "backbone": 1000000,
        "total": 1020000,
        "trained": 23000,
        "total_ratio": 1.02,
        "trained_per_task_percent": 0.2875,
    }
    best = {"step": 3, "average": 1.0}
    return build_results(recipe, parameters, {"training": 1.0}, scores, average, best, 3, details_of(recipe))


def details_of(recipe: Recipe) -> list[dict[str, Any]]:
    """Details of every task with labels on test: of each label 30 rows, 10 of which were given the next one."""
    found = []
    for task in recipe_tasks(recipe):
        if not task.labels:
            continue
        count = len(task.label_names)
        confusion = [[20 * (j == i) + 10 * (j == (i + 1) % count) for j in range(count)] + [0] for i in range(count)]
        figures = {"precision": 66.6667, "recall": 66.6667, "f1": 66.6667, "examples": 30, "predicted": 30}
        labels = [{"label": name, **figures} for name in task.label_names]
        about = {"task": task.name, "split": "test", "outside": 0, "outside_answers": {}}
        found.append({**about, "labels": labels, "confusion": confusion})
    return found


def write_fewshot(
    folder: Path,
    values: Mapping[tuple[str, int], Sequence[float]],
    embedding: Sequence[float] | None = None,
    **about: Any,
) -> Path:
    """fewshot.json and its cells; `values` are accuracies by target and number of examples, one a seed."""
    header = {"format_version": 1, "name": "glue_hyperpp", "method": "hyperformer++", "train": "all"}
    header |= {"init_from": "paper", "split": "test", "settings": {}, **about}
    entries = []
    for (task, shots), own in values.items():
        seeds = list(range(1, len(own) + 1))
        about_task = {"task": task, "shots": shots, "metric": "accuracy", "mean": 0.0, "std": None, "n": len(own)}
        entries.append({**about_task, "majority": 55.8, "init_from": "qqp", "seeds": seeds, "values": list(own)})
        for seed in seeds:
            vector = None if embedding is None else [shots * seed * value for value in embedding]
            cell = {"format_version": 1, "task": task, "shots": shots, "seed": seed, "task_embedding": vector}
            cell |= {"settings": {}, "results": [{"metric": "accuracy", "value": own[seed - 1]}]}
            write_text(folder / f"fewshot/{task}/{shots}-shot/seed-{seed}.json", json.dumps(cell))
    write_text(folder / "fewshot.json", json.dumps({**header, "results": entries}))
    return folder
