"""Prompts of decoder-only models: what is cut, where targets begin and end, chat templates, conversations."""

import logging
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from hyperformer_cli.backbones.layouts import DecoderOnlyLayout
from hyperformer_cli.data.encoding import DEFAULT_PROMPT, OneSequence, TwoSequences
from hyperformer_cli.data.loading import check_texts, longest_target, make_encoding
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.tokenization import Tokenization
from hyperformer_cli.errors import InputError
from hyperformer_cli.tasks.registry import get_task
from hyperformer_cli.tasks.task import Task

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% if enable_thinking is false %}<think></think>{% endif %}"
    "{% endif %}{% if strftime_now is defined and date_string is not defined %}{{ strftime_now('%s') }}{% endif %}"
)


def byte_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """Byte-level, as GPT-2's, Llama 3's and Qwen's: every byte is a token, a space belongs to what follows it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "</s>", "<|turn|>", "<|end|>", "<think>", "</think>"]
    model = models.BPE({piece: i for i, piece in enumerate(tokens + alphabet)}, [])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if "bos_token" in special:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", **special)
    fast.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|end|>"]})
    fast.chat_template = CHAT_TEMPLATE
    return fast


@pytest.fixture
def llama() -> PreTrainedTokenizerFast:
    """Puts a first token before every text and has no padding token, as Llama's."""
    return byte_tokenizer(bos_token="<s>")


def test_prompt_and_target_are_what_generation_continues(llama: PreTrainedTokenizerFast) -> None:
    encoding = OneSequence.of_prompt(llama, "Q: {input}\nA:")
    (prompt,), (target,) = encoding.inputs(["is it {so}?"], 64), encoding.targets(["yes"], 64)
    assert llama.decode(prompt) == "<s>Q: is it {so}?\nA:"
    assert llama.decode(target) == " yes</s>"  # a space, which the prompt does not end in
    assert OneSequence.of_prompt(llama, "{input}\n").targets(["yes"], 64) == [[*llama("yes")["input_ids"][1:], 1]]
    assert encoding.pad_id == llama.eos_token_id  # there is none; the attention mask tells padding
    gpt2 = byte_tokenizer()
    assert gpt2.decode(OneSequence.of_prompt(gpt2, "{input}:").inputs(["so"], 64)[0]) == "so:"


def test_a_tokenizer_of_encoder_decoders_ends_no_prompt(tokenizer_folder: Path) -> None:
    t5 = AutoTokenizer.from_pretrained(tokenizer_folder)
    encoding = OneSequence.of_prompt(t5, "{input} is")
    assert t5("the cat is")["input_ids"] == [*encoding.inputs(["the cat"], 64)[0], t5.eos_token_id]
    assert encoding.targets(["new"], 64) == [t5("new")["input_ids"]]  # it puts the space itself, and the end
    assert longest_target([get_task("stsb")], encoding) == longest_target([get_task("stsb")], TwoSequences(t5))


@pytest.mark.parametrize("text", ["a" * 40, "é" * 20, "a b " * 10])
def test_a_long_input_loses_its_end_and_the_prompt_loses_nothing(text: str, llama: PreTrainedTokenizerFast) -> None:
    encoding = OneSequence.of_prompt(llama, "Question: {input}\nAnswer:")
    (whole,) = encoding.inputs([text], 200)
    for limit in (20, 25, 30):
        (ids,) = encoding.inputs([text], limit)
        assert len(ids) == limit
        kept = limit - len("Question: \nAnswer:") - 1
        assert ids == whole[: 11 + kept] + whole[-len("\nAnswer:") :]
    assert encoding.inputs([text], len(whole)) == [whole]
    with pytest.raises(InputError, match=r"19 tokens leave nothing of the text.*takes 19"):
        encoding.inputs([text], 19)


def test_chat_is_the_tokenizers_template(llama: PreTrainedTokenizerFast) -> None:
    encoding = OneSequence.of_prompt(llama, "chat")
    (prompt,), (target,) = encoding.inputs([" so? "], 128), encoding.targets(["yes"], 64)
    messages = [{"role": "user", "content": "so?"}]
    expected = llama.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False, date_string="26 Jul 2024"
    )
    assert llama.decode(prompt) == expected
    assert prompt.count(llama.bos_token_id) == 1  # the template's own, not a second one
    assert llama.decode(target) == "yes<|end|>"  # what ends the assistant's turn in the template
    ends = [1, llama.convert_tokens_to_ids("<|end|>")]
    options = encoding.decoding(GenerationConfig(eos_token_id=1))
    assert options == {"eos_token_id": ends, "pad_token_id": encoding.pad_id}
    assert encoding.decoding(GenerationConfig(eos_token_id=ends[::-1], pad_token_id=encoding.pad_id)) == {}
    llama.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        OneSequence.of_prompt(llama, "chat")
    llama.chat_template = "{{ raise_exception('no users here') }}"
    with pytest.raises(InputError, match="no users here"):
        OneSequence.of_prompt(llama, "chat")
    llama.chat_template = "nothing of it"
    with pytest.raises(InputError, match="does not hold each turn's text once"):
        OneSequence.of_prompt(llama, "chat")


