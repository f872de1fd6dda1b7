"""The model card of a hub folder: metadata for the hub in front, then what a reader must know to use it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hyperformer_cli.adapters.counting import count_model
from hyperformer_cli.bundled import BUNDLED, is_bundled_model
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.export.hub.without_paths import is_folder
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.tasks.metrics import METRICS
from hyperformer_cli.tasks.task import Task

_APACHE_OWNERS = ("google-t5/", "google/t5-", "google/flan-t5-", "google/mt5-", "google/byt5-")


def model_card(source: ExportSource, recipe: Recipe, results: Mapping[str, Any] | None) -> str:
    """The text of README.md, from the recipe without paths and, if the run was evaluated, what results.json holds."""
    local = is_folder(source.model.source.name)
    origin = replace(source.model.source, name=recipe.model.name)
    scored = results["results"] if results else []
    split = "test" if any(score["split"] == "test" for score in scored) else "validation"
    scores = [score for score in scored if score["split"] == split]
    task = source.first_task
    card = ModelCard.from_template(
        _metadata(source, recipe, None if local else origin.name, scores),
        template_path=str(Path(__file__).with_name("model_card.md.jinja")),
        name=recipe.name,
        config=recipe.adapter,
        tasks=list(source.tasks.values()),
        origin=origin,
        local=local,
        code=source.code,
        counts=count_model(source.model),
        scores=scores,
        split=split,
        protocol=results and results["protocol"],
        average=results and results["average"].get(split, {}).get("metrics"),
        example=json.dumps(source.example_input(task)),
        max_new_tokens=source.about(task)["max_new_tokens"],
        local_data=None if recipe.data.source in ("hub", BUNDLED) else recipe.data.source,
    )
    return f"{card}\n"


def _metadata(
    source: ExportSource, recipe: Recipe, backbone: str | None, scores: Sequence[Mapping[str, Any]]
) -> ModelCardData:
    """What the hub reads; `backbone` is a name that others can load, if there is one."""
    tasks = source.tasks.values()
    # What may be said of the weights' licence without asking anyone: it is that of an Apache-2.0 backbone.
    known = backbone is not None and (is_bundled_model(backbone) or backbone.startswith(_APACHE_OWNERS))
    return ModelCardData(
        base_model=None if is_bundled_model(backbone) else backbone,
        library_name="hyperformer",
        license="apache-2.0" if known else "other",
        license_name=None if known else "see-licence-below",
        tags=["hyperformer", source.family, "adapters", "hypernetworks", "multi-task", recipe.adapter.method],
        datasets=sorted(set(filter(None, map(_dataset, tasks)))) or None,
        metrics=sorted({METRICS[metric].hub_id for task in tasks for metric in task.metrics}),
        model_name=recipe.name,
        eval_results=[_eval_result(source.tasks[score["task"]], score) for score in scores] or None,
    )


def _eval_result(task: Task, score: Mapping[str, Any]) -> EvalResult:
    return EvalResult(
        task_type="text2text-generation" if task.is_free_text else "text-classification",
        task_name=task.name,
        dataset_type=_dataset(task) or task.name,
        dataset_name=task.name,
        dataset_config=task.configuration,
        dataset_split=score["split"],
        metric_type=METRICS[score["metric"]].hub_id,
        metric_name=f"{score['metric']} (%)",
        metric_value=score["value"],
    )


def _dataset(task: Task) -> str | None:
    """The task's data set, if it is one on the hub."""
    return task.path if not task.is_bundled and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", task.path or "") else None
