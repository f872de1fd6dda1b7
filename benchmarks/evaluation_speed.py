"""Validation of the eight GLUE tasks beside its bound, and beside transformers' Seq2SeqTrainer.

    python benchmarks/evaluation_speed.py --data my/glue --tokenizer google-t5/t5-small
    python benchmarks/evaluation_speed.py --data my/glue --tokenizer google-t5/t5-small --rows 1000 --rounds 1

The bound is T5-small without adapters: one pass of the encoder over the inputs sorted by length, padded within batches
of 1,024 tokens, and as many decoder steps as the tasks' longest targets have tokens, with the cache; nothing is decoded
to text or scored. Ours is `Evaluator.evaluate` with HyperFormer++: answers, metrics and their details. The Trainer is
`evaluate` with `predict_with_generate`, batches of 32 as the rows come, task by task, on the same adapted model.
Weights are random, so that no answer ends early. All take turns, round by round, in processor time of one thread; a
ratio is the median over rounds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments
from transformers.modeling_outputs import BaseModelOutput

from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.backbones.layouts import pad
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.data.loading import load_splits, longest_target, tokenization_of
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.scoring import Evaluator
from hyperformer_cli.tasks.registry import get_task

TASKS = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
BOUND_TOKENS = 1024


@dataclass(frozen=True)
class EvaluationTime:
    """One way of evaluating.

    Attributes:
        rows: of each task.
        way: which way.
        seconds: of the median round.
        over_bound: the median over rounds of its time beside the bound's in the same round.
    """

    rows: int
    way: str
    seconds: float
    over_bound: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with the tasks' parquet files")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--rows", type=int, default=64, help="of each task")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-trainer", action="store_true")
    options = parser.parse_args()
    print(f"{'rows of each task':>17}   {'way':24} {'seconds':>8} {'over the bound':>15}")
    for row in measure(options.data, options.tokenizer, options.rows, options.rounds, not options.without_trainer):
        print(f"{row.rows:17}   {row.way:24} {row.seconds:8.2f} {row.over_bound:15.2f}")


def measure(data: str, tokenizer: str, rows: int = 64, rounds: int = 3, trainer: bool = True) -> list[EvaluationTime]:
    """Times all ways in turn on rows of the eight tasks."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = build_recipe(
        {
            "name": "evaluation",
            "model": {"name": "t5-small", "init": "random", "tokenizer": tokenizer},
            "adapter": {"method": "hyperformer++"},
            "tasks": TASKS,
            "data": {"source": data, "protocol": "reference", "max_source_length": 128},
            "training": {"max_steps": 1},
            "evaluation": {"max_examples": rows},
        }
    )
    tokenization, tasks = tokenization_of(recipe), [get_task(name) for name in TASKS]
    splits = load_splits(recipe, tasks, "train", tokenization)  # all have a thousand
    splits = {name: split.select(range(min(rows, len(split)))) for name, split in splits.items()}
    limits = longest_target(tasks, tokenization.encoding)
    shape = backbone_config("t5-small", {})
    model = AdaptedModel.attach(build_backbone(shape), AdapterConfig(method="hyperformer++", tasks=TASKS)).eval()
    evaluator = Evaluator(model, tokenization, make_accelerator(recipe.training), recipe.evaluation)
    bare = build_backbone(shape).eval()
    ways: dict[str, Callable[[], Any]] = {
        "bound": lambda: run_bound(bare, splits, limits),
        "ours": lambda: evaluator.evaluate(tasks, "validation", splits),
    }
    if trainer:
        ways["Seq2SeqTrainer"] = trainer_way(model, splits, limits, tokenization.tokenizer)
    warm = {name: split.select(range(min(2, len(split)))) for name, split in splits.items()}
    run_bound(bare, warm, limits)
    evaluator.evaluate(tasks, "validation", warm)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            start = time.process_time()
            run()
            seconds[way].append(time.process_time() - start)
    return [
        EvaluationTime(rows, way, statistics.median(taken), _median_ratio(taken, seconds["bound"]))
        for way, taken in seconds.items()
    ]


def _median_ratio(taken: Sequence[float], bound: Sequence[float]) -> float:
    return statistics.median(mine / its for mine, its in zip(taken, bound, strict=True))


@torch.inference_mode()
def run_bound(bare: Any, splits: dict[str, TokenizedSplit], limits: dict[str, int]) -> None:
    """Rows with equally long targets are sorted together, so that no row makes a step too many."""
    for limit in set(limits.values()):
        inputs = [
            split.input_ids(row) for name, split in splits.items() if limits[name] == limit for row in range(len(split))
        ]
        inputs.sort(key=len, reverse=True)
        while inputs:
            count = max(1, BOUND_TOKENS // len(inputs[0]))
            batch, inputs = inputs[:count], inputs[count:]
            ids = pad(batch, 0)
            mask = (torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in batch])).long()
            encoded = BaseModelOutput(bare.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state)
            tokens, cache = torch.zeros(len(batch), 1, dtype=torch.long), None
            for _ in range(limit):
                out = bare(
                    encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=tokens, past_key_values=cache,
                    use_cache=True,
                )  # fmt: skip
                tokens, cache = out.logits[:, -1:].argmax(-1), out.past_key_values


class _OneTask(torch.nn.Module):
    """An adapted model as the Trainer calls a model: of one task at a time."""

    def __init__(self, model: AdaptedModel):
        super().__init__()
        self.model, self.task = model, TASKS[0]
        self.config, self.generation_config = model.backbone.config, model.backbone.generation_config
        self.main_input_name = "input_ids"

    def forward(self, input_ids=None, attention_mask=None, labels=None):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, labels=labels, task=self.task)

    def generate(self, **inputs: Any) -> torch.Tensor:
        return self.model.generate(**inputs, task=self.task)


def trainer_way(
    model: AdaptedModel, splits: dict[str, TokenizedSplit], limits: dict[str, int], tokenizer: Any
) -> Callable[[], None]:
    """`Seq2SeqTrainer.evaluate`, task by task; it also computes the loss, as it always does."""
    wrapped = _OneTask(model)
    arguments = Seq2SeqTrainingArguments(
        tempfile.mkdtemp(), per_device_eval_batch_size=32, predict_with_generate=True, use_cpu=True, report_to=[],
        disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Seq2SeqTrainer(
        wrapped, arguments, data_collator=DataCollatorForSeq2Seq(tokenizer), processing_class=tokenizer,
        compute_metrics=lambda outcome: {"rows": len(tokenizer.batch_decode(outcome.predictions.clip(0)))},
    )  # fmt: skip
    data = {
        name: [
            {"input_ids": split.input_ids(i).tolist(), "labels": split.target_ids(i).tolist()}
            for i in range(len(split))
        ]
        for name, split in splits.items()
    }

    def run() -> None:
        for name, rows in data.items():
            wrapped.task = name
            trainer.evaluate(rows, max_new_tokens=limits[name], num_beams=1, do_sample=False)

    return run


if __name__ == "__main__":
    main()
