"""Pretrains the bundled nano language model:   python -m tools.miniature.pretrain_lm

A decoder-only model of Llama's architecture reads the text that the nano T5 was pretrained on: prose, and the tasks of
`auxiliary` as a prompt with an answer behind it, all of it predicted from left to right. Hidden matrices are trained by
Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), which needs fewer steps here than Adafactor or
AdamW; everything else by AdamW.

The same seed gives the same weights on the same machine: every process uses one thread, and the gradients of a step are
those of its two parts, summed. So two processes can share the work, and write the same weights:

    torchrun --nproc-per-node 2 -m tools.miniature.pretrain_lm
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from hyperformer_cli.bundled import language_model_folder
from tools.miniature.auxiliary import (
    Example,
    Mixture,
    answer,
    ask,
    compare,
    connect,
    consequence,
    decimal,
    examples,
    plain_consequence,
    prose,
    repair,
    roles,
    spot,
    word_relation,
)
from tools.miniature.tokenizer import build_tokenizer

WARMUP, DECAY = 100, 0.8
PARTS, ROWS, POOL = 2, 64, 64  # parts of a step, rows of a part, parts that are sorted by length together
MATRICES_RATE, OTHER_RATE = 2e-2, 3e-3

PROMPT = "{input}\nanswer:"  # as in recipes/quickstart_lm.yaml
TOLD = 0.5  # the share of examples whose prompt has the task's own word in place of `answer`

BROAD: Mixture = (
    (prose, 2),
    (repair, 2),
    (spot, 5),
    (roles, 1),
    (compare, 8),
    (connect, 6),
    (answer, 6),
    (ask, 2),
    (plain_consequence, 2),
    (consequence, 3),
    (word_relation, 1),
    (decimal, 1),
)

# More of what is slow to learn.
HARD: Mixture = (
    (prose, 1),
    (repair, 2),
    (spot, 5),
    (roles, 2),
    (compare, 8),
    (connect, 5),
    (answer, 7),
    (ask, 1),
    (plain_consequence, 2),
    (consequence, 4),
    (decimal, 1),
)


@dataclass(frozen=True)
class Round:
    """Some steps with one mixture, and with new optimizers.

    Attributes:
        mixture: of what the text is.
        steps: how many.
        zero_at: the step at which the learning rate would have fallen to zero.
        prompt_weight: of a piece of a prompt or of prose in the loss; a piece of an answer has 1.
    """

    mixture: Mixture
    steps: int
    zero_at: int
    prompt_weight: float


ROUNDS = (
    Round(BROAD, steps=1250, zero_at=2000, prompt_weight=0.25),
    Round(HARD, steps=700, zero_at=700, prompt_weight=0.05),
)

Ids = list[int]
Sample = tuple[Ids, int]  # the whole text, and how many of its pieces are the prompt


def new_model(vocabulary: int) -> LlamaForCausalLM:
    """An untrained nano language model: six layers, 128 wide."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def encoded(stream: Iterator[Example], tokenizer: PreTrainedTokenizerBase, random: Random) -> Iterator[Sample]:
    """The ids of prompt, answer and end of sequence; of prose, which has no prompt, and end of sequence."""
    while True:
        some = list(islice(stream, 1024))
        prompts = [_prompt(example, random) for example in some]
        answers = [example.source if example.target is None else example.target for example in some]
        pairs = zip(tokenizer(prompts)["input_ids"], tokenizer(answers)["input_ids"], strict=True)
        for prompt, said in pairs:
            yield [*prompt, *said, tokenizer.eos_token_id], len(prompt)


def _prompt(example: Example, random: Random) -> str:
    if example.target is None:
        return ""
    prompt = PROMPT if random.random() >= TOLD else PROMPT.replace("answer", example.task)
    return prompt.format(input=example.source)


