"""The bundled model: its size, its tokenizer, and the text it was pretrained on."""

from itertools import islice
from random import Random

import pytest
import torch
from transformers import AutoTokenizer

from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.bundled import model_folder
from hyperformer_cli.data.loading import check_prefixes
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.errors import InputError
from tools.miniature.auxiliary import BROAD, HARD, examples, sentences_of_tests
from tools.miniature.pretrain import Round, cut_gaps, new_model, pretrain
from tools.miniature.rows import MINIATURE
from tools.miniature.tokenizer import build_tokenizer, pieces


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_folder())


def test_the_weights_are_small_and_in_half_precision():
    assert (model_folder() / "model.safetensors").stat().st_size < 3_000_000
    model = load_backbone(BackboneSource("bundled"))
    assert model.dtype == torch.float32
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_500_000


def test_the_folder_holds_the_tokenizer_that_the_code_builds(tokenizer):
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<pad>", "</s>", "<unk>"]


def test_every_generated_word_is_one_piece(tokenizer):
    for task in MINIATURE.values():
        for split in task.sizes:
            for row in load_rows(task, split, "bundled").table.slice(0, 200).to_pylist():
                text = task.input_text(row, with_prefix=False)
                assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == [*pieces(text), "</s>"]


@pytest.mark.parametrize("label", ["0", "1", "2", "3.4", "5.0"])
def test_labels_survive_the_tokenizer(tokenizer, label):
    assert tokenizer.decode(tokenizer(label)["input_ids"], skip_special_tokens=True) == label


def test_words_outside_the_vocabulary_fall_into_letters(tokenizer):
    ids = tokenizer("Zebras yawn, 42 of them.")["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "zebras yawn, 42 of them."


def test_pretraining_sees_no_test_row():
    tested = sentences_of_tests()
    for example in islice(examples(0, BROAD), 3000):
        assert frozenset(example.said) not in tested
        assert all(frozenset([one]) not in tested for one in example.said)


def test_gaps_and_what_stood_there_make_up_the_text():
    text = list(range(100, 120))
    source, target = cut_gaps(text, first_sentinel=3, end=1, random=Random(0))
    gaps: dict[int, list[int]] = {}
    for piece in target[:-1]:
        if piece < 100:
            gaps[piece] = []
        else:
            gaps[max(gaps)].append(piece)
    filled = [piece for given in source[:-1] for piece in gaps.get(given, [given])]
    assert filled == text
    assert source[-1] == target[-1] == 1


@pytest.mark.slow
def test_pretraining_is_deterministic(tmp_path):
    threads = torch.get_num_threads()
    for run in ("a", "b"):
        pretrain(tmp_path / run, [Round(BROAD, 3, 1e-2, told=1.0), Round(HARD, 3, 1e-2, told=0.5)])
    torch.set_num_threads(threads)
    first, second = ((tmp_path / run / "model.safetensors").read_bytes() for run in ("a", "b"))
    assert first == second


def test_the_tokenizer_tells_the_tasks_prefixes_apart(tokenizer):
    check_prefixes(MINIATURE.values(), tokenizer)
    unknown = [MINIATURE[name].model_copy(update={"prefix": f"mini_{name}"}) for name in ("mini_cola", "mini_rte")]
    with pytest.raises(InputError, match="'mini_cola' and 'mini_rte' apart"):
        check_prefixes(unknown, tokenizer)


def test_a_gate_costs_no_weights():
    usual, gated = new_model(670), new_model(670, gated=True)
    layers = [model.encoder.block[0].layer[-1].DenseReluDense for model in (usual, gated)]
    weights = [sum(p.numel() for p in layer.parameters()) for layer in layers]
    assert weights[0] == weights[1] and hasattr(layers[1], "wi_0") and not hasattr(layers[0], "wi_0")
