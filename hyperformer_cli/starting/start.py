"""`hyperformer init`: from a file of rows to a recipe, a task and three splits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hyperformer_cli.bundled import BUNDLED
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.data.encoding import Encoding
from hyperformer_cli.data.loading import check_texts, tokenization_of
from hyperformer_cli.data.report import TaskReport, report_on_rows
from hyperformer_cli.data.sources import load_rows
from hyperformer_cli.data.splits import source_split_of
from hyperformer_cli.data.tokenization import Tokenization, formatted_rows
from hyperformer_cli.errors import InputError
from hyperformer_cli.schema import yaml_lines
from hyperformer_cli.schema.explain import explain
from hyperformer_cli.schema.section import SPLITS, SplitName
from hyperformer_cli.starting import columns as guesses
from hyperformer_cli.starting import texts as written
from hyperformer_cli.starting.rows import Cleaned, assign_roles, clean
from hyperformer_cli.starting.settings import starting_settings
from hyperformer_cli.starting.sheet import SUFFIXES, Sheet, read_sheet
from hyperformer_cli.starting.tokens import fitting_length, label_texts, lengths_of, longest_input
from hyperformer_cli.starting.writing import check_new, csv_text
from hyperformer_cli.storage.atomic import write_text
from hyperformer_cli.tasks.metrics import Kind
from hyperformer_cli.tasks.registry import check_is_new, get_task
from hyperformer_cli.tasks.task import Task
from hyperformer_cli.tasks.template import is_template

_FILES = {"training": "train", "valid": "validation", "val": "validation", "dev": "validation", "eval": "validation"}
_HUB_LENGTH, _HUB_ROWS = 128, 10_000  # taken for data that are not on this machine


@dataclass(frozen=True)
class Request:
    """What is asked for; None is guessed from the data.

    Attributes:
        data: a file of rows, or a folder with one per split.
        model: a name on the hub, a folder, or `bundled`.
        label, texts, kind: the column to predict, those to read, what is predicted.
        group: a column whose values are not to be divided between splits.
        validation, test: files of rows that are already held out.
        beside: other tasks that train with it.
        name: of the task and the files; the data's by default.
        to: the folder that is written into.
        force: whether files that exist are replaced.
    """

    data: Path
    model: str
    label: str | None = None
    texts: Sequence[str] | None = None
    kind: Kind | None = None
    group: str | None = None
    validation: Path | None = None
    test: Path | None = None
    beside: Sequence[str] = ()
    name: str | None = None
    to: Path = Path()
    seed: int = 42
    force: bool = False


@dataclass(frozen=True)
class Start:
    """What was found and written.

    Attributes:
        sheets: the files that were read.
        texts, label, kind, labels: columns, what is predicted, and rows by label.
        cleaned: which rows were left out.
        renamed: columns whose names no template can hold, with their new names.
        recipe: the one that was written.
        report: on the task's data.
        files: what was written, the recipe first.
    """

    sheets: list[Sheet]
    texts: list[str]
    label: str
    kind: Kind
    labels: Counter[str]
    cleaned: Cleaned
    renamed: dict[str, str]
    recipe: Recipe
    report: TaskReport
    files: list[Path]


def start(request: Request) -> Start:
    """Writes `NAME.yaml`, `NAME_task.yaml` and `NAME/<split>.csv`.

    Raises:
        InputError: the data, a column or the model cannot be used, or a file exists; nothing has been written.
    """
    paths = _files_of(request)
    sheets = {role: read_sheet(path) for role, path in paths.items()}
    name = guesses.valid_name(request.name or request.data.stem)
    recipe_file, task_file = request.to / f"{name}.yaml", request.to / f"{name}_task.yaml"
    split_files = {split: request.to / name / f"{split}.csv" for split in SPLITS if split in sheets or len(sheets) == 1}
    files = [recipe_file, task_file, *split_files.values()]
    check_new(files, list(paths.values()), request.force)

    first = sheets["train"]
    text_columns, label, kind = _columns(request, list(sheets.values()))
    cleaned = clean(list(sheets.values()), text_columns, label, kind, are_split=len(sheets) > 1)
    counts = Counter(row[label] for rows in cleaned.rows for row in rows) if kind != "text" else Counter()
    if kind == "labels" and len(counts) < 2:
        found = ", ".join(counts) or "none"
        raise InputError(f"column '{label}' has fewer than two labels with {guesses.FEWEST} rows or more: {found}")
    by_split = _by_split(cleaned, list(sheets), text_columns, label, kind, request)
    renamed = _new_names(text_columns, first.columns)

    others = [get_task(other) for other in request.beside]
    encoding = _encoding(request, name)
    values = _task_values(name, split_files, [renamed.get(c, c) for c in text_columns], label, kind, counts, request)
    if kind == "labels" and (texts := label_texts(values["labels"], encoding)) != values["labels"]:
        values |= {"labels": dict(zip(values["labels"], texts, strict=True)), "label_names": values["labels"]}
    train = [{renamed.get(key, key): value for key, value in row.items()} for row in by_split["train"]]
    if kind == "text":
        values["max_target_length"] = fitting_length(lengths_of([row[label] for row in train], encoding))
    task = _task(values)

    source = _source(others, request.model)
    own_length = fitting_length(lengths_of([task.input_text(row, False) for row in train], encoding))
    sizes, lengths = [len(train)], [own_length]
    for other in others:
        size, length = _size_and_length(other, source, encoding)
        sizes.append(size)
        lengths.append(length)
    length = min(max(lengths), longest_input(encoding))
    settings = starting_settings(request.model, sizes, length)
    task_text = written.task_text(values, task)
    recipe_text = written.recipe_text(
        recipe_file, task_file, name, request.model, request.beside, source, length, settings
    )
    recipe = _checked(recipe_text, values, str(recipe_file))
    text_to_ids = Tokenization(encoding, recipe.data.max_source_length, recipe.data.max_target_length, False)
    check_texts([task, *others], text_to_ids)

    for split, file in split_files.items():
        rows = [{renamed.get(key, key): value for key, value in row.items()} for row in by_split[split]]
        write_text(file, csv_text(rows))
    write_text(task_file, task_text)
    write_text(recipe_file, recipe_text)
    report = report_on_rows(task, recipe.data, recipe.seed, False, text_to_ids)
    return Start(list(sheets.values()), text_columns, label, kind, counts, cleaned, renamed, recipe, report, files)


def _files_of(request: Request) -> dict[SplitName, Path]:
    """The files to read by their role; a single one is `train`."""
    found: dict[str, Path] = {"train": request.data}
    if request.data.is_dir():
        found = {}
        for path in sorted(request.data.iterdir()):
            role = _FILES.get(path.stem.lower(), path.stem.lower())
            if role in SPLITS and path.suffix.lower() in SUFFIXES:
                if role in found:
                    raise InputError(f"{request.data}: both {found[role].name} and {path.name} are for {role}")
                found[role] = path
        if "train" not in found:
            raise InputError(f"{request.data}: no train file ({', '.join(f'train{suffix}' for suffix in SUFFIXES)})")
    for role, given in (("validation", request.validation), ("test", request.test)):
        if given is not None:
            found[role] = given
    return {role: found[role] for role in SPLITS if role in found}


def _columns(request: Request, sheets: Sequence[Sheet]) -> tuple[list[str], str, Kind]:
    """The columns to read, the column to predict, and what it predicts."""
    first = sheets[0]
    cells = {name: [row.values[name] for row in first.rows] for name in first.columns}
    if request.group is not None:
        guesses.check_column(request.group, first.columns, "--group")
    given = [guesses.check_column(name, first.columns, "--text") for name in request.texts or ()]
    others = {name: values for name, values in cells.items() if name not in (*given, request.group)}
    label = request.label or guesses.guess_label(others)
    guesses.check_column(label, first.columns, "--label")
    texts = given or guesses.guess_texts(cells, besides=[label, *([request.group] if request.group else [])])
    if label in texts:
        raise InputError(f"--text: column '{label}' is the one to be predicted")
    for sheet in sheets[1:]:
        for column in (*texts, label):
            if column not in sheet.columns:
                raise InputError(f"{sheet.path}: no column '{column}', which {first.path} has")
    present = [value.strip() for value in cells[label] if value.strip()]
    if not present:
        raise InputError(f"{first.path}: column '{label}' is empty")
    return texts, label, request.kind or guesses.guess_kind(present)


def _by_split(
    cleaned: Cleaned, roles: Sequence[SplitName], texts: Sequence[str], label: str, kind: Kind, request: Request
) -> dict[SplitName, list[dict[str, str]]]:
    if len(roles) > 1:
        if request.group is not None:
            raise InputError("--group: the data are already split; it is for a single file")
        for role, rows in zip(roles, cleaned.rows, strict=True):
            if not rows:
                raise InputError(f"no row of {role} can be used: {cleaned.left_out[0]}")
        return dict(zip(roles, cleaned.rows, strict=True))
    rows = cleaned.rows[0]
    assigned = assign_roles(rows, texts, label, kind, request.group, request.seed)
    return {split: [row for row, role in zip(rows, assigned, strict=True) if role == split] for split in SPLITS}


def _new_names(texts: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """New names for columns that no template can name, different from all others."""
    renamed: dict[str, str] = {}
    for column in texts:
        new = column if is_template(f"{{{column}}}") else guesses.valid_name(column)
        while new != column and new in (*columns, *renamed.values()):
            new += "_"
        if new != column:
            renamed[column] = new
    return renamed


def _encoding(request: Request, name: str) -> Encoding:
    values = {"name": name, "model": {"name": request.model}, "adapter": {"method": "hyperformer++"}}
    try:
        return tokenization_of(build_recipe({**values, "tasks": ["sst2"]}, {"model": "--model"})).encoding
    except InputError as error:
        tried = "" if request.model == BUNDLED else "; to try it without one, --model bundled is the package's nano T5"
        raise InputError(f"{error}{tried}") from error


def _task_values(
    name: str,
    files: dict[SplitName, Path],
    texts: Sequence[str],
    label: str,
    kind: Kind,
    counts: Counter[str],
    request: Request,
) -> dict[str, Any]:
    """The task's definition but for the texts of its labels; paths that are absolute unless they lie below here."""
    in_place = not request.to.is_absolute() and request.to == Path()
    values: dict[str, Any] = {
        "name": name,
        "files": {split: file.as_posix() if in_place else str(file.resolve()) for split, file in files.items()},
        "template": written.template(texts),
    }
    if kind == "text":
        return {**values, "target": f"{{{label}}}"}
    values["label_column"] = label
    if kind == "labels":
        values["labels"] = guesses.ordered_labels(counts)
        if metrics := guesses.metrics_for(kind, counts):
            values["metrics"] = metrics
    elif (found := guesses.bounds(list(counts))) is not None:
        values["range"] = found
    return values


