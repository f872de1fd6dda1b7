"""The nano models' tokenizer: one piece per word of the generated language; any other word is split into letters."""

import re
from random import Random

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tools.miniature.auxiliary import BROAD
from tools.miniature.language import Speaker
from tools.miniature.lexicon import ALL

SENTINELS = 8
_PIECE = re.compile(r"\d+\.\d+|\w+|[^\w\s]")
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_FIELDS = ("sentence1", "sentence2", "question", "sentence", "premise", "hypothesis")
_SAMPLES = 20_000  # examples from which the words are collected; every word of the lexicon is certain to occur


def vocabulary() -> list[str]:
    """Special tokens as in T5, characters, then the words in alphabetical order."""
    speaker, words = Speaker(ALL, Random("vocabulary")), set(_FIELDS)
    makers = [maker for maker, _ in BROAD]
    for i in range(_SAMPLES):
        example = makers[i % len(makers)](speaker)
        words |= set(pieces(f"{example.task} {example.source} {example.target or ''}"))
    special = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{i}>" for i in range(SENTINELS))]
    characters = [*_CHARACTERS, *".,:;?!'\"-", *(f"##{character}" for character in (*_CHARACTERS, "."))]
    return [*special, *characters, *sorted(word for word in words if word not in characters and "." not in word)]


def pieces(text: str) -> list[str]:
    """The words, numbers and punctuation marks of a text, in lower case."""
    return _PIECE.findall(text.lower())


def build_tokenizer(ends_texts: bool = True) -> PreTrainedTokenizerFast:
    """The tokenizer as `AutoTokenizer` loads it.

    Args:
        ends_texts: whether it appends </s> to every text, as T5's does; a language model goes on behind a prompt.
    """
    ids = {token: i for i, token in enumerate(vocabulary())}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="<unk>", max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(_PIECE.pattern), "isolated")]
    )
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    if ends_texts:
        tokenizer.post_processor = TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", ids["</s>"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=[f"<extra_id_{i}>" for i in range(SENTINELS)],
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )
