"""Counts the parameters of published shapes on the meta device and writes them beside the code that reads them.

python -m tools.parameter_counts

`hyperformer_cli/adapters/parameter_counts.json` holds the options of the methods and, for every backbone, its shape's
digest, its own parameters, and for every method in turn `[total, total per task, trained, trained per task]`: a count
is the first plus, for each task, the second. null: the options do not fit the shape.
"""

import json
from typing import Any

from transformers import PreTrainedConfig

from hyperformer_cli.adapters.counting import count_adapted
from hyperformer_cli.adapters.parameter_counts import FILE, known_shape, shape_digest
from hyperformer_cli.backbones.configuration import backbone_config
from hyperformer_cli.backbones.published import SHAPES, T5_SHAPES
from hyperformer_cli.bundled import BUNDLED, BUNDLED_LM
from hyperformer_cli.config.adapter import METHODS, AdapterConfig
from hyperformer_cli.config.forms import FORMS
from hyperformer_cli.config.loading import load_recipe, shipped_recipes
from hyperformer_cli.errors import InputError

BACKBONES = (*T5_SHAPES, *SHAPES, BUNDLED, BUNDLED_LM)


def adapter_options() -> list[dict[str, Any]]:
    """What every method uses of `AdapterConfig`: with each form's defaults, and as shipped recipes have it."""
    configs = [AdapterConfig(method="finetune", tasks=["a"])]
    configs += [AdapterConfig(method=m, form=form, tasks=["a"]) for form in FORMS for m in METHODS if m != "finetune"]
    configs += [load_recipe(path).adapter for path in shipped_recipes().values()]
    options = [config.model_dump(exclude={"tasks"}, exclude_none=True) for config in configs]
    return [each for number, each in enumerate(options) if each not in options[:number]]


def count_backbone(name: str, adapters: list[dict[str, Any]]) -> dict[str, Any]:
    """What the file holds of one backbone."""
    shape, stated = backbone_config(name, {}), known_shape(name)
    assert stated is not None
    backbone = count_adapted(shape, AdapterConfig(method="finetune", tasks=["a"])).total
    return {
        "shape": shape_digest(stated),
        "parameters": backbone,
        "counted": [count_method(shape, options) for options in adapters],
    }


def count_method(shape: PreTrainedConfig, options: dict[str, Any]) -> list[int] | None:
    """`[total, total per task, trained, trained per task]`; None if the options do not fit the shape."""
    try:
        one, two = (count_adapted(shape, AdapterConfig(**options, tasks=["a", "b"][:tasks])) for tasks in (1, 2))
    except InputError:
        return None
    total, trained = two.total - one.total, two.trained - one.trained
    return [one.total - total, total, one.trained - trained, trained]


def written(adapters: list[dict[str, Any]], backbones: dict[str, dict[str, Any]]) -> str:
    """The file's text: one line per method, and one per backbone."""
    methods = ",\n".join(f"  {json.dumps(options)}" for options in adapters)
    counts = ",\n".join(f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in backbones.items())
    return f'{{\n "adapters": [\n{methods}\n ],\n "backbones": {{\n{counts}\n }}\n}}\n'


def main() -> None:
    """Writes the file."""
    adapters = adapter_options()
    FILE.write_text(written(adapters, {name: count_backbone(name, adapters) for name in BACKBONES}), encoding="utf-8")


if __name__ == "__main__":
    main()
