"""Training steps on one shape of every family of backbones, cut to few layers and 8,192 tokens, beside their bound.

The bound is the same frozen backbone with trained layer norms and no adapters. 8 rows of 128 tokens.
"""

from dataclasses import replace

from benchmarks.step import BOUND, METHODS, make_step
from benchmarks.timing import Row, Settings, in_turn, median, ratio

TITLE = "A training step by family"
COLUMNS = {
    "family": "backbone", "method": "method", "seconds": "seconds", "ratio": "of the bound", "spread": "middle half",
}  # fmt: skip
_STACK = {"num_hidden_layers": 2, "vocab_size": 8192}
BACKBONES: dict[str, dict] = {
    "google/t5-v1_1-base": {"num_layers": 2, "vocab_size": 8192},
    "google/t5gemma-b-b": {"encoder": _STACK, "decoder": _STACK, "vocab_size": 8192},
    "facebook/bart-base": {"encoder_layers": 2, "decoder_layers": 2, "vocab_size": 8192},
    "Qwen/Qwen3-0.6B": {"num_hidden_layers": 4, "vocab_size": 8192},
    "openai-community/gpt2": {"n_layer": 4, "vocab_size": 8192},
    "EleutherAI/pythia-160m": {"num_hidden_layers": 4, "vocab_size": 8192},
}
COMPARED = (BOUND, "hyperformer++", "hyperformer++, LoRA")


def measure(settings: Settings) -> list[Row]:
    found = []
    for backbone, config in BACKBONES.items():
        rows, length = (2, 8) if settings.tiny else (8, 128)
        own = replace(settings, backbone=backbone, config=config, rows=rows, tiny=False)
        taken = in_turn({name: make_step(name, METHODS[name], own, length) for name in COMPARED}, settings.rounds)
        found += [
            {"family": backbone, "method": name, "seconds": median(rounds)} | ratio(rounds, taken[BOUND])
            for name, rounds in taken.items()
        ]
    return found
