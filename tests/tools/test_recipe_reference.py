"""The generated recipe reference and schema are those of the code, and the schema takes the shipped recipes."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from hyperformer_cli.config.json_schema import FILE, recipe_schema
from tools.recipe_reference import ROOT, reference

VALIDATOR = Draft202012Validator(recipe_schema())
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


def test_the_reference_is_current() -> None:
    """Else: python -m tools.recipe_reference."""
    assert (ROOT / "docs" / "recipe_reference.md").read_text(encoding="utf-8") == reference()
    assert json.loads((ROOT / "recipes" / FILE).read_text(encoding="utf-8")) == recipe_schema()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(recipe: Path) -> None:
    VALIDATOR.validate(yaml.safe_load(recipe.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("recipe", "at"),
    [
        ({"trainng": {}}, []),
        ({"training": {"max_step": 3}}, ["training"]),
        ({"training": {"max_steps": 0}}, ["training", "max_steps"]),
        ({"adapter": {"method": "hyper"}}, ["adapter", "method"]),
    ],
)
def test_what_recipes_must_not_say_does_not_fit(recipe: dict, at: list[str]) -> None:
    faults = list(VALIDATOR.iter_errors(recipe))
    assert [list(fault.absolute_path) for fault in faults] == [at]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_name_the_schema(recipe: Path) -> None:
    """In the first line, where editors look for it."""
    up = "../" * (len(recipe.relative_to(ROOT / "recipes").parts) - 1)
    assert recipe.read_text(encoding="utf-8").splitlines()[0] == f"# yaml-language-server: $schema={up}{FILE}"


def test_every_key_of_every_section_is_explained() -> None:
    """On hover in an editor, and in the reference."""
    schema = recipe_schema()
    sections = {"recipe": schema, **schema["$defs"]}
    assert len(sections) > 10 and all(section["description"] for section in sections.values())
    unexplained = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, value in section["properties"].items()
        if len(value.get("description", "").split()) < 3
    ]
    assert not unexplained
