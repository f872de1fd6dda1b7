"""Pretrains the bundled nano T5:   python -m tools.miniature.pretrain

Span corruption (T5's objective, Raffel et al. 2020, https://arxiv.org/abs/1910.10683) on generated prose, mixed with
the tasks of `auxiliary`. The same seed gives the same weights on the same machine; it uses one thread, because the
number of threads changes the order of sums.

`--gated --to FOLDER` makes a model that is not bundled, for docs/experiments.md: with the gated feed-forward of T5 1.1,
and pretrained by span corruption alone, as T5 1.1 was. Unlike there, its output matrix is that of its embeddings.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from transformers import Adafactor, PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration

from hyperformer_cli.bundled import model_folder
from tools.miniature.auxiliary import BROAD, HARD, Example, Mixture, examples, prose
from tools.miniature.tokenizer import SENTINELS, build_tokenizer

BATCH, POOL = 64, 32
WARMUP, DECAY = 100, 0.8
GAP_SHARE, GAP_LENGTH = 0.25, 2


@dataclass(frozen=True)
class Round:
    """One cycle of the learning rate, up to its peak and down to zero.

    `told` is the share of examples in which the decoder's first token names the task. In the others it is the padding
    token, as for a new task, and the decoder has to be ready for any task.
    """

    mixture: Mixture
    steps: int
    learning_rate: float
    told: float


ROUNDS = (Round(BROAD, 4500, 1e-2, told=1.0), Round(HARD, 4200, 1e-2, told=0.5))
SPAN_CORRUPTION = (Round(((prose, 1),), 6000, 1e-2, told=1.0),)

Ids = list[int]
Sample = tuple[Ids, Ids, Ids]


def new_model(vocabulary: int, gated: bool = False) -> T5ForConditionalGeneration:
    """An untrained nano T5: 128 wide, four encoder layers, two decoder layers."""
    config = T5Config(
        vocab_size=vocabulary,
        d_model=128,
        d_kv=32,
        d_ff=256 if gated else 384,  # as many weights, with the gate's
        num_heads=4,
        num_layers=4,
        num_decoder_layers=2,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=64,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=not gated,  # transformers ties them in any case; this leaves the logits unscaled
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return T5ForConditionalGeneration(config)


def cut_gaps(ids: Ids, first_sentinel: int, end: int, random: Random) -> tuple[Ids, Ids]:
    """T5's span corruption of one text: the source has sentinels for the gaps, the target what was removed.

    Args:
        ids: the text without its end-of-sequence token.
        first_sentinel: id of <extra_id_0>; the others follow.
        end: id of </s>.
        random: decides where the gaps are.
    """
    wanted = max(1, round(len(ids) * GAP_SHARE))
    count = min(SENTINELS - 1, max(1, round(wanted / GAP_LENGTH)))
    missing: set[int] = set()
    for _ in range(count):
        start = random.randrange(len(ids))
        missing |= set(range(start, min(len(ids), start + random.randrange(1, 2 * GAP_LENGTH))))
    source, target, sentinel = [], [], first_sentinel
    for i, piece in enumerate(ids):
        if i not in missing:
            source.append(piece)
            continue
        if i - 1 not in missing:
            source.append(sentinel)
            target.append(sentinel)
            sentinel += 1
        target.append(piece)
    return [*source, end], [*target, sentinel, end]


def encoded(
    stream: Iterator[Example], tokenizer: PreTrainedTokenizerBase, random: Random, told: float
) -> Iterator[Sample]:
    """Source ids, target ids, and decoder input ids: the task's word, then the target without its last piece."""
    first_sentinel = tokenizer.convert_tokens_to_ids("<extra_id_0>")
    while True:
        some = list(islice(stream, 1024))
        sources = tokenizer([example.source for example in some])["input_ids"]
        targets = tokenizer([example.target or "" for example in some])["input_ids"]
        for example, source, target in zip(some, sources, targets, strict=True):
            if example.target is None:
                source, target = cut_gaps(source[:-1], first_sentinel, tokenizer.eos_token_id, random)
                yield source, target, [tokenizer.pad_token_id, *target[:-1]]
                continue
            is_told = told == 1 or random.random() < told
            start = tokenizer.convert_tokens_to_ids(example.task) if is_told else tokenizer.pad_token_id
            yield source, target, [start, *target[:-1]]


def batches(samples: Iterator[Sample], random: Random) -> Iterator[dict[str, torch.Tensor]]:
    """Padded batches of similar lengths."""
    while True:
        pool = sorted(islice(samples, BATCH * POOL), key=lambda sample: (len(sample[0]), len(sample[1])))
        for start in random.sample(range(0, len(pool), BATCH), POOL):
            sources, targets, read = zip(*pool[start : start + BATCH], strict=True)
            source = _padded(sources, 0)
            yield {
                "input_ids": source,
                "attention_mask": (source != 0).long(),
                "labels": _padded(targets, -100),
                "decoder_input_ids": _padded(read, 0),
            }


def _padded(rows: tuple[Ids, ...], filler: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])


def rate(step: int, of: Round) -> float:
    """Learning rate of a step: a warm-up, a plateau, a linear decay."""
    descent = (of.steps - step) / (DECAY * of.steps)
    return of.learning_rate * min(1.0, (step + 1) / WARMUP, descent)


def pretrain(folder: Path, rounds: Sequence[Round] = ROUNDS, seed: int = 0, gated: bool = False) -> None:
    """Trains a nano T5 and writes it, in half precision, with its tokenizer."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    model = new_model(len(tokenizer), gated)
    for number, each in enumerate(rounds):
        train(model, tokenizer, each, seed + number)
        model.half().float()  # a round starts from what would have been written
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, of: Round, seed: int) -> None:
    """Trains one round, in place; prints the mean loss every 100 steps."""
    model.train()
    random = Random(seed)
    optimizer = Adafactor(model.parameters(), lr=of.learning_rate, scale_parameter=True, relative_step=False)
    stream = batches(encoded(examples(seed, of.mixture), tokenizer, random, of.told), random)
    began, total = time.monotonic(), 0.0
    for step, batch in enumerate(islice(stream, of.steps)):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, of)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        total += loss.item()
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1} of {of.steps}  loss {total / 100:.3f}  {time.monotonic() - began:.0f} s", flush=True
            )
            total = 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pretrain the bundled nano T5.")
    parser.add_argument("--to", type=Path, default=model_folder(), help="where to write it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gated", action="store_true", help="a model for the experiments")
    options = parser.parse_args()
    if options.gated and options.to.resolve() == model_folder().resolve():
        parser.error("--gated needs --to FOLDER: the bundled model is not gated")
    pretrain(options.to, SPAN_CORRUPTION if options.gated else ROUNDS, options.seed, options.gated)
