"""The JSON schema of recipes, with which editors complete, explain and check keys."""

from typing import Any

from hyperformer_cli.config.forms import FORMS
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.schema.docstrings import key_meanings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = "recipe.schema.json"
EDITOR_COMMENT = "# yaml-language-server: $schema="
HEADER = f"{EDITOR_COMMENT}{FILE}"  # the first line of a recipe with the schema beside it


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
    for entry in FORMS.values():  # whose options are keys of the adapter
        for key, meaning in key_meanings(entry.options).items():
            adapter[key]["description"] = meaning
    return {"$schema": DIALECT, **schema}
