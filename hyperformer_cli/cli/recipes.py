"""`hyperformer recipes`: lists and copies the shipped recipes, and checks any."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperformer_cli.cli.console import AsJson, Overrides, new_file, print_json, reports_errors, write_copy

if TYPE_CHECKING:
    from hyperformer_cli.config.recipe import Recipe

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

    cells = [[row[key] for key in ("recipe", "table", "row", "printed_average")] for row in rows]
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
    """Copy a recipe to a new file that needs no other file, to edit it."""
    from hyperformer_cli.config.loading import flatten_recipe

    text, target = flatten_recipe(recipe), new_file(to, f"{Path(recipe).stem}.yaml")
    write_copy(target, text)
    typer.echo(str(target))


@app.command()
@reports_errors
def schema() -> None:
    """Print the JSON schema of recipes, with which editors complete and check keys.

    Write it beside a recipe, `hyperformer recipes schema > recipe.schema.json`, and let the recipe's first line be
    `# yaml-language-server: $schema=recipe.schema.json`.
    """
    from hyperformer_cli.config.json_schema import recipe_schema

    print_json(recipe_schema())


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

    names, wrong = recipes or list(shipped_recipes()), 0
    for name in names:
        try:
            recipe = load_recipe(name)
            points = sweep_points(recipe) if recipe.sweep else []
            for each in [recipe, *(point.recipe for point in points)]:
                recipe_tasks(each)
                target_tasks(each)
            typer.echo(f"{name}: ok")
        except InputError as error:
            wrong += 1
            typer.echo(f"{name}: {error}", err=True)
    if wrong:
        raise InputError(f"{wrong} of {len(names)} recipes are wrong")


def _summary(name: str, recipe: "Recipe") -> dict[str, Any]:
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
