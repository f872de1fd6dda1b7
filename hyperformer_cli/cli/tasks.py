"""`hyperformer tasks`: the shipped tasks, and files of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperformer_cli.cli.console import AsJson, new_file, print_json, reports_errors, write_copy
from hyperformer_cli.cli.lines import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hyperformer_cli.schema.section import SplitName
    from hyperformer_cli.tasks.task import Task

app = typer.Typer(help="List, show and copy tasks.", no_args_is_help=True)


@app.command("list")
@reports_errors
def list_tasks(as_json: AsJson = False) -> None:
    """List every shipped task."""
    from hyperformer_cli.tasks.registry import all_tasks

    tasks = all_tasks()
    if as_json:
        print_json([_describe(task) for task in tasks])
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    cells = [
        (task.name, _source(task), ", ".join(task.metrics), task.split_rule, task.sizes["train"]) for task in tasks
    ]
    stdout_console().print(table("Tasks", ("task", "data set", "metrics", "splits", "train"), cells, left=4))


@app.command()
@reports_errors
def copy(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A shipped task's name.")],
    to: Annotated[Path | None, typer.Argument(metavar="FILE", help="The new file; NAME.yaml here by default.")] = None,
    name: Annotated[str | None, typer.Option(help="The new task's name; my_TASK by default.")] = None,
) -> None:
    """Copy a shipped task to a YAML file, to change it and list it in a recipe."""
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.tasks.registry import copy_of

    name = name or f"my_{task}"
    text = copy_of(task, name)
    target = new_file(to, f"{name}.yaml")
    if target.suffix not in (".yaml", ".yml"):
        raise InputError(f"{target}: recipes know a task's file by its ending, .yaml or .yml; name another file")
    write_copy(target, text)
    typer.echo(str(target))
    say(
        f"Change it, look at it with `hyperformer tasks show {target}`, and list it in a recipe by its path (from the "
        f"recipe's folder): `tasks: [{target.name}]`. Its rows are those of {task}; with data.source a folder, they "
        f"come from <folder>/{name}.",
        err=True,
    )


@app.command()
@reports_errors
def show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name, or a YAML file with a task.")],
    source: Annotated[str | None, typer.Option("--data", help="hub, bundled or a folder: for a real example.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="The recipe that defines the task, or whose model and limits count.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Whose tokenizer counts tokens; by default the recipe's, or of bundled data bundled."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Token ids of the examples too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one task: source, splits and sizes, label texts, metrics; and, of data at hand, a report on the rows.

    The report counts rows and labels, gives the lengths of the inputs beside the limit, finds duplicates and empty
    texts, shows three examples as the model sees them, and warns of what will hurt.
    """
    found, own_source = _find(task, recipe)
    shown = _describe(found)
    source = source or own_source
    if source or found.is_bundled:
        shown |= _counted(found, source or "bundled", recipe, model)
    if as_json:
        print_json(shown)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    console = stdout_console()
    columns = ("role", "paper", "reference", "taken from")
    cells = [(role, *(size[key] for key in ("paper", "reference", "from"))) for role, size in shown["splits"].items()]
    console.print(table(f"{found.name}: {shown['data_set']} ({found.split_rule})", columns, cells))
    say(f"input    {shown['example']['input']}", 9)
    say(f"target   {shown['example']['target']}", 9)
    named = zip(shown["labels"], shown["label_names"], strict=True)
    labels = [text if text == name else f"{text} ({name})" for text, name in named]
    kind = "free text" if found.is_free_text else "numbers to one decimal"
    say(f"labels   {', '.join(labels) or kind}", 9)
    say(f"metrics  {', '.join(shown['metrics'])}", 9)
    if found.similar_to:
        say(f"few-shot transfer starts from {found.similar_to}", 9)
    if "data" in shown:
        from hyperformer_cli.cli.data_report import print_reports

        print_reports({found.name: shown["data"]}, examples_of=[found.name], with_ids=verbose)


