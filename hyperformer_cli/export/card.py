"""The model card of a hub folder: metadata for the hub in front, then what a reader must know to use it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hyperformer_cli.adapters.counting import count_model
from hyperformer_cli.backbones.source import BackboneSource
from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.tasks.metrics import METRICS
from hyperformer_cli.tasks.task import Task

_APACHE_OWNERS = ("google-t5/", "google/t5-", "google/flan-t5-", "google/mt5-", "google/byt5-")
_METHODS = {
    "finetune": "All of T5 fine-tuned",
    "adapters": "Adapters, one a task and site",
    "hyperformer": "HyperFormer: adapters written by a hypernetwork a site",
    "hyperformer-shared-layers": "HyperFormer with hypernetworks shared by the layers",
    "hyperformer++": "HyperFormer++: adapters written by one hypernetwork a stack",
}

_TEXT = """\
---
{metadata}
---

# {name}

{method}, on {tasks} tasks at once: {task_names}. {backbone}

{total:,} parameters, of which {trained:,} were trained and are in this folder: {per_task:.2f} % of the backbone a task.

## Results

{results}

## Use

With the package hyperformer:

```python
{code}
```

Inputs and answers, as in training:

{inputs}

`recipe.yaml` says how it was trained{data}. `hyperformer eval .{data_option}` evaluates it again.

## Licence

The code is Apache-2.0. {licence} The data sets have licences of their own, some of which restrict what may be done
with a model trained on them; see their pages.

## Citation

```bibtex
@inproceedings{{karimi-mahabadi-etal-2021-parameter,
    title = "Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks",
    author = "Karimi Mahabadi, Rabeeh and Ruder, Sebastian and Dehghani, Mostafa and Henderson, James",
    booktitle = "Proceedings of the 59th Annual Meeting of the Association for Computational Linguistics and the 11th
      International Joint Conference on Natural Language Processing (Volume 1: Long Papers)",
    year = "2021",
    publisher = "Association for Computational Linguistics",
    url = "https://aclanthology.org/2021.acl-long.47",
}}
```
"""


def model_card(
    source: ExportSource, recipe: Recipe, origin: BackboneSource, local: bool, results: Mapping[str, Any] | None
) -> str:
    """The text of README.md.

    Args:
        source: the run.
        recipe: as it is published, without paths.
        origin: the backbone as it is published.
        local: whether that backbone is a folder which readers do not have.
        results: the content of results.json, if the run was evaluated.
    """
    tasks = [source.declared[name] for name in source.tasks]
    scores = _final_scores(results)
    counts = count_model(source.model)
    is_local_data = recipe.data.source not in ("hub", BUNDLED)
    return _TEXT.format(
        metadata=_metadata(recipe, tasks, origin, local, scores),
        name=recipe.name,
        method=_METHODS[recipe.adapter.method],
        tasks=len(tasks),
        task_names=", ".join(source.tasks),
        backbone=_backbone(origin, local),
        total=counts.total,
        trained=counts.trained,
        per_task=100 * counts.trained_per_task,
        results=_results(scores, results),
        code=_code(source, tasks[0], local, origin),
        inputs=_inputs(tasks, source),
        data=f" (the data were a local copy, `{recipe.data.source}`)" if is_local_data else "",
        data_option=(" --set data.source=FOLDER" if is_local_data else "")
        + (f" --backbone path/to/{origin.name}" if local else ""),
        licence=_licence(origin, local),
    )


def _final_scores(results: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The scores of the test split, or of the validation split where that was not evaluated."""
    scores = results["results"] if results else []
    return [s for s in scores if s["split"] == "test"] or [s for s in scores if s["split"] == "validation"]


def _metadata(
    recipe: Recipe, tasks: Sequence[Task], origin: BackboneSource, local: bool, scores: Sequence[Mapping[str, Any]]
) -> str:
    published = not local and origin.name not in (None, BUNDLED)
    by_name = {task.name: task for task in tasks}
    known = _licence_id(origin, local)
    return ModelCardData(
        base_model=origin.name if published else None,
        library_name="hyperformer",
        license=known or "other",
        license_name=None if known else "see-licence-below",
        tags=["hyperformer", "t5", "adapters", "hypernetworks", "multi-task", recipe.adapter.method],
        datasets=sorted({task.path for task in tasks if _is_published(task)}) or None,
        metrics=sorted({METRICS[metric].hub_id for task in tasks for metric in task.metrics}),
        model_name=recipe.name,
        eval_results=[_eval_result(by_name[score["task"]], score) for score in scores] or None,
    ).to_yaml()


