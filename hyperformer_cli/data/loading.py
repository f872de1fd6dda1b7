"""From a recipe's data section to the tokenised examples of a task's split."""

from collections.abc import Iterable, Sequence

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hyperformer_cli.backbones import hub
from hyperformer_cli.config.recipe import DataSection, Recipe
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of, split_rows
from hyperformer_cli.data.tokenization import Tokenization, TokenizedSplit
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema.section import SplitName
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.tasks.template import template_parts

DatasetsByTask = dict[str, TokenizedSplit]


def tokenization(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Tokenization:
    """The tokenization of a recipe's text."""
    lengths = recipe.data.max_source_length, recipe.data.max_target_length
    return Tokenization(tokenizer, *lengths, task_prefix=recipe.adapter.needs_task_prefix)


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
    """The tokenizer, if it has the special tokens that batches need.

    Raises:
        InputError: it has none, for example because `tokenizer_config.json` is missing.
    """
    for name, token in (("padding", tokenizer.pad_token_id), ("end-of-sequence", tokenizer.eos_token_id)):
        if token is None:
            raise InputError(f"{origin}: the tokenizer has no {name} token; is tokenizer_config.json missing there?")
    return tokenizer


def load_splits(
    recipe: Recipe, tasks: Iterable[Task], split: SplitName, tokenizer: PreTrainedTokenizerBase
) -> DatasetsByTask:
    """Every task's examples in one role."""
    text_to_ids = tokenization(recipe, tokenizer)
    return {task.name: load_split(task, split, recipe.data, text_to_ids, recipe.seed) for task in tasks}


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
    selected = split_rows(task, split, rows, data.protocol, data.samples_per_task, seed)
    if not selected:
        source = source_split_of(task, split)
        raise InputError(f"'{task.name}': the {rows} rows of its {source} split leave none for {split}")
    return selected


def check_texts(
    tasks: Iterable[Task], with_prefixes: bool, tokenizer: PreTrainedTokenizerBase, data: DataSection
) -> None:
    """Checks that inputs are not cut to nothing, and that a model can spell every label.

    If tasks are told apart by their prefixes, these must differ.

    Raises:
        InputError: no room for a row's text behind what all inputs of a task begin with; a label text that the
            tokenizer cannot spell, or that does not fit; prefixes that are alike.
    """
    if with_prefixes:
        check_prefixes(tasks, tokenizer)
    for task in tasks:
        beginning = template_parts(task.input_template(with_prefixes))[0][0].strip()
        taken = len(tokenizer(beginning)["input_ids"])  # with the end-of-sequence token
        if taken >= data.max_source_length:
            first = f": inputs of task '{task.name}' begin with {beginning!r}" if beginning else ""
            raise InputError(
                f"data.max_source_length: {data.max_source_length} tokens leave nothing of a row's text{first} "
                f"({taken} tokens, with the end of the sequence)"
            )
        length = task.max_target_length or data.max_target_length
        for label in task.label_texts:
            ids = tokenizer(text_target=label, max_length=length, truncation=True)["input_ids"]
            text = tokenizer.batch_decode([ids], skip_special_tokens=True)[0]
            if text.strip() != label:
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


def longest_target(tasks: Iterable[Task], tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The number of new tokens each task's predictions may have: its longest target without the end-of-sequence token.

    As in the reference, whose limit counts the decoder's start token instead. Where a task's targets cannot be listed,
    its `max_target_length` is the longest.
    """
    longest = {}
    for task in tasks:
        length = task.max_target_length or max(map(len, tokenizer(list(task.possible_targets()))["input_ids"]))
        longest[task.name] = max(1, length - 1)
    return longest
