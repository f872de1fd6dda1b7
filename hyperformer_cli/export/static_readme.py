"""The README of a static export: its code needs torch, transformers and safetensors, and is what the tests run."""

import json
import re
from pathlib import Path

from transformers import PreTrainedConfig

from hyperformer_cli.backbones.source import BackboneSource
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.export.source import ExportSource

_TEXT = """\
# {name}: adapters of {tasks}

Plain adapter weights of a T5 trained with hyperformer (method `{method}`), one file a task. What generated them is
not needed any more. Each task's JSON says what its inputs look like and what its answers mean.

```
hyperformer.json, recipe.yaml    what was trained, and how
layer_norms.safetensors          T5's layer norms, common to the tasks
{files}tokenizer.json, ...
```

{backbone}

## With hyperformer

```python
from hyperformer_cli import AdaptedModel

model = AdaptedModel.from_pretrained(".")  # this folder
```

`hyperformer eval .` evaluates it again. Tasks cannot be added to it; that is for the run it came from.

## With torch and transformers alone

```python
{code}
```
"""

_HEAD = """\
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
{linear}from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
{activations}"""

_LOAD = """
folder, task = Path("."), "{task}"  # this folder
about = json.loads((folder / "adapters" / f"{{task}}.json").read_text())
model = AutoModelForSeq2SeqLM.from_pretrained({backbone})
model.float().eval().load_state_dict(load_file(folder / "layer_norms.safetensors"), strict=False)
"""

_ADAPT = """
weights = load_file(folder / "adapters" / f"{task}.safetensors")
activation = ACT2FN[about["non_linearity"]]


def norm(x, site, place):
    scale, shift = (weights.get(f"{site}.{place}_norm_{kind}") for kind in ("scale", "shift"))
    return x if scale is None else layer_norm(x, scale.shape, scale, shift, about["layer_norm_epsilon"])


def adapt(site, output):
    hidden = output[0] if isinstance(output, tuple) else output
    x = linear(norm(hidden, site, "pre"), weights[f"{site}.down_weight"], weights[f"{site}.down_bias"])
    x = linear(activation(x), weights[f"{site}.up_weight"], weights[f"{site}.up_bias"])
    adapted = hidden + norm(x, site, "post")
    return (adapted, *output[1:]) if isinstance(output, tuple) else adapted


for stack in ("encoder", "decoder"):
    for i, block in enumerate(getattr(model, stack).block):
        sublayers = {"self_attention": block.layer[0].SelfAttention, "feed_forward": block.layer[-1].DenseReluDense}
        for position, sublayer in sublayers.items():
            sublayer.register_forward_hook(lambda _, __, out, site=f"{stack}.{i}.{position}": adapt(site, out))
"""

_RUN = """
tokenizer = AutoTokenizer.from_pretrained(folder)
inputs = tokenizer({text}, return_tensors="pt")
with torch.inference_mode():
    ids = model.generate(**inputs, max_new_tokens=about["max_new_tokens"], do_sample=False, num_beams=1{cache})
answer = tokenizer.decode(ids[0], skip_special_tokens=True)
print(answer, dict(zip(about["labels"], about["label_names"])).get(answer, ""))
"""


def static_readme(source: ExportSource) -> str:
    """The README's text: code that works as it stands where the backbone is a published model or a folder."""
    config, origin = source.model.config, source.model.source
    has_adapters = config.has_bank
    files = "adapters/<task>.json             inputs, labels, non-linearity\n"
    if has_adapters:
        files += "adapters/<task>.safetensors      <stack>.<layer>.<position>.<tensor>, float32\n"
    task = source.declared[source.tasks[0]]
    template = task.input_template(source.recipe.adapter.needs_task_prefix)
    text = re.sub(r"\{.*?\}", "A cat sat on the mat.", template)
    linear = "from torch.nn.functional import layer_norm, linear\n" if has_adapters else ""
    activations = "from transformers.activations import ACT2FN\n" if has_adapters else ""
    code = [
        _HEAD.format(linear=linear, activations=activations),
        _LOAD.format(task=task.name, backbone=_loading(origin)),
    ]
    code += [
        _ADAPT if has_adapters else "",
        _RUN.format(text=json.dumps(text), cache=_cache(source.model.backbone.config)),
    ]
    return _TEXT.format(
        name=source.recipe.name,
        tasks=", ".join(source.tasks),
        method=config.method,
        files=files,
        backbone=_about_backbone(origin),
        code="".join(code).strip(),
    )


def _loading(origin: BackboneSource) -> str:
    """The arguments with which transformers loads the backbone in the precision it was frozen in."""
    dtype = f"dtype=torch.{origin.dtype}"
    if origin.init == "random" or origin.name is None:
        return f'"path/to/backbone", {dtype}'
    name = folder_of(origin.name)
    if Path(name).is_dir():
        return f'"{Path(name).resolve()}", {dtype}'
    revision = "" if origin.revision in (None, "main") else f', revision="{origin.revision}"'
    return f'"{name}"{revision}, {dtype}'


def _cache(config: PreTrainedConfig) -> str:
    """transformers sizes generate's cache by the encoder's depth: none for a decoder of another."""
    return "" if config.num_layers == config.num_decoder_layers else ", use_cache=False"


def _about_backbone(origin: BackboneSource) -> str:
    if origin.init == "random" or origin.name is None:
        return (
            f"The backbone's weights were drawn at random (seed {origin.seed}). For the second way below write them "
            'once: `AdaptedModel.from_pretrained(".").backbone.save_pretrained("path/to/backbone")`.'
        )
    if Path(folder_of(origin.name)).is_dir():
        return f"The backbone is `{origin.name}`; the path below is where it lay when this was written."
    return f"The backbone is `{origin.name}`" + (f", commit `{origin.revision}`." if origin.is_pinned else ".")
