"""The bundled language model: its size, its tokenizer, and the text it was pretrained on."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.bundled import language_model_folder, model_folder
from hyperformer_cli.config.loading import load_recipe
from tools.miniature.auxiliary import Mixture, examples, sentences_of_tests
from tools.miniature.pretrain_lm import BROAD, HARD, PROMPT, TOLD, Round, encoded, new_model, part_loss, parts, rate
from tools.miniature.tokenizer import build_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(language_model_folder())


def test_the_weights_are_small_and_in_half_precision() -> None:
    assert (language_model_folder() / "model.safetensors").stat().st_size < 3_000_000
    model = load_backbone(BackboneSource("bundled-lm"))
    assert model.config.model_type == "llama"
    assert model.dtype == torch.float32
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_500_000


def test_the_vocabulary_is_the_nano_t5s_and_texts_are_left_open(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(model_folder()).get_vocab()
    text = "The dog did not chase 3.4 cats."
    assert tokenizer(text)["input_ids"] == build_tokenizer()(text)["input_ids"][:-1]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 1, None)


def test_the_recipes_ask_as_the_pretraining_did() -> None:
    assert load_recipe("quickstart_lm").data.prompt == load_recipe("mini_lm/hyperpp").data.prompt == PROMPT


@pytest.mark.parametrize("mixture", [BROAD, HARD])
def test_pretraining_sees_no_test_row(mixture: Mixture) -> None:
    tested = sentences_of_tests()
    for example in islice(examples(0, mixture), 3000):
        assert frozenset(example.said) not in tested
        assert all(frozenset([one]) not in tested for one in example.said)


def test_a_text_is_source_question_answer_and_end(tokenizer: PreTrainedTokenizerBase) -> None:
    said = list(islice(examples(0, BROAD), 1024))
    asked = 0
    for example, (ids, prompt) in zip(said, islice(encoded(iter(said), tokenizer, Random(0)), 1024), strict=True):
        tokens = tokenizer.convert_ids_to_tokens(ids)
        assert tokens[-1] == "</s>"
        if example.target is None:
            assert prompt == 0
            assert ids[:-1] == tokenizer(example.source)["input_ids"]
            continue
        assert ids[: prompt - 2] == tokenizer(example.source)["input_ids"]
        assert tokens[prompt - 2] in ("answer", example.task)
        assert tokens[prompt - 1] == ":"
        assert ids[prompt:-1] == tokenizer(example.target)["input_ids"]
        asked += tokens[prompt - 2] == example.task != "answer"
    others = sum(example.target is not None and example.task != "answer" for example in said)
    assert asked / others == pytest.approx(TOLD, abs=0.08)


def test_the_loss_is_the_weighted_mean_over_rows_one_by_one(tokenizer: PreTrainedTokenizerBase) -> None:
    torch.manual_seed(0)
    model, random = new_model(len(tokenizer)).double(), Random(0)
    ids, weights = next(parts(encoded(examples(0, BROAD), tokenizer, random), 0.25, random))
    ids, weights = ids[:4], weights[:4].double()
    total = 0.0
    for row, own in zip(ids, weights, strict=True):
        kept = int((own > 0).sum())
        logits = model(row[None, :kept]).logits[0]
        losses = F.cross_entropy(logits[:-1], row[1:kept], reduction="none")
        total += (losses * own[1:kept]).sum().item()
        assert set(own.tolist()) <= {0.0, 0.25, 1.0}
    expected = total / float(weights[:, 1:].sum())
    assert part_loss(model, ids, weights).item() == pytest.approx(expected, rel=1e-9)


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    of = Round(BROAD, steps=1000, zero_at=1000, prompt_weight=1.0)
    assert [rate(step, of) for step in (0, 99, 150, 600, 1000)] == pytest.approx([0.01, 1, 1, 0.5, 0])


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    short = (
        "import sys; from pathlib import Path; import torch.distributed as dist\n"
        "from tools.miniature import pretrain_lm as p\n"
        "if dist.is_torchelastic_launched(): dist.init_process_group('gloo')\n"
        "p.pretrain(Path(sys.argv[1]), [p.Round(p.BROAD, 2, 9, 0.25), p.Round(p.HARD, 2, 2, 0.05)])\n"
    )
    script = tmp_path / "short.py"
    script.write_text(short)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for folder, launcher in (("alone", []), ("again", []), ("shared", torchrun)):
        command = [sys.executable, *launcher, str(script), str(tmp_path / folder)]
        subprocess.run(command, env=environment, check=True, cwd=ROOT)
    written = {(tmp_path / name / "model.safetensors").read_bytes() for name in ("alone", "again", "shared")}
    assert len(written) == 1
