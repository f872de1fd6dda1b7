"""Writes what is generated from the recipe's schema: `docs/recipe_reference.md` and `recipes/recipe.schema.json`.

python -m tools.recipe_reference
"""

import json
from pathlib import Path
from typing import Any

from hyperformer_cli.config import sections
from hyperformer_cli.config.adapter import AdapterConfig
from hyperformer_cli.config.fewshot import FewshotSection
from hyperformer_cli.config.forms import FORMS
from hyperformer_cli.config.json_schema import FILE, recipe_schema
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.schema.docstrings import key_meanings, summary
from hyperformer_cli.schema.section import Section
from hyperformer_cli.tasks.task import Task

ROOT = Path(__file__).parents[1]
SECTIONS: dict[str, type[Section]] = {
    "": Recipe,
    "model": sections.ModelSection,
    "adapter": AdapterConfig,
    **{f"adapter, form: {name}": entry.options for name, entry in FORMS.items()},
    "data": sections.DataSection,
    "data.sampling": sections.SamplingSection,
    "training": sections.TrainingSection,
    "evaluation": sections.EvaluationSection,
    "sweep": sections.SweepSection,
    "fewshot": FewshotSection,
    "tasks (a definition)": Task,
    "paper": sections.PaperRow,
    "paper.parameters": sections.PrintedParameters,
}
_FORM_OPTIONS = {key for entry in FORMS.values() for key in entry.options.model_fields}
INTRODUCTION = """# Recipe reference

Every key of a recipe, with its type, its default and its meaning. The file is generated from the recipe's schema:
`python -m tools.recipe_reference`. `hyperformer recipes schema` prints the schema itself, and
`hyperformer recipes show RECIPE` a recipe with every key filled in.
"""


def reference() -> str:
    """The text of `docs/recipe_reference.md`."""
    parts = [INTRODUCTION]
    for name, section in SECTIONS.items():
        heading = f"## `{name}`" if name else "## The recipe"
        meanings = key_meanings(section)
        columns = ["key", "type", "default", "meaning"]
        rows = [
            [f"`{key}`", _type(schema), _default(schema), meanings[key].replace("|", "\\|")]
            for key, schema in section.model_json_schema()["properties"].items()
            if not (section is AdapterConfig and key in _FORM_OPTIONS)
        ]
        table = [columns, ["---"] * len(columns), *rows]
        lines = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
        parts.append(f"{heading}\n\n{summary(section)}\n\n{lines}\n")
    return "\n".join(parts)


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema or "$ref" in schema:
        return ""
    return "null" if schema["default"] is None else f"`{json.dumps(schema['default'])}`"


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema.get("anyOf") or schema["oneOf"]))
    if "$ref" in schema:
        return "a section"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    name = {"object": "mapping", "array": "list", None: "any"}.get(schema.get("type"), schema.get("type"))
    if name == "list" and schema.get("items"):
        name = f"list of {_type(schema['items'])}"
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return " ".join([name, *(f"{sign} {schema[word]}" for word, sign in words.items() if word in schema)])


def main() -> None:
    """Writes both files."""
    (ROOT / "docs" / "recipe_reference.md").write_text(reference(), encoding="utf-8")
    text = json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"
    (ROOT / "recipes" / FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
