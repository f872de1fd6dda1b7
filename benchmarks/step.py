"""Training steps of every method beside the bound: the same frozen backbone with trained layer norms and no adapters.

8 tasks, reduction factor 32 or LoRA of rank 8, targets of 3 tokens; dropout as the backbone has it. The optimizer's
part includes clipping. At the longer length only the methods of the paper that are trained often.
"""

import torch

from benchmarks.timing import Parts, Row, Settings, in_turn, median, ratio
from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.engine.loss import batch_losses
from hyperformer_cli.engine.optimizer import AdamW

TITLE = "A training step"
COLUMNS = {
    "method": "method", "tokens": "rows x tokens", "seconds": "seconds", "forward": "forward", "backward": "backward",
    "optimizer": "optimizer", "ratio": "of the bound", "spread": "middle half",
}  # fmt: skip
TARGET = 3  # tokens

BOUND = "layer norms only"
METHODS: dict[str, dict] = {
    BOUND: {"method": "adapters", "adapter_blocks": False},
    "adapters": {"method": "adapters"},
    "hyperformer": {"method": "hyperformer"},
    "hyperformer++": {"method": "hyperformer++"},
    "hyperformer-shared-layers": {"method": "hyperformer-shared-layers"},
    "hyperformer++, mixed tasks": {"method": "hyperformer++"},
    "adapters, LoRA": {"method": "adapters", "form": "lora"},
    "hyperformer++, LoRA": {"method": "hyperformer++", "form": "lora"},
    "finetune": {"method": "finetune"},
}
OFTEN = 4  # the first, also timed at the longer lengths
TINY = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_heads": 4, "num_layers": 2, "vocab_size": 256}


def measure(settings: Settings) -> list[Row]:
    found = []
    for number, length in enumerate(settings.lengths):
        names = chosen(settings)[: None if number == 0 else OFTEN]
        steps = {name: make_step(name, METHODS[name], settings, length) for name in names}
        taken = in_turn(steps, settings.rounds)
        for name, rounds in taken.items():
            parts = {part: median(rounds, part) for part in ("forward", "backward", "optimizer")}
            found.append(
                {"method": name, "tokens": f"{settings.rows} x {length}", "seconds": median(rounds), **parts}
                | ratio(rounds, taken[BOUND])
            )
    return found


def chosen(settings: Settings) -> list[str]:
    """The bound, and what is compared with it."""
    unknown = set(settings.methods) - set(METHODS)
    if unknown:
        raise SystemExit(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    return [name for name in METHODS if name == BOUND or name in settings.methods or not settings.methods]


def make_model(config: dict, settings: Settings, tasks: int = 8) -> AdaptedModel:
    torch.manual_seed(0)
    changes = {**(TINY if settings.tiny else {}), **settings.config}
    names = [f"task{i}" for i in range(tasks)]
    backbone = build_backbone(backbone_config(settings.backbone, changes))
    if settings.tiny and config["method"] != "finetune" and config.get("form") != "lora":
        config = {**config, "reduction_factor": 4}
    return AdaptedModel.attach(backbone, AdapterConfig(tasks=names, **config)).to(settings.device).train()


def make_batch(model: AdaptedModel, rows: int, length: int) -> dict[str, torch.Tensor]:
    """Rows of `length` tokens, or inputs of so many beside their targets, like GLUE's."""
    vocabulary, layout = model.family.vocabulary_size(model.backbone.config), model.family.layout
    inputs = torch.randint(3, vocabulary, (rows, length - TARGET + 1 if layout.joins_target else length))
    targets = torch.randint(3, vocabulary, (rows, TARGET))
    batch = layout.training_batch(inputs.tolist(), targets.tolist(), pad_id=0)
    return {key: value.to(model.device) for key, value in batch.items()}


def make_step(name: str, config: dict, settings: Settings, length: int, tasks: int = 8):
    """One optimizer step that says what its parts took."""
    model = make_model(config, settings, tasks)
    parameters = list(model.trained_parameters().values())
    optimizer, batch = AdamW(parameters, lr=1e-4), make_batch(model, settings.rows, length)
    task_ids = [row % 8 if "mixed" in name else 0 for row in range(settings.rows)]
    autocast = torch.autocast(settings.device, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16")

    def now() -> float:
        if settings.device == "cuda":
            torch.cuda.synchronize()
        return settings.clock()

    def step() -> Parts:
        start = now()
        with autocast:
            losses = batch_losses(model, batch, task_ids, smoothing=0.1)
        forward = now()
        losses.sum().backward()
        backward = now()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        end = now()
        return {"forward": forward - start, "backward": backward - forward, "optimizer": end - backward} | {
            "total": end - start
        }

    return step
