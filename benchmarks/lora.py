"""LoRA beside peft's, with the same targets and rank on one backbone: training steps, and mixed tasks at inference.

T5-small with 32 rows of 64 tokens, and 4 layers like those of Qwen3-0.6B with 8 rows of 128. peft gives every row an
adapter of its own by `adapter_names`, ours by `task_ids`: 8 rows of 8 tasks.
"""

import tempfile
from collections.abc import Callable

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, Qwen3Config

from benchmarks.step import TINY
from benchmarks.timing import Row, Settings, in_turn, median, ratio, timed
from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.engine.optimizer import AdamW

TITLE = "LoRA beside peft's"
COLUMNS = {
    "what": "what", "backbone": "backbone", "kind": "LoRA", "milliseconds": "ms", "ratio": "of peft's",
    "spread": "middle half",
}  # fmt: skip
TASKS = [f"task{i}" for i in range(8)]
RANK, ALPHA = 8, 16
BACKBONES = {"t5-small": (["q", "v"], 32, 64), "qwen3": (["q_proj", "v_proj"], 8, 128)}


def measure(settings: Settings) -> list[Row]:
    found = []
    for backbone, (targets, rows, length) in BACKBONES.items():
        if settings.tiny:
            backbone, rows, length = f"tiny {backbone}", 2, 8
        steps = {
            "peft": peft_step(backbone, targets, rows, length),
            "stored": our_step(backbone, "adapters", targets, rows, length),
            "generated": our_step(backbone, "hyperformer++", targets, rows, length),
        }
        found += _compared("training step", backbone, steps, settings.rounds)
        del steps
        mixed = mixed_inference(backbone, targets, rows=8, length=length)
        found += _compared("forward pass, 8 tasks mixed", backbone, mixed, settings.rounds)
    return found


def _compared(what: str, backbone: str, runs: dict[str, Callable[[], None]], rounds: int) -> list[Row]:
    taken = in_turn({name: timed(run) for name, run in runs.items()}, rounds)
    return [
        {"what": what, "backbone": backbone, "kind": name, "milliseconds": 1000 * median(own)}
        | ratio(own, taken["peft"])
        for name, own in taken.items()
    ]


def make_backbone(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if name.endswith("t5-small"):
        return build_backbone(backbone_config("t5-small", {"dropout_rate": 0.0, **(TINY if "tiny" in name else {})}))
    shape = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 4, "num_attention_heads": 16}
    if "tiny" in name:
        shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 8}
    head = 8 if "tiny" in name else 128
    return build_backbone(Qwen3Config(**shape, num_key_value_heads=8, head_dim=head, vocab_size=8192))


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
