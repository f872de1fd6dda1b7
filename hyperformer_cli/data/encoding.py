"""From texts to token ids of inputs and targets, and what `generate` must know of it.

TwoSequences    for encoder-decoders: as the tokenizer encodes each
OneSequence     for decoder-only models: the input within a prompt, then the target and an end token
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import GenerationConfig, PreTrainedTokenizerBase

from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.conversation import Conversation, Message

PLACEHOLDER = "{input}"
CHAT = "chat"
DEFAULT_PROMPT = "{input}\nanswer:"

_LONG_ENOUGH = 64  # tokens for a text of one letter
# Stand in for texts while a chat template is taken apart.
_USER_MARK, _ASSISTANT_MARK = "\ue000user\ue000", "\ue000assistant\ue000"
_UNUSUAL = "data.prompt: chat: the tokenizer's chat template does not hold each turn's text once"
# Templates that state the day, or ask for reasoning before the answer, are the same every time.
_CHAT_OPTIONS: dict[str, Any] = {"tokenize": False, "date_string": "26 Jul 2024", "enable_thinking": False}
# What checkpoints set for other uses, and would change answers: penalties on what the input says, least lengths.
_PLAIN_DECODING: dict[str, Any] = {
    "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "min_length": 0, "min_new_tokens": 0, "length_penalty": 1.0,
    "early_stopping": False, "suppress_tokens": None, "begin_suppress_tokens": None,
    "forced_eos_token_id": None,  # BART: it would replace the last token that fits
}  # fmt: skip


@dataclass(frozen=True)
class TwoSequences:
    """Inputs and targets as the tokenizer encodes them, with the special tokens it puts around them."""

    tokenizer: PreTrainedTokenizerBase
    surroundings = "the end of the sequence"  # what every input has besides its text

    @property
    def key(self) -> tuple[str, ...]:
        """What the token ids depend on besides texts, lengths and the tokenizer."""
        return ()

    def around(self, template: str) -> str:
        """A task's template of inputs with what is put around it: nothing."""
        return template

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_token_id

    def inputs(self, texts: Sequence[str | Conversation], limit: int) -> list[list[int]]:
        """Token ids of every text, cut to `limit`, special tokens included."""
        return self.tokenizer(list(map(str, texts)), max_length=limit, truncation=True)["input_ids"]

    def targets(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """The same for targets, with the end-of-sequence token even if the tokenizer does not put it, as Gemma's."""
        ids = self.tokenizer(text_target=list(texts), max_length=limit, truncation=True)["input_ids"]
        end = self.tokenizer.eos_token_id
        if all(end in own for own in ids):
            return ids
        plain = self.tokenizer(text_target=list(texts), add_special_tokens=False)["input_ids"]
        return [[*own[: limit - 1], end] for own in plain]

    def count_cut(self, ends: np.ndarray) -> int:
        """How many targets have lost their end, by their last tokens; the tokenizer keeps room for it."""
        return 0

    def decoding(self, generation: GenerationConfig) -> dict[str, Any]:
        """Arguments of `generate` in which a backbone's own generation configuration does not fit."""
        end = self.tokenizer.eos_token_id
        options = _decoding(generation, self.pad_id, {end})
        last = self.targets(["a"], _LONG_ENOUGH)[0][-1]
        if last != end:  # mBART: the language's code, which the decoder starts from
            options["decoder_start_token_id"] = last
        return options


@dataclass(frozen=True)
class OneSequence:
    """A prompt around the input, then the target and an end token, each tokenised apart.

    A prompt that is too long loses tokens at the end of the input's text, not of what the template puts around it.

    Attributes:
        tokenizer: a fast one, which knows where in the text a token is.
        before, after: what the prompt puts around the input's text.
        first: special tokens that the tokenizer puts before any text.
        end: the token behind a target.
        space: whether a space is put before a target, because the prompt ends without one.
        is_chat: whether the prompt is the tokenizer's chat template.
    """

    tokenizer: PreTrainedTokenizerBase
    before: str
    after: str
    first: tuple[int, ...]
    end: int
    space: bool
    is_chat: bool = False
    surroundings = "the prompt around it"

    @classmethod
    def of_prompt(cls, tokenizer: PreTrainedTokenizerBase, prompt: str) -> "OneSequence":
        """From `data.prompt`: a text with `{input}`, or `chat` for the tokenizer's chat template.

        Raises:
            InputError: the tokenizer is not a fast one, has no end-of-sequence token, or no such chat template.
        """
        if not tokenizer.is_fast:
            raise InputError("decoder-only models need a fast tokenizer (tokenizer.json), which knows tokens' places")
        if prompt == CHAT:
            return _from_chat_template(cls, tokenizer)
        before, _, after = prompt.partition(PLACEHOLDER)
        with_special, plain = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False))
        starts = (i for i in range(len(with_special)) if with_special[i : i + len(plain)] == plain)
        first = tuple(with_special[: next(starts, 0)])
        token = "".join(tokenizer.convert_ids_to_tokens(plain[:1]))
        adds_space = token.startswith(("▁", "Ġ"))  # before every text, by itself
        ends_open = not (prompt[-1:].isspace() or adds_space)
        return cls(tokenizer, before, after, first, tokenizer.eos_token_id, space=ends_open)

    @property
    def key(self) -> tuple[Any, ...]:
        """What the token ids depend on besides texts, lengths and the tokenizer."""
        template = self.tokenizer.chat_template if self.is_chat else None
        return self.before, self.after, self.first, self.end, self.space, template

    def around(self, template: str) -> str:
        """A task's template of inputs within the prompt."""
        before, after = (text.replace("{", "{{").replace("}", "}}") for text in (self.before, self.after))
        return f"{before}{template}{after}"

    @property
    def pad_id(self) -> int:
        """Fills up rows, behind the attention mask; the end token where the tokenizer has no padding token."""
        pad_id = self.tokenizer.pad_token_id
        return self.end if pad_id is None else pad_id

    def inputs(self, texts: Sequence[str | Conversation], limit: int) -> list[list[int]]:
        """Token ids of every prompt, at most `limit`.

        Raises:
            InputError: the prompt without a text is too long already, or one has no tokens at all.
        """
        if self.is_chat and any(isinstance(text, Conversation) for text in texts):
            return [self._conversation(text, limit) for text in texts]
        plain = [str(text).strip() if self.is_chat else str(text) for text in texts]  # as most chat templates do
        prompts = [f"{self.before}{text}{self.after}" for text in plain]
        encoded = self.tokenizer(prompts, add_special_tokens=False, return_offsets_mapping=True)
        rows = zip(encoded["input_ids"], encoded["offset_mapping"], plain, strict=True)
        start = len(self.before)
        return [self._cut([*self.first, *ids], places, (start, start + len(text)), limit) for ids, places, text in rows]

    def _conversation(self, conversation: str | Conversation, limit: int) -> list[int]:
        """By the chat template. What is too long loses its oldest turns, then the end of its last text."""
        messages = list(Conversation.of(conversation).messages)
        while True:
            before, text, after = _last_turn(self.tokenizer, messages)
            encoded = self.tokenizer(before + text + after, add_special_tokens=False, return_offsets_mapping=True)
            ids, oldest = encoded["input_ids"], 1 if messages[0]["role"] == "system" else 0
            if len(ids) <= limit or len(messages) <= oldest + 1:
                break
            del messages[oldest : oldest + 2]  # a turn of the user and one of the assistant
        return self._cut(ids, encoded["offset_mapping"], (len(before), len(before + text)), limit)

    def _cut(self, ids: list[int], places: Sequence[tuple[int, int]], text: tuple[int, int], limit: int) -> list[int]:
        """Drops tokens that are too many from the end of the text, which lies between two places of the prompt."""
        excess = len(ids) - limit
        if not ids:
            raise InputError("the prompt has no tokens; let data.prompt begin or end with a text")
        if excess <= 0:
            return ids
        first = len(ids) - len(places)
        inside = [i for i, (start, end) in enumerate(places, first) if text[0] <= start < end <= text[1]]
        if len(inside) <= excess:
            raise InputError(
                f"data.max_source_length: {limit} tokens leave nothing of the text of an input: the prompt around it "
                f"takes {len(ids) - len(inside)}"
            )
        dropped = set(inside[-excess:])
        return [token for i, token in enumerate(ids) if i not in dropped]

    def targets(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of every target with the end token; one that is longer than `limit` is cut and has no end token."""
        spaced = [f" {text}" if self.space else text for text in texts]
        plain = self.tokenizer(spaced, add_special_tokens=False)["input_ids"]
        return [[*ids, self.end][:limit] for ids in plain]

    def count_cut(self, ends: np.ndarray) -> int:
        """How many targets have lost their end, by their last tokens."""
        return int((ends != self.end).sum())

    def decoding(self, generation: GenerationConfig) -> dict[str, Any]:
        """Arguments of `generate` in which a backbone's own generation configuration does not fit."""
        return _decoding(generation, self.pad_id, {self.end, self.tokenizer.eos_token_id})


Encoding = TwoSequences | OneSequence


def _decoding(generation: GenerationConfig, pad_id: int, ends: set[int]) -> dict[str, Any]:
    stops = generation.eos_token_id
    options = {
        name: plain for name, plain in _PLAIN_DECODING.items() if getattr(generation, name, None) not in (None, plain)
    }
    if ends != (set(stops) if isinstance(stops, list) else {stops}):
        options["eos_token_id"] = sorted(ends)
    if generation.pad_token_id != pad_id:
        options["pad_token_id"] = pad_id
    return options


def _from_chat_template(cls: type[OneSequence], tokenizer: PreTrainedTokenizerBase) -> OneSequence:
    """The input as the user's turn, the target as the assistant's."""
    if not tokenizer.chat_template:
        raise InputError("data.prompt: chat: the tokenizer has no chat template; give a prompt with {input}")
    user: Message = {"role": "user", "content": _USER_MARK}
    before, _, after = _last_turn(tokenizer, [user])
    whole = _rendered(tokenizer, [user, {"role": "assistant", "content": _ASSISTANT_MARK}])
    _, mark, behind = whole.partition(_ASSISTANT_MARK)
    if not mark:
        raise InputError(_UNUSUAL)
    closing = tokenizer(behind, add_special_tokens=False)["input_ids"][:1]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    end = closing[0] if closing and closing[0] in special else tokenizer.eos_token_id
    return cls(tokenizer, before, after, (), end, space=False, is_chat=True)


def _last_turn(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[str, str, str]:
    """The prompt of a conversation: what stands before the last message's text, that text, and what follows it."""
    *earlier, last = messages
    marked: Message = {**last, "content": _USER_MARK}
    prompt = _rendered(tokenizer, [*earlier, marked], add_generation_prompt=True)
    before, mark, after = prompt.partition(_USER_MARK)
    if not mark or _USER_MARK in after:
        raise InputError(_UNUSUAL)
    return before, last["content"].strip(), after


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: list[Message], **options: Any) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, **_CHAT_OPTIONS, **options))  # type: ignore[arg-type]
    except Exception as error:  # whatever the template's own code raises
        raise InputError(f"data.prompt: chat: the tokenizer's chat template fails: {error}") from error
