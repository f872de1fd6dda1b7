"""`--format onnx`: a task's encoder and decoder as ONNX graphs, its adapters and the trained layer norms constants.

    <task>.encoder.onnx  <task>.decoder.onnx   the graphs, with the task's adapters
    shared.weights                             what they have in common, once: all graphs point into it
    onnx.json  README.md  tokenizer files      what a program, and a person, needs to run them

The graphs lie side by side because runtimes read no weights from above a graph's own folder.
"""

import hashlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from hyperformer_cli.data.loading import longest_target, tokenization
from hyperformer_cli.errors import InputError
from hyperformer_cli.export import onnx_graphs
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import NEW_TOKENS, Comparison, Outputs, compare, outputs
from hyperformer_cli.storage.atomic import write_json, write_text

if TYPE_CHECKING:
    import onnx_ir

FORMAT_VERSION = 1
WEIGHTS_FILE, DESCRIPTION_FILE = "shared.weights", "onnx.json"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_PAGE = 4096  # bytes; smaller tensors stay in the graph, larger ones start at a multiple, so that they can be mapped


def export_onnx(source: ExportSource, folder: Path) -> list[Path]:
    """Writes the graphs of the source's tasks.

    Returns:
        The files.

    Raises:
        InputError: a package of the extra `onnx` is not installed.
    """
    _require_packages()
    traced = onnx_graphs.trace(source.model, source.tasks[0])
    with (folder / WEIGHTS_FILE).open("wb") as file:
        shared = _SharedWeights(file, folder)
        for graph in traced:
            _share_weights(graph.model, shared)
    for task in source.tasks:
        for graph in traced:
            _write_task(graph, source, folder / _graph_file(task, graph.stack), task)
    source.tokenizer.save_pretrained(folder)
    write_json(folder / DESCRIPTION_FILE, _description(source, traced))
    write_text(folder / "README.md", _readme(source))
    return sorted(path for path in folder.iterdir() if path.is_file())


def verify_onnx(source: ExportSource, folder: Path) -> Comparison:
    """Runs the graphs as the export's README says, and compares logits and greedy ids with the run's."""
    _require_packages()
    import onnx

    from hyperformer_cli.export.onnx_model import OnnxModel

    compared: Comparison = {}
    for task in source.tasks:
        for stack in ("encoder", "decoder"):
            onnx.checker.check_model(folder / _graph_file(task, stack), full_check=True)
        model, samples = OnnxModel(folder, task), source.samples[task]
        start = source.model.backbone.prepare_decoder_input_ids_from_labels(samples["labels"]).numpy()
        inputs = [samples[name].numpy() for name in ("input_ids", "attention_mask")]
        logits, _ = model.decode(start, inputs[1], model.encode(*inputs))
        found = Outputs(torch.from_numpy(logits), torch.from_numpy(model.generate(*inputs, NEW_TOKENS)))
        compared[task] = compare(outputs(source.model, task, samples), found)
    return compared


def _require_packages() -> None:
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise InputError(f"--format onnx needs {', '.join(missing)}: pip install 'hyperformer[onnx]'")


def _graph_file(task: str, stack: str) -> str:
    return f"{task}.{stack}.onnx"


class _SharedWeights:
    """The file that all graphs point into; tensors of the same bytes, such as tied embeddings, are in it once."""

    def __init__(self, file: BinaryIO, folder: Path):
        self._file, self._folder = file, folder
        self._offsets: dict[bytes, int] = {}

    def add(self, tensor: "onnx_ir.TensorProtocol") -> "onnx_ir.ExternalTensor":
        """The same tensor as a place in the file."""
        import onnx_ir

        data = tensor.tobytes()
        digest = hashlib.sha256(data).digest()
        if digest not in self._offsets:
            self._file.write(bytes(-self._file.tell() % _PAGE))
            self._offsets[digest] = self._file.tell()
            self._file.write(data)
        return onnx_ir.ExternalTensor(
            WEIGHTS_FILE, self._offsets[digest], len(data), tensor.dtype,
            shape=tensor.shape, name=tensor.name, base_dir=self._folder,
        )  # fmt: skip


