"""`hyperformer count-params`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, print_json, reports_errors

if TYPE_CHECKING:
    from hyperformer_cli.adapters.parameter_counts import ParameterCounts
    from hyperformer_cli.config.recipe import Recipe


@reports_errors
def count_params(
    recipes: Annotated[list[str] | None, typer.Argument(metavar="RECIPE", help="The paper's rows by default.")] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Count parameters as the paper's tables do, beside the printed figures; needs no weights and no network.

    total: backbone and adapters relative to the backbone. per task: trained parameters, divided by the number of tasks
    that share them, in per cent of the backbone. all-reduced: the bytes of gradients that data-parallel processes
    exchange in every optimizer step (float32, whatever their number).
    """
    from hyperformer_cli.config.loading import load_recipe, shipped_recipes

    loaded = [load_recipe(name, overrides or ()) for name in recipes or shipped_recipes().values()]
    if not recipes:
        loaded = [recipe for recipe in loaded if recipe.paper and recipe.paper.parameters]
    rows = [_row(recipe) for recipe in loaded]
    if as_json:
        print_json(rows)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    columns = ("recipe", "total", "printed", "per task (%)", "printed", "trained", "all-reduced (MB)")
    keys = ("recipe", "total", "printed_total", "per_task_percent", "printed_per_task_percent", "trained")
    cells = [[*(row[key] for key in keys), f"{row['all_reduced_bytes_per_step'] / 1e6:,.1f}"] for row in rows]
    stdout_console().print(table("Parameters relative to the backbone", columns, cells))


def _row(recipe: "Recipe") -> dict[str, Any]:
    from hyperformer_cli.adapters.parameter_counts import total_of_recipe

    counts = _counts(recipe)
    printed = recipe.paper and recipe.paper.parameters
    return {
        "recipe": recipe.name,
        "row": recipe.paper and recipe.paper.row,
        "total": total_of_recipe(recipe, counts),
        "printed_total": printed and printed.total,
        "per_task_percent": round(100 * counts.trained_per_task, 2),
        "printed_per_task_percent": printed and printed.per_task,
        "backbone": counts.backbone,
        "all": counts.total,
        "trained": counts.trained,
        "all_reduced_bytes_per_step": 4 * counts.trained,
        "tasks": counts.tasks,
    }


def _counts(recipe: "Recipe") -> "ParameterCounts":
    """Of one model: stored, or counted now."""
    from hyperformer_cli.adapters.parameter_counts import adapter_of_one_model, stored_counts

    adapter = adapter_of_one_model(recipe)
    stored = stored_counts(recipe.model.name, recipe.model.config, adapter)
    if stored is not None:
        return stored
    from hyperformer_cli.adapters.counting import count_adapted
    from hyperformer_cli.backbones.configuration import backbone_config

    return count_adapted(backbone_config(recipe.model.name, recipe.model.config, recipe.model.revision), adapter)
