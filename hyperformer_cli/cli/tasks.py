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
    as_json: AsJson = False,
) -> None:
    """One task: source, splits and sizes, an example as the model sees it, label texts, metrics."""
    from hyperformer_cli.data.declared import get_task

    declared = get_task(task)
    found = _describe(declared)
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
    console.print(f"labels   {', '.join(found['labels']) or 'numbers to one decimal'}", soft_wrap=True)
    console.print(f"metrics  {', '.join(found['metrics'])}", soft_wrap=True)


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
    from hyperformer_cli.data.splits import cut, source_split_of
    from hyperformer_cli.data.tasks import SPLITS

    splits = {}
    for role in SPLITS:
        source = source_split_of(task, role)
        if source in sizes:
            counts = {p: cut(task, role, sizes, p).size(sizes[source]) for p in ("paper", "reference")}
            splits[role] = {**counts, "from": source}
    return splits


def _describe(task: Any) -> dict[str, Any]:
    target = "0.0 to 5.0" if task.is_regression else " or ".join(task.labels)
    return {
        "task": task.name,
        "data_set": _source(task),
        "revision": task.revision,
        "split_rule": task.split_rule,
        "splits": _splits(task, dict(task.sizes)),
        "example": {"input": task.template, "target": target},
        "labels": list(task.labels),
        "metrics": list(task.metrics),
    }


def _source(task: Any) -> str:
    return " ".join(filter(None, (task.path, task.configuration)))