def parts(samples: Iterator[Sample], prompt_weight: float, random: Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids (rows, length), padded on the right, and the weight of each piece as something to predict.

    Rows of a part are of similar length.
    """
    while True:
        pool = sorted(islice(samples, ROWS * POOL), key=lambda sample: len(sample[0]))
        for start in random.sample(range(0, len(pool), ROWS), POOL):
            yield _padded(pool[start : start + ROWS], prompt_weight)


def _padded(rows: list[Sample], prompt_weight: float) -> tuple[Tensor, Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    ids, weights = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest)
    for row, (text, prompt) in enumerate(rows):
        ids[row, : len(text)] = torch.tensor(text)
        weights[row, : len(text)] = 1.0 if prompt else prompt_weight
        weights[row, :prompt] = prompt_weight
    return ids, weights


def part_loss(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean cross-entropy of every piece but the first."""
    weights = weights[:, 1:].flatten()
    kept = weights.nonzero().squeeze(1)
    hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
    losses = F.cross_entropy(model.lm_head(hidden[kept]), ids[:, 1:].flatten()[kept], reduction="none")
    return (losses * weights[kept]).sum() / weights.sum()


def rate(step: int, of: Round) -> float:
    """Of a step's learning rate to the round's highest: a warm-up, a plateau, a linear decay."""
    return min(1.0, (step + 1) / WARMUP, (of.zero_at - step) / (DECAY * of.zero_at))


def pretrain(folder: Path, rounds: Sequence[Round] = ROUNDS, seed: int = 0) -> None:
    """Trains a nano language model and writes it, in half precision, with its tokenizer."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(ends_texts=False)
    model = new_model(len(tokenizer))
    for number, each in enumerate(rounds):
        train(model, tokenizer, each, seed + number)
        model.half().float()  # a round starts from what would have been written
    if _rank() == 0:
        model.half().save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, of: Round, seed: int) -> None:
    """Trains one round, in place; prints the mean loss every 100 steps."""
    model.train()
    parameters = dict(model.named_parameters())
    matrices = [p for name, p in parameters.items() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in parameters.items() if p.ndim == 1 or "embed" in name]
    adam = {"betas": (0.9, 0.95), "weight_decay": 0.0, "fused": True}
    optimizers = (
        torch.optim.Muon(matrices, lr=MATRICES_RATE, weight_decay=0.0),
        torch.optim.AdamW(others, lr=OTHER_RATE, **adam),
    )
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: rate(step, of)) for each in optimizers]
    random = Random(seed)
    stream = parts(encoded(examples(seed, of.mixture), tokenizer, random), of.prompt_weight, random)
    began, total = time.monotonic(), 0.0
    for step in range(of.steps):
        total += _backward(model, list(islice(stream, PARTS)))
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        if (step + 1) % 100 == 0 and _rank() == 0:
            print(
                f"step {step + 1} of {of.steps}  loss {total / 100:.3f}  {time.monotonic() - began:.0f} s", flush=True
            )
            total = 0.0


def _backward(model: LlamaForCausalLM, batch: list[tuple[Tensor, Tensor]]) -> float:
    """Sets the gradients of a step and returns its loss, the means over its parts, of which each process takes some."""
    rank, processes = _rank(), dist.get_world_size() if dist.is_initialized() else 1
    parameters = list(model.parameters())
    summed: Tensor | None = None
    for ids, weights in batch[rank::processes]:
        loss = part_loss(model, ids, weights)
        gradients = torch.autograd.grad(loss, parameters)
        flat = torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)]) / len(batch)
        summed = flat if summed is None else summed + flat
    if processes > 1:
        dist.all_reduce(summed)
    for parameter, gradient in zip(parameters, summed[1:].split([p.numel() for p in parameters]), strict=True):
        parameter.grad = gradient.view_as(parameter)
    return summed[0].item()


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pretrain the bundled nano language model.")
    parser.add_argument("--to", type=Path, default=language_model_folder(), help="where to write it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    pretrain(options.to, seed=options.seed)