def _share_weights(model: "onnx_ir.Model", shared: _SharedWeights) -> None:
    for value in model.graph.initializers.values():
        if value.const_value.nbytes >= _PAGE:
            value.const_value = shared.add(value.const_value)


def _write_task(traced: onnx_graphs.Traced, source: ExportSource, path: Path, task: str) -> None:
    """Writes a graph with a task's adapters as constants, in place of the inputs they were traced as."""
    import onnx_ir

    graph = traced.model.graph
    inputs = {value.name: value for value in graph.inputs}
    for name, tensor in onnx_graphs.adapter_tensors(source.model, task, traced.stack).items():
        value = inputs.get(name) or graph.initializers[name]
        value.const_value = onnx_ir.tensor(tensor.contiguous().numpy(), name=name)
        if name in inputs:
            graph.inputs.remove(value)
            graph.register_initializer(value)
    onnx_ir.save(traced.model, path)


def _description(source: ExportSource, traced: list[onnx_graphs.Traced]) -> dict[str, Any]:
    backbone = source.model.backbone
    config, generation = backbone.config, backbone.generation_config
    end = generation.eos_token_id if generation.eos_token_id is not None else config.eos_token_id
    return {
        "format_version": FORMAT_VERSION,
        "run": source.recipe.name,
        "method": source.model.config.method,
        "decoder_start_token_id": _first_given(generation.decoder_start_token_id, config.decoder_start_token_id),
        "pad_token_id": _first_given(generation.pad_token_id, config.pad_token_id),
        "eos_token_ids": end if isinstance(end, list) else [end],
        "max_source_length": source.recipe.data.max_source_length,
        "layers": len(backbone.decoder.block),
        "heads": config.num_heads,
        "head_size": config.d_kv,
        "graphs": {graph.stack: _signature(graph.model) for graph in traced},
        "tasks": {task: _task_description(source, task) for task in source.tasks},
    }


def _first_given(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _signature(model: "onnx_ir.Model") -> dict[str, dict[str, list[int | str]]]:
    """Names and shapes; an axis of any length has a name of its own."""
    return {
        kind: {value.name: [axis if isinstance(axis, int) else str(axis) for axis in value.shape] for value in values}
        for kind, values in (("inputs", model.graph.inputs), ("outputs", model.graph.outputs))
    }


def _task_description(source: ExportSource, task: str) -> dict[str, Any]:
    declared = source.declared[task]
    return {
        "encoder": _graph_file(task, "encoder"),
        "decoder": _graph_file(task, "decoder"),
        "input": declared.input_template(tokenization(source.recipe, source.tokenizer).task_prefix),
        "labels": list(declared.label_texts),
        "label_names": list(declared.label_names),
        "max_new_tokens": longest_target([declared], source.tokenizer)[task],
    }


def _readme(source: ExportSource) -> str:
    task = source.tasks[0]
    example = re.sub(r"{[^}]*}", "some text", _task_description(source, task)["input"])
    decoding = Path(__file__).with_name("onnx_model.py").read_text(encoding="utf-8")
    return _README.format(run=source.recipe.name, task=task, example=json.dumps(example), decoding=decoding)


_README = """# {run} in ONNX

For every task an encoder and a decoder, with the task's adapters and the trained layer norms in them. They need
`shared.weights` beside them, which holds what the tasks have in common. To run them: onnxruntime and numpy; from text,
tokenizers too. `onnx.json` says how each task's input is written (columns in braces), what its labels are (none: it
answers with a number), and what goes into and comes out of the graphs; batch and lengths are free.

Run in this folder:

```python
{decoding}```

```python
from tokenizers import Tokenizer

model = OnnxModel(".", "{task}")
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_padding(pad_id=model.settings["pad_token_id"])
tokenizer.enable_truncation(model.settings["max_source_length"])
encoded = tokenizer.encode_batch([{example}])
ids = model.generate(
    np.array([text.ids for text in encoded], np.int64), np.array([text.attention_mask for text in encoded], np.int64)
)
print(tokenizer.decode_batch(ids.tolist()))
```
"""