def _find(name: str, recipe: str | None) -> tuple["Task", str | None]:
    """A task, and where its rows are, where that is known without `--data`."""
    from hyperformer_cli.config.loading import load_recipe
    from hyperformer_cli.config.recipe_tasks import recipe_tasks, target_tasks
    from hyperformer_cli.errors import InputError, did_you_mean
    from hyperformer_cli.tasks.registry import get_task, task_names

    if recipe is None:
        task = get_task(name)
        return task, None if task.files is None else "hub"  # which tasks with files do not use
    loaded = load_recipe(recipe)
    tasks = {task.name: task for task in (*recipe_tasks(loaded), *target_tasks(loaded))}
    if name not in tasks and name in task_names():
        return get_task(name), None
    if name not in tasks:
        raise InputError(f"{recipe} has no task '{name}'; {did_you_mean(name, tasks)}")
    return tasks[name], None if loaded.data.source == "hub" and tasks[name].files is None else loaded.data.source


def _counted(task: "Task", source: str, recipe: str | None, model: str | None) -> dict[str, Any]:
    """The sizes and the first row of the data at hand, and a report on them, without missing splits."""
    from hyperformer_cli.data.sources import load_rows
    from hyperformer_cli.data.splits import source_split_of
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.schema.section import SPLITS

    tables, faults = {}, []
    for split in dict.fromkeys(source_split_of(task, role) for role in SPLITS):
        try:
            tables[split] = load_rows(task, split, source).table
        except InputError as error:
            faults.append(error)
    if not tables:
        raise faults[-1]
    row = next(iter(tables.values())).slice(0, 1).to_pylist()[0]
    return {
        "splits": _splits(task, {split: table.num_rows for split, table in tables.items()}),
        "example": {"input": str(task.model_input(row, False)), "target": task.target_text(row)},
        "data": _report(task, source, recipe, model, [r for r in SPLITS if source_split_of(task, r) in tables]),
    }


def _report(
    task: "Task", source: str, recipe: str | None, model: str | None, roles: "Sequence[SplitName]"
) -> dict[str, Any]:
    """The report on a task's rows by a recipe's settings, or by the default ones."""
    from hyperformer_cli.config.loading import build_recipe, load_recipe
    from hyperformer_cli.data.loading import tokenization_of
    from hyperformer_cli.data.report import report_on_rows
    from hyperformer_cli.errors import InputError

    named = model or ("bundled" if task.is_bundled else None)
    origins = {"model": "--model"}
    if recipe is not None:
        values, origins = load_recipe(recipe).given()
        if model is not None:
            values["model"], origins["model"] = {**values["model"], "name": model, "tokenizer": None}, "--model"
    else:
        values = {"name": task.name, "model": {"name": named or "none"}, "adapter": {"method": "hyperformer++"}}
        values |= {"tasks": [task.model_dump()]}
    values["data"] = {**values.get("data", {}), "source": source}
    settings = build_recipe(values, origins)
    try:
        text_to_ids = tokenization_of(settings) if named or recipe else None
    except InputError:
        if model is not None:
            raise
        text_to_ids = None  # the recipe's model is not on this machine
    prefix = settings.adapter.needs_task_prefix
    return report_on_rows(task, settings.data, settings.seed, prefix, text_to_ids, roles).as_dict()


def _splits(task: "Task", sizes: dict[str, int]) -> dict[str, dict[str, Any]]:
    from hyperformer_cli.data.splits import source_split_of, split_rows
    from hyperformer_cli.schema.section import SPLITS

    splits: dict[str, dict[str, Any]] = {}
    for role in SPLITS:
        source = source_split_of(task, role)
        if source in sizes:
            counts = {p: len(split_rows(task, role, sizes[source], p)) for p in ("paper", "reference")}
            splits[role] = {**counts, "from": source}
    return splits


def _describe(task: "Task") -> dict[str, Any]:
    target = task.target or ("a number to one decimal" if task.is_regression else " or ".join(task.label_texts))
    return {
        "task": task.name,
        "data_set": _source(task),
        "revision": task.revision,
        "split_rule": task.split_rule,
        "splits": _splits(task, task.sizes),
        "example": {"input": task.template, "target": target},
        "labels": list(task.label_texts),
        "label_names": task.label_names,
        "similar_to": task.similar_to,
        "metrics": task.metrics,
    }


def _source(task: "Task") -> str:
    parts = (task.path, None if task.is_bundled else task.configuration)
    return " ".join(filter(None, parts)) or "files of its own"
