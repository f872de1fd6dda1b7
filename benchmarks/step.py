"""Training steps of every method beside the bound: the same frozen backbone with trained layer norms and no adapters.

    python benchmarks/training_speed.py                      T5-small, 8 tasks, r = 32
    python benchmarks/training_speed.py --device cuda --precision bfloat16 --backbone t5-base
    python benchmarks/training_speed.py --backbone Qwen/Qwen3-0.6B --rows 8 --length 128 \\
        --config '{"num_hidden_layers": 4, "vocab_size": 8192}'

Methods are timed in turn, round by round, so that a machine that grows slower does so for all of them. A ratio is the
median over rounds of a method's time beside the bound's in the same round.
"""

import argparse
import json
import statistics
import time

import torch

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.engine.loss import batch_losses
from hyperformer_cli.engine.optimizer import AdamW

TARGET = 3  # tokens

BOUND = "layer norms only"
METHODS = {
    BOUND: {"method": "adapters", "adapter_blocks": False},
    "adapters": {"method": "adapters"},
    "hyperformer": {"method": "hyperformer"},
    "hyperformer-shared-layers": {"method": "hyperformer-shared-layers"},
    "hyperformer++": {"method": "hyperformer++"},
    "hyperformer++, mixed tasks": {"method": "hyperformer++"},
    "finetune": {"method": "finetune"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="t5-small")
    parser.add_argument("--config", type=json.loads, default={}, help="JSON: values that replace the backbone's own")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine: processor time, not wall time")
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    methods = {name: config for name, config in METHODS.items() if name in (BOUND, *options.methods)}
    steps = {name: make_step(name, config, options) for name, config in methods.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds + 1):
        for name, step in steps.items():
            start = clock()
            step()
            seconds[name].append(clock() - start)
    print(f"{'method':28} {'examples/s':>10} {'of the bound':>12}")
    for name, taken in seconds.items():
        own, bound = taken[1:], seconds[BOUND][1:]  # the first round warms up
        ratio = statistics.median(mine / its for mine, its in zip(own, bound, strict=True))
        print(f"{name:28} {options.rows / statistics.median(own):10.1f} {ratio:12.2f}")


def make_step(name: str, config: dict, options: argparse.Namespace):
    """One optimizer step on a batch like GLUE's: rows of `length` tokens, or inputs of so many beside their targets."""
    torch.manual_seed(0)
    shape = backbone_config(options.backbone, options.config)
    tasks = [f"task{i}" for i in range(8)]
    model = AdaptedModel.attach(build_backbone(shape), AdapterConfig(tasks=tasks, **config)).to(options.device).train()
    optimizer, layout = AdamW(model.trained_parameters().values(), lr=1e-4), model.family.layout
    vocabulary, length = model.family.vocabulary_size(shape), options.length
    inputs = torch.randint(3, vocabulary, (options.rows, length - TARGET + 1 if layout.joins_target else length))
    targets = torch.randint(3, vocabulary, (options.rows, TARGET))
    batch = layout.training_batch(inputs.tolist(), targets.tolist(), pad_id=0)
    batch = {key: value.to(options.device) for key, value in batch.items()}
    task_ids = [row % 8 if "mixed" in name else 0 for row in range(options.rows)]
    autocast = torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bfloat16")

    def step() -> None:
        with autocast:
            losses = batch_losses(model, batch, task_ids, smoothing=0.1)
        losses.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.trained_parameters().values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if options.device == "cuda":
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
