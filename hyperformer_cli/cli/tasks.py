"""`hyperformer tasks`: the declared tasks."""

from typing import Annotated, Any

import typer

from hyperformer_cli.cli.console import AsJson, print_json, reports_errors

app = typer.Typer(help="List and show tasks.", no_args_is_help=True)


@app.command("list")
@reports_errors
def list_tasks(as_json: AsJson = False) -> None:
    """Every declared task."""
    from hyperformer_cli.data.declared import declared_tasks

    tasks = list(declared_tasks().values())
    if as_json:
        print_json([_describe(task) for task in tasks])
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    cells = [
        [task.name, _source(task), ", ".join(task.metrics), task.split_rule, f"{task.sizes['train']:,}"]
        for task in tasks
    ]
    stdout_console().print(table("Tasks", ("task", "data set", "metrics", "splits", "train"), cells, left=4))


@app.command()
@reports_errors
def show(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name.")],
    source: Annotated[str | None, typer.Option("--data", help="hub, bundled or a folder: for a real example.")] = None,
    recipe: Annotated[str | None, typer.Option(help="The recipe that defines the task, if it is not declared.")] = None,
    as_json: AsJson = False,
) -> None:
    """One task: source, splits and sizes, an example as the model sees it, label texts, metrics."""
    declared, own_source = _find(task, recipe)
    found = _describe(declared)
    source = source or own_source
    if source or declared.is_bundled:
        found |= _counted(declared, source or "bundled")
    if as_json:
        print_json(found)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    console = stdout_console()
    columns = ("role", "paper", "reference", "taken from")
    cells = [(role, f"{s['paper']:,}", f"{s['reference']:,}", s["from"]) for role, s in found["splits"].items()]
    console.print(table(f"{declared.name}: {found['data_set']} ({declared.split_rule})", columns, cells))
    console.print(f"input    {found['example']['input']}", soft_wrap=True)
    console.print(f"target   {found['example']['target']}", soft_wrap=True)
    labels = [
        text if text == name else f"{text} ({name})"
        for text, name in zip(found["labels"], found["label_names"], strict=True)
    ]
    kind = "free text" if declared.is_free_text else "numbers to one decimal"
    console.print(f"labels   {', '.join(labels) or kind}", soft_wrap=True)
    console.print(f"metrics  {', '.join(found['metrics'])}", soft_wrap=True)
    if declared.similar_to:
        console.print(f"few-shot transfer starts from {declared.similar_to}", soft_wrap=True)


def _find(name: str, recipe: str | None) -> tuple[Any, str | None]:
    """A task, and where its rows are if the recipe that defines it says so."""
    from hyperformer_cli.config.loading import load_recipe
    from hyperformer_cli.data.declared import declared_tasks, get_task, recipe_tasks, target_tasks
    from hyperformer_cli.errors import InputError, did_you_mean

    if recipe is None:
        return get_task(name), None
    loaded = load_recipe(recipe)
    tasks = {task.name: task for task in (*recipe_tasks(loaded), *target_tasks(loaded))}
    if name not in tasks and name in declared_tasks():
        return get_task(name), None
    if name not in tasks:
        raise InputError(f"{recipe} has no task '{name}'; {did_you_mean(name, tasks)}")
    return tasks[name], None if loaded.data.source == "hub" and tasks[name].files is None else loaded.data.source


def _counted(task: Any, source: str) -> dict[str, Any]:
    """The sizes and the first row of the data at hand; splits that are not there are left out."""
    from hyperformer_cli.data.sources import load_rows
    from hyperformer_cli.data.splits import source_split_of
    from hyperformer_cli.data.tasks import SPLITS
    from hyperformer_cli.errors import InputError

    tables, fault = {}, None
    for split in dict.fromkeys(source_split_of(task, role) for role in SPLITS):
        try:
            tables[split] = load_rows(task, split, source).table
        except InputError as error:
            fault = error
    if not tables:
        raise fault
    row = next(iter(tables.values())).slice(0, 1).to_pylist()[0]
    return {
        "splits": _splits(task, {split: table.num_rows for split, table in tables.items()}),
        "example": {"input": task.input_text(row, False), "target": task.target_text(row)},
    }


def _splits(task: Any, sizes: dict[str, int]) -> dict[str, dict[str, Any]]:
    from hyperformer_cli.data.splits import source_split_of, split_rows
    from hyperformer_cli.data.tasks import SPLITS

    splits = {}
    for role in SPLITS:
        source = source_split_of(task, role)
        if source in sizes:
            counts = {p: split_rows(task, role, sizes, p).size(sizes[source]) for p in ("paper", "reference")}
            splits[role] = {**counts, "from": source}
    return splits


def _describe(task: Any) -> dict[str, Any]:
    target = task.target_template or ("a number to one decimal" if task.is_regression else " or ".join(task.labels))
    return {
        "task": task.name,
        "data_set": _source(task),
        "revision": task.revision,
        "split_rule": task.split_rule,
        "splits": _splits(task, dict(task.sizes)),
        "example": {"input": task.template, "target": target},
        "labels": list(task.labels),
        "label_names": list(task.label_names),
        "similar_to": task.similar_to,
        "metrics": list(task.metrics),
    }


def _source(task: Any) -> str:
    return " ".join(filter(None, (task.path, task.configuration))) or "files of its own"
