"""Training steps of every method beside the bound: the same frozen T5 with trained layer norms and no adapters.

    python benchmarks/training_speed.py                      T5-small, 8 tasks, r = 32
    python benchmarks/training_speed.py --device cuda --precision bfloat16 --backbone t5-base

Methods are timed in turn, round by round, so that a machine that grows slower does so for all of them; ratios are of
medians within one run.
"""

import argparse
import statistics
import time

import torch
from transformers import AutoModelForSeq2SeqLM

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config
from hyperformer_cli.engine.loss import label_smoothed_loss
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
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    steps = {name: make_step(name, config, options) for name, config in METHODS.items()}
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
    shape = backbone_config(options.backbone, {})
    tasks = [f"task{i}" for i in range(8)]
    model = AdaptedModel.attach(AutoModelForSeq2SeqLM.from_config(shape), AdapterConfig(tasks=tasks, **config))
    model = model.to(options.device).train()
    optimizer = AdamW(model.trained_parameters().values(), lr=1e-4)
    ids = torch.randint(3, shape.vocab_size, (options.rows, options.length), device=options.device)
    labels = torch.randint(3, shape.vocab_size, (options.rows, 3), device=options.device)
    decoder_ids = model.backbone.prepare_decoder_input_ids_from_labels(labels)
    task_ids = torch.arange(options.rows) % 8 if "mixed" in name else torch.zeros(options.rows, dtype=torch.long)
    autocast = torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bfloat16")

    def step() -> None:
        with autocast:
            out = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                decoder_input_ids=decoder_ids,
                task_ids=task_ids,
                use_cache=False,
            )
        label_smoothed_loss(out.logits, labels, 0.1).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.trained_parameters().values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if options.device == "cuda":
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
