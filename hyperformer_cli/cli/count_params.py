"""`hyperformer count-params`."""

from typing import Annotated, Any

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, print_json, reports_errors


@reports_errors
def count_params(
    recipes: Annotated[list[str] | None, typer.Argument(metavar="RECIPE", help="The paper's rows by default.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Count parameters as the paper's tables do, beside the printed figures; needs no weights and no network.

    total: backbone and adapters relative to the backbone. per task: trained parameters, divided by the tasks that
    share them, in per cent of the backbone.
    """
    from hyperformer_cli.config.loading import load_recipe, shipped_recipes

    loaded = [load_recipe(name, overrides or ()) for name in recipes or shipped_recipes()]
    if not recipes:
        loaded = [recipe for recipe in loaded if recipe.paper and recipe.paper.parameters]
    rows = [_count(recipe) for recipe in loaded]
    if as_json:
        print_json(rows)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    columns = ("recipe", "total", "printed", "per task", "printed", "trained")
    cells = [
        (
            row["recipe"],
            row["total"],
            row["printed_total"] or "",
            f"{row['per_task_percent']:.2f} %",
            "" if row["printed_per_task_percent"] is None else f"{row['printed_per_task_percent']:g} %",
            f"{row['trained']:,}",
        )
        for row in rows
    ]
    stdout_console().print(table("Parameters relative to the backbone", columns, cells))


def _count(recipe: Any) -> dict[str, Any]:
    from hyperformer_cli.adapters.counting import count_adapted
    from hyperformer_cli.backbones.configuration import backbone_config
    from hyperformer_cli.config.adapter import AdapterConfig

    # Tasks trained each alone have a model each: the columns are of one, the total of all beside one backbone.
    tasks = recipe.task_names if recipe.joint else recipe.task_names[:1]
    shape = backbone_config(recipe.model.name, recipe.model.config, recipe.model.revision)
    counts = count_adapted(shape, AdapterConfig(**{**recipe.adapter.model_dump(), "tasks": tasks}))
    return {
        "recipe": recipe.name,
        "row": recipe.paper and recipe.paper.row,
        "total": _total(counts, 1 if recipe.joint else len(recipe.task_names)),
        "printed_total": recipe.paper and recipe.paper.parameters and recipe.paper.parameters.total,
        "per_task_percent": round(100 * counts.trained_per_task, 2),
        "printed_per_task_percent": recipe.paper and recipe.paper.parameters and recipe.paper.parameters.per_task,
        "backbone": counts.backbone,
        "all": counts.total,
        "trained": counts.trained,
        "tasks": counts.tasks,
    }


def _total(counts: Any, models: int) -> str:
    """As the paper prints it: 1.04x, 8.0x, or 1+8x0.01 for several small models beside one backbone."""
    if models == 1:
        return f"{counts.total_ratio:.{1 if counts.total_ratio == 1 else 2}f}x"
    if counts.trained == counts.backbone:
        return f"{models:.1f}x"
    return f"1+{models}x{counts.trained / counts.backbone:.2f}"
