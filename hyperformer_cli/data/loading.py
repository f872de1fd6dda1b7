"""From a recipe's data section to the tokenised examples of a task's split."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hyperformer_cli.backbones import hub
from hyperformer_cli.backbones.layouts import Layout
from hyperformer_cli.backbones.source import recipe_family
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.config.sections import DataSection
from hyperformer_cli.data.encoding import DEFAULT_PROMPT, Encoding, OneSequence, TwoSequences
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of, split_rows
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.tasks.template import template_parts

DatasetsByTask = dict[str, TokenizedSplit]
_UNLIMITED = 2**20  # tokens


def tokenization(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, layout: Layout) -> Tokenization:
    """The tokenization of a recipe's text for models with such a layout.

    Raises:
        InputError: `data.prompt` does not fit the tokenizer, or the model is an encoder-decoder, which has none.
    """
    lengths = recipe.data.max_source_length, recipe.data.max_target_length
    encoding = make_encoding(tokenizer, layout, recipe.data.prompt, recipe.where("data.prompt"))
    return Tokenization(encoding, *lengths, task_prefix=recipe.adapter.needs_task_prefix)


def tokenization_of(recipe: Recipe) -> Tokenization:
    """The tokenization of a recipe's text by its model's tokenizer; see `tokenization` and `load_tokenizer`.

    A folder with a tokenizer alone counts as an encoder-decoder's.
    """
    tokenizer = load_tokenizer(recipe)
    named = recipe.model.name
    if named is not None and hub.is_folder(named) and not (Path(folder_of(named)) / "config.json").is_file():
        lengths = recipe.data.max_source_length, recipe.data.max_target_length
        return Tokenization(TwoSequences(tokenizer), *lengths, task_prefix=recipe.adapter.needs_task_prefix)
    return tokenization(recipe, tokenizer, recipe_family(recipe).layout)


def make_encoding(
    tokenizer: PreTrainedTokenizerBase, layout: Layout, prompt: str | None, where: str = "recipe"
) -> Encoding:
    """How texts become token ids for models with such a layout; `where` is what errors call `prompt`'s place."""
    if layout.joins_target:
        return OneSequence.of_prompt(tokenizer, DEFAULT_PROMPT if prompt is None else prompt)
    if prompt is not None:
        raise InputError(
            f"{where}: data.prompt is for decoder-only models; an encoder-decoder reads the task's input as it is"
        )
    if tokenizer.pad_token_id is None:
        raise InputError(f"{where}: the tokenizer has no padding token; is tokenizer_config.json missing there?")
    return TwoSequences(tokenizer)


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """The tokenizer of the recipe's model, or the one it names.

    Raises:
        InputError: it does not exist, or it is on the hub, which cannot be reached.
    """
    named = recipe.model.tokenizer or recipe.model.name
    assert named is not None  # a recipe without both is not valid
    revision = "main" if recipe.model.tokenizer else recipe.model.revision  # a repository of its own, if named
    where = recipe.where("model.tokenizer")
    try:
        tokenizer = hub.load_named(AutoTokenizer.from_pretrained, named, revision, what="tokenizer")
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return checked_tokenizer(tokenizer, f"{where}: tokenizer '{named}'")


def checked_tokenizer(tokenizer: PreTrainedTokenizerBase, origin: str) -> PreTrainedTokenizerBase:
    """The tokenizer, if it has the end-of-sequence token that targets need.

    Raises:
        InputError: it has none, for example because `tokenizer_config.json` is missing.
    """
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{origin}: the tokenizer has no end-of-sequence token; is tokenizer_config.json missing there?"
        )
    return tokenizer


def load_splits(recipe: Recipe, tasks: Iterable[Task], split: SplitName, tokenization: Tokenization) -> DatasetsByTask:
    """Every task's examples in one role."""
    return {task.name: load_split(task, split, recipe.data, tokenization, recipe.seed) for task in tasks}


def load_split(
    task: Task, split: SplitName, data: DataSection, tokenization: Tokenization, seed: int
) -> TokenizedSplit:
    """One task's examples in one role, tokenised.

    In the paper's protocol `seed` draws `data.samples_per_task` training examples.
    """
    rows = load_rows(task, source_split_of(task, split), data.source)
    return tokenization.apply(task, rows).select(select_rows(task, split, data, rows.table.num_rows, seed))


def select_rows(task: Task, split: SplitName, data: DataSection, rows: int, seed: int) -> Sequence[int]:
    """`split_rows` by a recipe's data section; all there are if fewer than `samples_per_task`.

    Raises:
        InputError: the data set is too small to leave any.
    """
    selected = split_rows(task, split, rows, data.protocol, data.samples_of(task.name), seed)
    if not selected:
        source = source_split_of(task, split)
        raise InputError(f"'{task.name}': the {rows} rows of its {source} split leave none for {split}")
    return selected


def check_texts(tasks: Iterable[Task], tokenization: Tokenization) -> None:
    """Checks that inputs are not cut to nothing, and that a model can spell every label.

    If tasks are told apart by their prefixes, these must differ.

    Raises:
        InputError: no room for a row's text behind what all inputs of a task begin with; a label text that the
            tokenizer cannot spell, or that does not fit; prefixes that are alike.
    """
    encoding, limit, with_prefixes = tokenization.encoding, tokenization.max_source_length, tokenization.task_prefix
    if with_prefixes:
        check_prefixes(tasks, tokenization.tokenizer)
    for task in tasks:
        beginning = template_parts(task.input_template(with_prefixes))[0][0].strip()
        taken = len(encoding.inputs([beginning], _UNLIMITED)[0])
        if taken >= limit:
            first = f": inputs of task '{task.name}' begin with {beginning!r}" if beginning else ""
            raise InputError(
                f"data.max_source_length: {limit} tokens leave nothing of a row's text{first} "
                f"({taken} tokens, with {encoding.surroundings})"
            )
        length = task.max_target_length or tokenization.max_target_length
        for label, ids in zip(task.label_texts, tokenization.target_ids(task, task.label_texts), strict=True):
            text = tokenization.tokenizer.batch_decode([ids], skip_special_tokens=True)[0]
            if text.strip() != label or encoding.count_cut(np.array(ids[-1:])):
                raise InputError(
                    f"task '{task.name}': the tokenizer turns label {label!r} into {text!r} (in at most {length} "
                    "tokens); give it another text"
                )


def check_prefixes(tasks: Iterable[Task], tokenizer: PreTrainedTokenizerBase) -> None:
    """Checks that a model which knows tasks by their prefixes alone can tell them apart.

    Raises:
        InputError: two prefixes have the same tokens, for example words that the tokenizer does not know.
    """
    seen: dict[tuple[int, ...], str] = {}
    for task in tasks:
        ids = tuple(tokenizer(task.prefix or task.name)["input_ids"])
        if ids in seen:
            raise InputError(
                f"the tokenizer cannot tell the prefixes of tasks '{seen[ids]}' and '{task.name}' apart, and without "
                "adapters of their own nothing else does; give them other prefixes"
            )
        seen[ids] = task.name


def longest_target(tasks: Iterable[Task], encoding: Encoding) -> dict[str, int]:
    """The number of new tokens each task's predictions may have: its longest target without the end-of-sequence token.

    As in the reference, whose limit counts the decoder's start token instead. Where a task's targets cannot be listed,
    its `max_target_length` is the longest.
    """
    longest = {}
    for task in tasks:
        length = task.max_target_length or max(map(len, encoding.targets(task.possible_targets(), _UNLIMITED)))
        longest[task.name] = max(1, length - 1)
    return longest