def _eval_result(task: Task, score: Mapping[str, Any]) -> EvalResult:
    return EvalResult(
        task_type="text2text-generation" if task.is_free_text else "text-classification",
        task_name=task.name,
        dataset_type=task.path if _is_published(task) else task.name,
        dataset_name=task.name,
        dataset_config=task.configuration if _is_published(task) else None,
        dataset_split=score["split"],
        metric_type=METRICS[score["metric"]].hub_id,
        metric_name=f"{score['metric']} (%)",
        metric_value=score["value"],
    )


def _is_published(task: Task) -> bool:
    """Whether the task's data set is one on the hub."""
    return not task.is_bundled and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", task.path or "") is not None


def _results(scores: Sequence[Mapping[str, Any]], results: Mapping[str, Any] | None) -> str:
    if not scores:
        return "Not evaluated yet: `hyperformer eval` does it."
    split = scores[0]["split"]
    rows = [
        f"| {s['task']} | {s['metric']} | {s['value']:.2f} | {s['majority']:.2f} | {s['examples']} |" for s in scores
    ]
    average = results["average"].get(split, {}).get("metrics")
    rows += [] if average is None else [f"| average | | {average:.2f} | | |"]
    head = [
        f"In per cent on the {split} splits as the `{results['protocol']}` protocol cuts them; majority is what always",
        "answering the most frequent label scores.",
        "",
        "| task | metric | % | majority | examples |",
        "|---|---|---|---|---|",
    ]
    return "\n".join(head + rows)


def _backbone(origin: BackboneSource, local: bool) -> str:
    if origin.init == "random":
        return f"The backbone's weights were drawn at random (seed {origin.seed})."
    if origin.name == BUNDLED:
        return "The backbone is the nano T5 that comes with hyperformer."
    if local:
        return f"The backbone was a local model, `{origin.name}`, which is not part of this folder."
    return f"The backbone is `{origin.name}`" + (f" at commit `{origin.revision}`." if origin.is_pinned else ".")


def _code(source: ExportSource, task: Task, local: bool, origin: BackboneSource) -> str:
    text = re.sub(r"\{.*?\}", "A cat sat on the mat.", task.template)
    if source.recipe.adapter.needs_task_prefix:
        text = f"{task.prefix or task.name} {text}"
    backbone, argument, names = "", "", "AutoTokenizer"
    if local:
        backbone = f'backbone = AutoModelForSeq2SeqLM.from_pretrained("path/to/{origin.name}")\n'
        argument, names = ", backbone", "AutoModelForSeq2SeqLM, AutoTokenizer"
    length = longest_target([task], source.tokenizer)[task.name]
    return f"""\
from transformers import {names}
from hyperformer_cli import AdaptedModel

folder = "."  # this folder, or huggingface_hub.snapshot_download("owner/name")
{backbone}model = AdaptedModel.from_pretrained(folder{argument}).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
inputs = tokenizer({json.dumps(text)}, return_tensors="pt")
ids = model.generate(**inputs, task="{task.name}", max_new_tokens={length}, do_sample=False)
print(tokenizer.decode(ids[0], skip_special_tokens=True))"""


def _inputs(tasks: Sequence[Task], source: ExportSource) -> str:
    prefixed = source.recipe.adapter.needs_task_prefix
    rows = ["| task | input | answers |", "|---|---|---|"]
    for task in tasks:
        labels = zip(task.label_texts, task.label_names, strict=True)
        answers = ", ".join(label if label == name else f"{label} ({name})" for label, name in labels)
        prefix = f"{task.prefix or task.name} " if prefixed else ""
        answers = answers or ("text" if task.is_free_text else "a number")
        rows.append(f"| {task.name} | `{prefix}{task.template}` | {answers} |")
    return "\n".join(rows)


def _licence_id(origin: BackboneSource, local: bool) -> str | None:
    """What the weights' licence may be called without asking anyone: that of an Apache-2.0 backbone."""
    if local or origin.name is None:
        return None
    return "apache-2.0" if origin.name == BUNDLED or origin.name.startswith(_APACHE_OWNERS) else None


def _licence(origin: BackboneSource, local: bool) -> str:
    if _licence_id(origin, local):
        return "So is the backbone; these weights are given under the same licence unless their author says otherwise."
    return "The backbone's licence, which these weights come under too, is that of its authors."
