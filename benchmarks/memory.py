"""Peak memory of training steps beside the bound's: the frozen backbone with trained layer norms and no adapters.

Each is measured in a process of its own. "process" is the process's peak, "above rest" what it rises above the process
with its model before the first step, "kept" what autograd keeps of one forward pass besides parameters.
"""

import gc
import json
import sys
from dataclasses import asdict

import torch

from benchmarks.step import METHODS, chosen, make_batch, make_model
from benchmarks.timing import Row, Settings, forget_peak, in_a_process, peak_mib
from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.engine.loss import batch_losses
from hyperformer_cli.engine.optimizer import AdamW

TITLE = "Peak memory of a training step"
COLUMNS = {
    "method": "method", "tokens": "rows x tokens", "process": "process (MiB)", "ratio": "of the bound's",
    "above": "above rest (MiB)", "above_ratio": "of the bound's ", "kept": "kept (MiB)",
    "kept_ratio": "of the bound's  ",
}  # fmt: skip


def measure(settings: Settings) -> list[Row]:
    length, found = settings.lengths[-1], []
    for name in chosen(settings):
        row = in_a_process("memory", name, length, json.dumps(asdict(settings), default=str))
        bound = found[0] if found else row
        ratios = {
            key: row[part] / bound[part]
            for key, part in (("ratio", "process"), ("above_ratio", "above"), ("kept_ratio", "kept"))
        }
        found.append({"method": name, "tokens": f"{settings.rows} x {length}", **row, **ratios})
    return found


def measure_one(name: str, length: int, settings: Settings) -> Row:
    """In this process, which has done nothing else."""
    model = make_model(METHODS[name], settings)
    parameters, batch = list(model.trained_parameters().values()), make_batch(model, settings.rows, length)
    optimizer = AdamW(parameters, lr=1e-4)
    task_ids = [row % 8 if "mixed" in name else 0 for row in range(settings.rows)]
    gc.collect()
    forget_peak()
    rest = peak_mib()
    for _ in range(3):
        batch_losses(model, batch, task_ids, smoothing=0.1).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = peak_mib()
    return {"process": peak, "above": peak - rest, "kept": kept_mib(model, batch, task_ids)}


def kept_mib(model: AdaptedModel, batch: dict[str, torch.Tensor], task_ids: list[int]) -> float:
    """What autograd keeps of a forward pass, every storage once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = batch_losses(model, batch, task_ids, smoothing=0.1).sum()
    assert loss.requires_grad
    return sum(kept.values()) / 2**20


if __name__ == "__main__":
    print(json.dumps(measure_one(sys.argv[1], int(sys.argv[2]), Settings(**json.loads(sys.argv[3])))))