def _task(values: dict[str, Any]) -> Task:
    try:
        return check_is_new(Task.model_validate(values))
    except ValidationError as error:
        raise InputError("\n".join(explain(error, {}, Task))) from error


def _source(others: Sequence[Task], model: str) -> str:
    """The one `data.source` of a recipe: where the tasks beside the new one are."""
    bundled = [task.name for task in others if task.is_bundled]
    on_hub = [task.name for task in others if not task.is_bundled and task.files is None]
    if bundled and on_hub:
        raise InputError(f"--with: {bundled[0]} is bundled and {on_hub[0]} on the hub; a recipe reads only one of them")
    return BUNDLED if bundled or (model == BUNDLED and not on_hub) else "hub"


def _size_and_length(task: Task, source: str, encoding: Encoding) -> tuple[int, int]:
    """Training rows of a task, and a limit that fits its inputs; guesses where the data are on the hub."""
    split = source_split_of(task, "train")
    if task.files is None and not task.is_bundled:
        return task.sizes.get(split, _HUB_ROWS), _HUB_LENGTH
    texts = [str(text) for some, _ in formatted_rows(task, load_rows(task, split, source), False) for text in some]
    return len(texts), fitting_length(lengths_of(texts, encoding))


def _checked(recipe_text: str, task_values: dict[str, Any], origin: str) -> Recipe:
    """The recipe that the text stands for, with the task in the place of its file, which is not yet written."""
    values, lines = yaml_lines.parse(recipe_text, origin)
    values["tasks"] = [task_values, *values["tasks"][1:]]
    return build_recipe(values, {key: f"{origin}:{line}" for key, line in lines.items()})
