"""LoRA beside peft's, with the same targets and rank on one backbone: training steps, and mixed tasks at inference.

    python benchmarks/lora_speed.py                    T5-small, 32 rows of 64 tokens
    python benchmarks/lora_speed.py --backbone qwen3   4 layers like those of Qwen3-0.6B, 8 rows of 128 tokens

All are timed in turn, round by round, so that a machine that grows slower does so for all of them. Ratios are medians
over the rounds of the ratio within a round; times are of the processor, which other programs on the machine do not
change, unless --wall is given.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, Qwen3Config

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.engine.optimizer import AdamW

TASKS = [f"task{i}" for i in range(8)]
RANK, ALPHA = 8, 16


def make_backbone(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if name == "t5-small":
        return build_backbone(backbone_config("t5-small", {"dropout_rate": 0.0}))
    shape = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 4, "num_attention_heads": 16}
    return build_backbone(Qwen3Config(**shape, num_key_value_heads=8, head_dim=128, vocab_size=8192))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=["t5-small", "qwen3"], default="t5-small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--wall", action="store_true", help="time by the clock on the wall")
    parser.add_argument("--memory", choices=["peft", "stored", "generated"], help="peak memory of one kind of step")
    options = parser.parse_args()
    rows, length = (32, 64) if options.backbone == "t5-small" else (8, 128)
    targets = ["q", "v"] if options.backbone == "t5-small" else ["q_proj", "v_proj"]
    steps = {
        "peft": lambda: peft_step(options.backbone, targets, rows, length),
        "stored": lambda: our_step(options.backbone, "adapters", targets, rows, length),
        "generated": lambda: our_step(options.backbone, "hyperformer++", targets, rows, length),
    }
    if options.memory:
        step = steps[options.memory]()
        for _ in range(3):
            step()
        print(f"{options.memory}: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB at the peak")
        return
    clock = time.perf_counter if options.wall else time.process_time
    compare({name: make() for name, make in steps.items()}, options.rounds, clock, "a training step")
    mixed = mixed_inference(options.backbone, targets, rows=8, length=length)
    compare(mixed, options.rounds, clock, "a forward pass over 8 rows of 8 tasks")


def compare(runs: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float], what: str) -> None:
    """Prints medians, and medians of the ratios to peft's within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        order = list(runs) if number % 2 else list(reversed(runs))
        for name in order:
            start = clock()
            runs[name]()
            seconds[name].append(clock() - start)
    print(what)
    for name, taken in seconds.items():  # the first round warms up
        ratio = statistics.median(own / peft for own, peft in zip(taken[1:], seconds["peft"][1:], strict=True))
        print(f"  {name:10} {1000 * statistics.median(taken[1:]):8.1f} ms   {ratio:.3f} of peft's")


def batch_of(backbone: PreTrainedModel, rows: int, length: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, backbone.config.vocab_size, (rows, length), generator=generator)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    return {**batch, "labels": ids[:, :3].contiguous()} if backbone.config.is_encoder_decoder else batch


def training_step(model: torch.nn.Module, batch: dict, parameters: list) -> Callable[[], None]:
    optimizer = AdamW(parameters, lr=1e-4)

    def step() -> None:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def peft_step(backbone: str, targets: list[str], rows: int, length: int) -> Callable[[], None]:
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, lora_dropout=0.0)
    model = get_peft_model(make_backbone(backbone), config).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return training_step(model, batch_of(model.get_base_model(), rows, length), parameters)


def our_model(backbone: str, method: str, targets: list[str]) -> AdaptedModel:
    config = AdapterConfig(method=method, form="lora", tasks=TASKS, rank=RANK, alpha=ALPHA, target_modules=targets)
    return AdaptedModel.attach(make_backbone(backbone), config)


def our_step(backbone: str, method: str, targets: list[str], rows: int, length: int) -> Callable[[], None]:
    """One task; stored LoRA has that task alone, as peft's has."""
    model = our_model(backbone, method, targets).train()
    if method == "adapters":
        for task in TASKS[1:]:
            model.remove_task(task)
    batch = {**batch_of(model.backbone, rows, length), "task": TASKS[0]}
    return training_step(model, batch, list(model.trained_parameters().values()))


def mixed_inference(backbone: str, targets: list[str], rows: int, length: int) -> dict[str, Callable[[], None]]:
    """Every row has a task of its own: peft by `adapter_names`, ours by `task_ids`."""
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, init_lora_weights=False)
    with tempfile.TemporaryDirectory() as folder:
        get_peft_model(make_backbone(backbone), config).save_pretrained(folder)
        theirs = PeftModel.from_pretrained(make_backbone(backbone), folder, adapter_name=TASKS[0])
        for task in TASKS[1:]:
            theirs.load_adapter(folder, adapter_name=task)
    theirs.eval()
    models = {
        "stored": our_model(backbone, "adapters", targets),
        "generated": our_model(backbone, "hyperformer++", targets),
    }
    batch = batch_of(theirs.get_base_model(), rows, length)

    def run_theirs() -> None:
        with torch.inference_mode():
            theirs(**batch, adapter_names=TASKS)

    def run_ours(name: str) -> Callable[[], None]:
        model = models[name].eval()

        def run() -> None:
            with torch.inference_mode():
                model(**batch, task_ids=list(range(rows)))

        return run

    return {"peft": run_theirs, **{name: run_ours(name) for name in models}}


if __name__ == "__main__":
    main()
