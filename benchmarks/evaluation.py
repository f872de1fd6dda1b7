"""Validation of several tasks beside its bound, and beside transformers' Seq2SeqTrainer.

64 rows of every task: the miniature's six, or with `--data FOLDER --tokenizer NAME` the eight of GLUE. The bound is
T5-small without adapters: one pass of the encoder over the inputs sorted by length, padded within batches of 1,024
tokens, and as many decoder steps as the tasks' longest targets have tokens, with the cache; nothing is decoded to
text or scored. Ours is `Evaluator.evaluate` with HyperFormer++: answers, metrics and their details. The Trainer is
`evaluate` with `predict_with_generate`, batches of 32 as the rows come, task by task, on the same adapted model.
Weights are random, so that no answer ends early.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.step import TINY
from benchmarks.timing import Row, Settings, in_turn, median, ratio, timed
from hyperformer_cli import AdaptedModel, AdapterConfig
from hyperformer_cli.backbones.configuration import backbone_config, build_backbone
from hyperformer_cli.backbones.layouts import pad
from hyperformer_cli.config.loading import build_recipe, load_recipe
from hyperformer_cli.data.loading import load_splits, longest_target, tokenization_of
from hyperformer_cli.data.tokenization import TokenizedSplit
from hyperformer_cli.engine.devices import make_accelerator
from hyperformer_cli.engine.scoring import Evaluator
from hyperformer_cli.tasks.registry import get_task

TITLE = "Evaluation"
COLUMNS = {
    "rows": "rows per task",
    "way": "way",
    "seconds": "seconds",
    "ratio": "of the bound",
    "spread": "middle half",
}
GLUE = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
BOUND_TOKENS = 1024


def measure(settings: Settings) -> list[Row]:
    rows = 2 if settings.tiny else 64
    names = load_recipe("quickstart").task_names if settings.data is None else GLUE
    torch.manual_seed(0)
    recipe = build_recipe(
        {
            "name": "evaluation",
            "model": {"name": "t5-small", "init": "random", "tokenizer": settings.tokenizer},
            "adapter": {"method": "hyperformer++"},
            "tasks": names,
            "data": {"source": settings.data or "bundled", "protocol": "reference", "max_source_length": 128},
            "training": {"max_steps": 1},
            "evaluation": {"max_examples": rows},
        }
    )
    tokenization, tasks = tokenization_of(recipe), [get_task(name) for name in names]
    splits = load_splits(recipe, tasks, "train", tokenization)  # all have a thousand
    splits = {name: split.select(range(min(rows, len(split)))) for name, split in splits.items()}
    limits = longest_target(tasks, tokenization.encoding)
    shape = backbone_config("t5-small", TINY | {"vocab_size": 32128} if settings.tiny else {})
    config = AdapterConfig(method="hyperformer++", tasks=names, reduction_factor=4 if settings.tiny else 32)
    model, bare = AdaptedModel.attach(build_backbone(shape), config).eval(), build_backbone(shape).eval()
    evaluator = Evaluator(model, tokenization, make_accelerator(recipe.training), recipe.evaluation)
    taken = in_turn(
        {
            "bound": timed(lambda: run_bound(bare, splits, limits)),
            "ours": timed(lambda: evaluator.evaluate(tasks, "validation", splits)),
            "Seq2SeqTrainer": timed(trainer_way(model, splits, limits, tokenization.tokenizer)),
        },
        settings.rounds,
    )
    return [
        {"rows": rows, "way": way, "seconds": median(rounds)} | ratio(rounds, taken["bound"])
        for way, rounds in taken.items()
    ]


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
        self.model, self.task = model, model.tasks[0]
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
