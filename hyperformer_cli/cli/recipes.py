"""`hyperformer recipes`: what is shipped, and checking one's own."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, print_json, reports_errors

app = typer.Typer(help="List, show, copy and check recipes.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a file.")]


@app.command("list")
@reports_errors
def list_recipes(as_json: AsJson = False) -> None:
    """The shipped recipes, by table and row of the paper."""
    from hyperformer_cli.config.loading import load_recipe, shipped_recipes

    rows = [_summary(name, load_recipe(name)) for name in shipped_recipes()]
    rows.sort(key=lambda row: (str(row["table"] or ""), row["backbone"], row["recipe"]))
    if as_json:
        print_json(rows)
        return
    from hyperformer_cli.cli.tables import stdout_console, table

    cells = [
        [*(row[key] or "" for key in ("recipe", "table", "row")), _two_decimals(row["printed_average"])] for row in rows
    ]
    columns = ("recipe", "table", "row", "printed")
    stdout_console().print(table("Recipes (printed: the paper's average)", columns, cells, left=3))


@app.command()
@reports_errors
def show(recipe: Name, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a recipe resolved: every key, inherited and default ones too."""
    from hyperformer_cli.config.loading import dump_recipe, load_recipe

    loaded = load_recipe(recipe, overrides or ())
    if as_json:
        print_json(loaded.as_dict())
    else:
        typer.echo(dump_recipe(loaded), nl=False)


@app.command()
@reports_errors
def copy(
    recipe: Name,
    to: Annotated[Path | None, typer.Argument(help="The new file; RECIPE.yaml here by default.")] = None,
) -> None:
    """Copy a recipe to a file that stands alone, to change it."""
    from hyperformer_cli.config.loading import flatten_recipe
    from hyperformer_cli.errors import InputError
    from hyperformer_cli.storage.atomic import write_text

    text = flatten_recipe(recipe)
    target = to or Path(f"{Path(recipe).stem}.yaml")
    if target.is_dir():
        target = target / f"{Path(recipe).stem}.yaml"
    if target.exists():
        raise InputError(f"{target} exists; name another file")
    write_text(target, text)
    typer.echo(str(target))


@app.command()
@reports_errors
def validate(
    recipes: Annotated[list[str] | None, typer.Argument(metavar="RECIPE", help="All shipped ones by default.")] = None,
) -> None:
    """Check recipes without loading data or models; exit code 2 if one is wrong."""
    from hyperformer_cli.config.loading import load_recipe, shipped_recipes
    from hyperformer_cli.config.recipe_tasks import recipe_tasks, target_tasks
    from hyperformer_cli.config.sweep import sweep_points
    from hyperformer_cli.errors import InputError

    wrong = 0
    for name in recipes or shipped_recipes():
        try:
            recipe = load_recipe(name)
            for each in [recipe, *(point.recipe for point in (sweep_points(recipe) if recipe.sweep else []))]:
                recipe_tasks(each)
                target_tasks(each)
            typer.echo(f"{name}: ok")
        except InputError as error:
            wrong += 1
            typer.echo(f"{name}: {error}", err=True)
    if wrong:
        raise InputError(f"{wrong} of {len(recipes or shipped_recipes())} recipes are wrong")


def _summary(name: str, recipe: Any) -> dict[str, Any]:
    paper = recipe.paper
    return {
        "recipe": name,
        "table": paper and paper.table,
        "row": paper and paper.row,
        "method": recipe.adapter.method,
        "backbone": recipe.model.name,
        "tasks": recipe.task_names,
        "printed_average": paper and paper.expected and paper.expected.get("average"),
    }


def _two_decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
