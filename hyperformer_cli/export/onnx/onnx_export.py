"""Writes a task's encoder and decoder as ONNX graphs, its adapters and the trained layer norms as constants.

    <task>.encoder.onnx  <task>.decoder.onnx   the graphs, with the task's adapters
    shared.weights                             what they have in common, once: all graphs point into it
    onnx.json  README.md  tokenizer files      what a program, and a person, needs to run them

The graphs are not in folders of their own because runtimes read no weights from above a graph's folder.
"""

import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor

from hyperformer_cli.backbones.family import Stack
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.onnx import graphs
from hyperformer_cli.export.readme import write_readme
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.verification import NEW_TOKENS, Outputs, TaskComparison, compare
from hyperformer_cli.storage.atomic import write_json

if TYPE_CHECKING:
    import onnx_ir

FORMAT_VERSION = 1
WEIGHTS_FILE, DESCRIPTION_FILE = "shared.weights", "onnx.json"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_PAGE = 4096  # bytes; smaller tensors stay in the graph, larger ones start at a multiple, so that they can be mapped


def write(source: ExportSource, folder: Path) -> None:
    """Writes the graphs of the source's tasks.

    Raises:
        InputError: a form of adapter or a family that the graphs do not know, or a package of the extra `onnx` is not
            installed.
    """
    _check(source)
    traced = graphs.trace(source.model, source.first_task)
    with (folder / WEIGHTS_FILE).open("wb") as file:
        shared = _SharedWeights(file, folder)
        for model in traced.values():
            shared.take_from(model)
    for task in source.tasks:
        for stack, model in traced.items():
            adapters = graphs.adapter_tensors(source.model, task, stack)
            _write_graph(model, adapters, folder / _graph_file(task, stack))
    source.run.tokenizer.save_pretrained(folder)
    write_json(folder / DESCRIPTION_FILE, _description(source, traced))
    decoding = Path(__file__).with_name("onnx_model.py").read_text(encoding="utf-8")
    write_readme(source, folder, "onnx/onnx_readme.md.jinja", decoding=decoding)


def verify(source: ExportSource, folder: Path) -> Iterator[TaskComparison]:
    """Runs the graphs as the export's README says, and compares logits and greedy ids with the run's."""
    import onnx

    from hyperformer_cli.export.onnx.onnx_model import OnnxModel

    for task, samples in source.samples.items():
        for stack in ("encoder", "decoder"):
            onnx.checker.check_model(folder / _graph_file(task, stack), full_check=True)
        model, batch = OnnxModel(folder, task), samples.batch
        target = source.model.family.layout.forward_inputs(source.model.backbone, batch)["decoder_input_ids"].numpy()
        ids, mask = batch["input_ids"].numpy(), batch["attention_mask"].numpy()
        logits, _ = model.decode(target, mask, model.encode(ids, mask))
        generated = model.generate(ids, mask, NEW_TOKENS)
        yield compare(source, task, Outputs(torch.from_numpy(logits), torch.from_numpy(generated)))


def _check(source: ExportSource) -> None:
    if source.form not in (None, "bottleneck"):
        raise InputError(f"--format onnx: knows bottleneck adapters, not {source.form}")
    if source.family != "t5":
        raise InputError(f"--format onnx: knows the T5 family, not {source.family}")
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise InputError(f"--format onnx needs {', '.join(missing)}: pip install 'hyperformer[onnx]'")


def _graph_file(task: str, stack: str) -> str:
    return f"{task}.{stack}.onnx"


class _SharedWeights:
    """The file that all graphs point into; it holds tensors of the same bytes, such as tied embeddings, once."""

    def __init__(self, file: BinaryIO, folder: Path):
        self._file, self._folder = file, folder
        self._offsets: dict[bytes, int] = {}

    def take_from(self, model: "onnx_ir.Model") -> None:
        """Moves a graph's large tensors into the file."""
        for name, value in model.graph.initializers.items():
            if value.const_value is not None and value.const_value.nbytes >= _PAGE:
                value.const_value = self._add(name, value.const_value)

    def _add(self, name: str, tensor: "onnx_ir.TensorProtocol") -> "onnx_ir.ExternalTensor":
        import onnx_ir

        data = tensor.tobytes()
        digest = hashlib.sha256(data).digest()
        if digest not in self._offsets:
            self._file.write(bytes(-self._file.tell() % _PAGE))
            self._offsets[digest] = self._file.tell()
            self._file.write(data)
        return onnx_ir.ExternalTensor(
            WEIGHTS_FILE, self._offsets[digest], len(data), tensor.dtype,
            shape=onnx_ir.Shape(tensor.shape.numpy()), name=name, base_dir=self._folder,
        )  # fmt: skip


def _write_graph(model: "onnx_ir.Model", adapters: dict[str, Tensor], path: Path) -> None:
    """Writes a graph with a task's adapters as constants, in place of the inputs they were traced as."""
    import onnx_ir

    graph = model.graph
    inputs = {value.name: value for value in graph.inputs}
    for name, tensor in adapters.items():
        value = inputs.get(name) or graph.initializers[name]
        value.const_value = onnx_ir.tensor(tensor.contiguous().numpy(), name=name)
        if name in inputs:
            graph.inputs.remove(value)
            graph.register_initializer(value)
    onnx_ir.save(model, path)


def _description(source: ExportSource, traced: "dict[Stack, onnx_ir.Model]") -> dict[str, Any]:
    backbone = source.model.backbone
    config, generation = backbone.config, backbone.generation_config.to_dict()
    ids = config.to_dict() | {name: value for name, value in generation.items() if value is not None}
    end = ids.get("eos_token_id")
    return {
        "format_version": FORMAT_VERSION,
        "run": source.run.recipe.name,
        "method": source.model.config.method,
        "decoder_start_token_id": ids.get("decoder_start_token_id"),
        "pad_token_id": ids.get("pad_token_id"),
        "eos_token_ids": end if isinstance(end, list) else [end],
        "max_source_length": source.run.recipe.data.max_source_length,
        "layers": config.num_decoder_layers,
        "heads": config.num_heads,
        "head_size": config.d_kv,
        "graphs": {stack: _signature(model) for stack, model in traced.items()},
        "tasks": {task: _about(source, task) for task in source.tasks},
    }


def _about(source: ExportSource, task: str) -> dict[str, Any]:
    about = source.about(task)
    del about["metrics"]
    return {stack: _graph_file(task, stack) for stack in ("encoder", "decoder")} | about


def _signature(model: "onnx_ir.Model") -> dict[str, dict[str, list[int | str]]]:
    """Names and shapes; an axis of any length has a name of its own."""
    return {
        kind: {
            str(value.name): [axis if isinstance(axis, int) else str(axis) for axis in value.shape or ()]
            for value in values
        }
        for kind, values in (("inputs", model.graph.inputs), ("outputs", model.graph.outputs))
    }
