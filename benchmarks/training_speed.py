"""Training steps of every method beside the bound: the same frozen model with trained layer norms and no adapters.

    python benchmarks/training_speed.py                      T5-small, 8 tasks, r = 32
    python benchmarks/training_speed.py --device cuda --precision bfloat16 --backbone t5-base
    python benchmarks/training_speed.py --config "$QWEN" --rows 8 --length 128      four layers of Qwen3-0.6B's size
        QWEN='{model_type: qwen3, vocab_size: 8192, hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 4,
               num_attention_heads: 16, num_key_value_heads: 8, head_dim: 128}'

Methods are timed in turn, round by round, so that a machine that grows slower does so for all of them; ratios are of
medians within one run.
"""

import argparse
import statistics
import time

import torch
import yaml

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.engine.loss import batch_losses
from hyperformer_cli.engine.optimizer import AdamW

METHODS = {
    "layer norms only": {"method": "adapters", "adapter_blocks": False},
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
    parser.add_argument("--config", type=yaml.safe_load, help="a configuration in place of a published backbone")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), help="those to time; the bound always is")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    chosen = {"layer norms only", *options.methods}
    steps = {name: make_step(name, config, options) for name, config in METHODS.items() if name in chosen}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    bound = statistics.median(seconds["layer norms only"][1:])
    print(f"{'method':28} {'examples/s':>10} {'of the bound':>12}")
    for name, taken in seconds.items():
        median = statistics.median(taken[1:])  # the first round warms up
        print(f"{name:28} {options.rows / median:10.1f} {median / bound:12.2f}")


def make_step(name: str, config: dict, options: argparse.Namespace):
    """One optimizer step on a batch like GLUE's: inputs of `length` tokens, targets of three."""
    torch.manual_seed(0)
    shape = backbone_config(options.backbone, {}) if options.config is None else backbone_config(None, options.config)
    tasks = [f"task{i}" for i in range(8)]
    model = AdaptedModel.attach(build_backbone(shape), AdapterConfig(tasks=tasks, **config))
    model = model.to(options.device).train()
    optimizer, layout = AdamW(model.trained_parameters().values(), lr=1e-4), model.family.layout
    length = options.length - 2 if layout.joins_target else options.length  # the targets' first two are read as well
    inputs = torch.randint(3, model.family.vocabulary_size(shape), (options.rows, length)).tolist()
    targets = torch.randint(3, model.family.vocabulary_size(shape), (options.rows, 3)).tolist()
    batch = {key: t.to(options.device) for key, t in layout.training_batch(inputs, targets, 0).items()}
    task_ids = [row % 8 if "mixed" in name else 0 for row in range(options.rows)]
    autocast = torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bfloat16")

    def step() -> None:
        with autocast:
            batch_losses(model, batch, task_ids, 0.1).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.trained_parameters().values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if options.device == "cuda":
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