def test_answers_are_decoded_plainly_whatever_a_checkpoint_was_tuned_for(tokenizer_folder: Path) -> None:
    torch.manual_seed(0)
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    bart = BartForConditionalGeneration(
        BartConfig(**shape, vocab_size=300, pad_token_id=0, eos_token_id=1, decoder_start_token_id=1)
    ).eval()
    bart.generation_config.forced_eos_token_id = None
    encoding = TwoSequences(AutoTokenizer.from_pretrained(tokenizer_folder))
    inputs = {"input_ids": torch.tensor([encoding.inputs(["the cat sees the dog"], 32)[0]]), "max_new_tokens": 6}
    assert encoding.decoding(bart.generation_config) == {}
    plain = bart.generate(**inputs, num_beams=2).tolist()
    bart.generation_config.update(
        forced_eos_token_id=1, min_length=4, repetition_penalty=9.0, no_repeat_ngram_size=1, length_penalty=3.0,
        early_stopping=True, eos_token_id=[7, 1],
    )  # fmt: skip
    assert bart.generate(**inputs, num_beams=2).tolist() != plain
    assert bart.generate(**inputs, num_beams=2, **encoding.decoding(bart.generation_config)).tolist() == plain


def test_a_conversation_is_a_row(llama: PreTrainedTokenizerFast) -> None:
    task = Task(name="talk", messages="messages")
    messages = [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "How are you?"},
        {"role": "assistant", "content": "Fine."}, {"role": "user", "content": "Since when?"},
        {"role": "assistant", "content": "Monday."},
    ]  # fmt: skip
    row = {"messages": messages}
    assert task.target_text(row) == "Monday." and task.columns == ["messages"]
    assert task.model_input(row, False) == task.model_input({"messages": messages[:-1]}, False)
    encoding = OneSequence.of_prompt(llama, "chat")
    (ids,) = encoding.inputs([task.model_input(row, False)], 500)
    options = {"add_generation_prompt": True, "enable_thinking": False, "date_string": "26 Jul 2024"}
    expected = llama.apply_chat_template(messages[:-1], tokenize=False, **options)
    assert llama.decode(ids) == expected
    (shorter,) = encoding.inputs([task.model_input(row, False)], len(ids) - 5)
    assert llama.decode(shorter) == expected.replace(
        "<|turn|>user\nHow are you?<|end|>\n<|turn|>assistant\nFine.<|end|>\n", ""
    )
    (cut,) = encoding.inputs([task.model_input(row, False)], len(shorter) - 3)
    assert llama.decode(cut) == llama.decode(shorter).replace("Since when?", "Since wh")
    plain = OneSequence.of_prompt(llama, DEFAULT_PROMPT).inputs([task.model_input(row, True)], 500)
    text = "<s>system: Be brief.\nuser: How are you?\nassistant: Fine.\nuser: talk Since when?\nanswer:"
    assert llama.decode(plain[0]) == text
    for wrong in ("text", [], [{"role": "user"}], [{"role": "bot", "content": "a"}], messages[:3][::-1], None):
        with pytest.raises(InputError, match="column 'messages'"):
            task.model_input({"messages": wrong}, False)
    with pytest.raises(InputError, match="not the assistant's"):
        task.target_text({"messages": messages[:-1]})
    with pytest.raises(ValueError, match="leave out template"):
        Task(name="talk", messages="messages", template="{text}")


def test_targets_that_are_cut_are_named(
    llama: PreTrainedTokenizerFast, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "".join(f'{{"a": "x", "b": "{"y" * n}"}}\n' for n in (3, 4, 9))
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
    for file in files.values():
        Path(file).write_text(rows)
    task = Task(name="copy", template="{a}", target="{b}", files=files, max_target_length=6)
    tokenization = Tokenization(OneSequence.of_prompt(llama, DEFAULT_PROMPT), 64, 64, task_prefix=False)
    for _ in range(2):  # tokenised, and read from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            split = tokenization.apply(task, load_rows(task, "train", ""))
        (message,) = [record.getMessage() for record in caplog.records]
        assert "train.jsonl: 1 of 3 targets of task 'copy' are longer than 6 tokens" in message
    assert [split.target_ids(row)[-1] == llama.eos_token_id for row in range(3)] == [True, True, False]
    with pytest.raises(InputError, match="turns label"):
        check_texts([Task(name="long", template="{a}", labels=["yyyyyy", "n"], max_target_length=7)], tokenization)


def test_prompts_are_for_decoder_only_models(llama: PreTrainedTokenizerFast, tokenizer_folder: Path) -> None:
    from hyperformer_cli.backbones.families.t5 import T5

    t5 = AutoTokenizer.from_pretrained(tokenizer_folder)
    with pytest.raises(InputError, match=r"data\.prompt is for decoder-only models"):
        make_encoding(t5, T5.layout, "{input}:")
    with pytest.raises(InputError, match="no padding token"):
        make_encoding(llama, T5.layout, None)
    assert make_encoding(llama, DecoderOnlyLayout(), None).key[:2] == ("", "\nanswer:")


def test_nothing_of_the_prompt_is_in_the_labels() -> None:
    prompts, targets = [[5, 6, 7, 8], [9], [5, 6]], [[4, 1], [3, 4, 4, 1], [1]]
    batch = DecoderOnlyLayout().training_batch(prompts, targets, pad_id=1)  # which is the end token too
    assert batch["labels"].tolist() == [[4, 1, -100, -100], [3, 4, 4, 1], [1, -100, -100, -100]]
    for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
        length = int(batch["attention_mask"][row].sum())
        assert batch["input_ids"][row, :length].tolist() == [*prompt, *target[:-1]]
        places = batch["logits_to_keep"][row, : len(target)].tolist()
        assert places == list(range(len(prompt) - 1, length))
        assert torch.equal(batch["attention_mask"][row].sort(descending=True).values, batch["attention_mask"][row])
