"""The JSON schema of recipes, with which editors complete, explain and check keys."""

import inspect
import re
from typing import Any

from pydantic import BaseModel

from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.forms import FORMS
from hyperformer_cli.config.recipe import Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = "recipe.schema.json"
EDITOR_COMMENT = "# yaml-language-server: $schema="
HEADER = f"{EDITOR_COMMENT}{FILE}"  # the first line of a recipe with the schema beside it

_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def recipe_schema() -> dict[str, Any]:
    """The schema of a recipe file. No key is required: `extends` may supply any."""
    schema = Recipe.model_json_schema()
    extends = {"type": "string", "description": "A recipe beside this one, or a shipped one, whose keys are inherited."}
    schema["properties"] = {"extends": extends, **schema["properties"]}
    sections = schema["$defs"]
    for section in (schema, sections["AdapterConfig"], sections["ModelSection"]):
        section.pop("required", None)
    adapter = sections["AdapterConfig"]["properties"]
    adapter.pop("tasks")  # they are the recipe's
    explained_by: list[type[BaseModel]] = [AdapterConfig, *(entry.options for entry in FORMS.values())]
    for explained in explained_by:
        for key, meaning in key_meanings(explained).items():
            if key in adapter:
                adapter[key]["description"] = meaning
    return {"$schema": DIALECT, **schema}


def summary(section: type[BaseModel]) -> str:
    """What a section's docstring says before it lists arguments."""
    return re.split(r"\n(?:Args|Attributes|Raises):\n", inspect.getdoc(section) or "")[0].strip()


def key_meanings(section: type[BaseModel]) -> dict[str, str]:
    """The arguments that a section's docstring explains."""
    listed = re.split(r"\nRaises:\n", inspect.getdoc(section) or "")[0]
    return {key: " ".join(text.split()) for key, text in _ARGUMENT.findall(listed)}
