"""From texts to token ids of inputs and targets, and what `generate` must know of it.

TwoSequences    for encoder-decoders: as the tokenizer encodes each
OneSequence     for decoder-only models: the input within a prompt, then the target and an end token
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from hyperformer_cli.errors import InputError

PLACEHOLDER = "{input}"
CHAT = "chat"
DEFAULT_PROMPT = "{input}\nanswer:"

_LONG_ENOUGH = 64  # tokens for a text of one letter
# Stand in for texts while a chat template is taken apart.
_USER_MARK, _ASSISTANT_MARK = "\ue000user\ue000", "\ue000assistant\ue000"
# Templates that state the day, or ask for reasoning before the answer, are the same every time.
_CHAT_OPTIONS: dict[str, Any] = {"tokenize": False, "date_string": "26 Jul 2024", "enable_thinking": False}


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

    def inputs(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of every text, cut to `limit`, special tokens included."""
        return self.tokenizer(list(texts), max_length=limit, truncation=True)["input_ids"]

    def targets(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """The same for targets, with the end-of-sequence token even if the tokenizer does not put it, as Gemma's."""
        ids = self.tokenizer(text_target=list(texts), max_length=limit, truncation=True)["input_ids"]
        end = self.tokenizer.eos_token_id
        if all(end in own for own in ids):
            return ids
        plain = self.tokenizer(text_target=list(texts), add_special_tokens=False)["input_ids"]
        return [[*own[: limit - 1], end] for own in plain]

    def is_cut(self, target: Sequence[int]) -> bool:
        """Whether a target has lost its end."""
        return self.tokenizer.eos_token_id not in target

    def decoding(self, generation: GenerationConfig) -> dict[str, Any]:
        """Arguments of `generate` in which a backbone's own generation configuration does not fit."""
        options = _special_tokens(generation, self.pad_id, self.tokenizer.eos_token_id)
        last = self.targets(["a"], _LONG_ENOUGH)[0][-1]
        if last != self.tokenizer.eos_token_id:  # mBART: the language's code, which the decoder starts from
            options["decoder_start_token_id"] = last
        if generation.forced_eos_token_id is not None:  # BART: the last token that fits would be replaced by it
            options["forced_eos_token_id"] = None
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
    """

    tokenizer: PreTrainedTokenizerBase
    before: str
    after: str
    first: tuple[int, ...]
    end: int
    space: bool
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
        adds_space = tokenizer.convert_ids_to_tokens(plain)[0].startswith("▁")  # before every text, by itself
        ends_open = not (prompt[-1:].isspace() or adds_space)
        return cls(tokenizer, before, after, first, tokenizer.eos_token_id, space=ends_open)

    @property
    def key(self) -> tuple[Any, ...]:
        """What the token ids depend on besides texts, lengths and the tokenizer."""
        return self.before, self.after, self.first, self.end, self.space

    def around(self, template: str) -> str:
        """A task's template of inputs within the prompt."""
        before, after = (text.replace("{", "{{").replace("}", "}}") for text in (self.before, self.after))
        return f"{before}{template}{after}"

    @property
    def pad_id(self) -> int:
        """Fills up rows, behind the attention mask; the end token where the tokenizer has no padding token."""
        pad_id = self.tokenizer.pad_token_id
        return self.end if pad_id is None else pad_id

    def inputs(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of every prompt, at most `limit`.

        Raises:
            InputError: the prompt without a text is too long already, or one has no tokens at all.
        """
        prompts = [f"{self.before}{text}{self.after}" for text in texts]
        encoded = self.tokenizer(prompts, add_special_tokens=False, return_offsets_mapping=True)
        rows = zip(encoded["input_ids"], encoded["offset_mapping"], texts, strict=True)
        return [self._cut([*self.first, *ids], offsets, text, limit) for ids, offsets, text in rows]

    def _cut(self, ids: list[int], offsets: Sequence[tuple[int, int]], text: str, limit: int) -> list[int]:
        excess = len(ids) - limit
        if not ids:
            raise InputError("the prompt has no tokens; let data.prompt begin or end with a text")
        if excess <= 0:
            return ids
        start, end = len(self.before), len(self.before) + len(text)
        inside = [i for i, place in enumerate(offsets, len(self.first)) if start <= place[0] < place[1] <= end]
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

    def is_cut(self, target: Sequence[int]) -> bool:
        """Whether a target has lost its end."""
        return len(target) == 0 or target[-1] != self.end

    def decoding(self, generation: GenerationConfig) -> dict[str, Any]:
        """Arguments of `generate` in which a backbone's own generation configuration does not fit."""
        return _special_tokens(generation, self.pad_id, self.end)


Encoding = TwoSequences | OneSequence


def _special_tokens(generation: GenerationConfig, pad_id: int, end: int) -> dict[str, Any]:
    stops = generation.eos_token_id
    known = [] if stops is None else [stops] if isinstance(stops, int) else list(stops)
    options: dict[str, Any] = {}
    if end not in known:
        options["eos_token_id"] = [*known, end]
    if generation.pad_token_id != pad_id:
        options["pad_token_id"] = pad_id
    return options


def _from_chat_template(cls: type[OneSequence], tokenizer: PreTrainedTokenizerBase) -> OneSequence:
    """The input as the user's turn, the target as the assistant's."""
    if not tokenizer.chat_template:
        raise InputError("data.prompt: chat: the tokenizer has no chat template; give a prompt with {input}")
    user = {"role": "user", "content": _USER_MARK}
    assistant = {"role": "assistant", "content": _ASSISTANT_MARK}
    try:
        prompt = str(tokenizer.apply_chat_template([user], **_CHAT_OPTIONS, add_generation_prompt=True))
        whole = str(tokenizer.apply_chat_template([user, assistant], **_CHAT_OPTIONS))
    except Exception as error:  # whatever the template's own code raises
        raise InputError(f"data.prompt: chat: the tokenizer's chat template fails: {error}") from error
    before, mark, after = prompt.partition(_USER_MARK)
    _, answer_mark, behind = whole.partition(_ASSISTANT_MARK)
    if not mark or not answer_mark or _USER_MARK in after:
        raise InputError("data.prompt: chat: the tokenizer's chat template does not hold each turn's text once")
    closing = tokenizer(behind, add_special_tokens=False)["input_ids"][:1]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    end = closing[0] if closing and closing[0] in special else tokenizer.eos_token_id
    return cls(tokenizer, before, after, (), end, space=False)
