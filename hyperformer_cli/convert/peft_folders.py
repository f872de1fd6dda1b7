"""LoRA folders of PEFT, one per task, as one run of stored adapters."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hyperformer_cli.adapters.banks import StoredBank
from hyperformer_cli.adapters.linear_maps import LinearMap, linear_maps, shortest_targets
from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.backbones.families import family_of
from hyperformer_cli.backbones.source import BackboneSource, load_backbone
from hyperformer_cli.bundled import folder_of
from hyperformer_cli.config.loading import build_recipe
from hyperformer_cli.config.recipe import Recipe
from hyperformer_cli.convert.converted_run import target_of, write_run
from hyperformer_cli.data.loading import load_tokenizer
from hyperformer_cli.errors import InputError, did_you_mean
from hyperformer_cli.runs.folder import RunFolder
from hyperformer_cli.storage.manifest import sha256_of_file
from hyperformer_cli.storage.peft import WEIGHTS_FILE, PeftLora, is_peft_folder, read_peft, with_rank


def holds_peft_folders(folder: Path) -> bool:
    """Whether it is a PEFT folder, or a folder of such folders."""
    return folder.is_dir() and (is_peft_folder(folder) or any(map(is_peft_folder, folder.iterdir())))


def convert_peft(folder: Path, recipe: Recipe, to: Path | None = None) -> RunFolder:
    """Makes a run folder of LoRA folders.

    Args:
        folder: with a PEFT folder of its name for every task of the recipe; with a single task also that task's.
        recipe: backbone and tasks. Its adapter section is replaced by what the folders hold: stored LoRA, of rank,
            alpha and modules that cover all of them. `shared_by_tasks` stays, if all tasks have the same LoRA.
        to: a folder that does not exist; the recipe's `output_dir` by default.

    Raises:
        InputError: a task has no folder; a folder is damaged, more than a plain LoRA, or of another backbone; the
            target exists.
    """
    run, recipe = target_of(recipe, to)
    folders = _folder_of_tasks(folder, recipe)
    loras = {task: read_peft(path) for task, path in folders.items()}
    for task, lora in loras.items():
        _check_base_model(folders[task], lora, recipe)
    source = BackboneSource.from_recipe(recipe)
    backbone = load_backbone(source)
    maps = {one.name: one for one in linear_maps(backbone, family_of(backbone.config))}
    for task, lora in loras.items():
        _check_fits(folders[task], lora, maps)
    common = _Common.of(loras)
    names = [name for name in maps if any(name in lora.matrices for lora in loras.values())]
    shared = bool(recipe.adapter.shared_by_tasks)
    recipe = build_recipe(
        {
            **recipe.as_dict(),
            "adapter": {
                "method": "adapters",
                "form": "lora",
                "rank": common.rank,
                "alpha": common.alpha,
                "dropout": max(lora.dropout for lora in loras.values()),
                "target_modules": shortest_targets(backbone, names),
                "shared_by_tasks": shared,
            },
        }
    )
    model = AdaptedModel.attach(backbone, recipe.adapter, source.resolved(backbone)).eval()
    assert isinstance(model.bank, StoredBank)
    tensors = {task: common.tensors(lora, [maps[name] for name in names]) for task, lora in loras.items()}
    if shared:
        _check_all_the_same(folder, tensors)
    for number, own in enumerate(tensors.values()):
        model.bank.set_adapters(number, own)
    hashes = {task: sha256_of_file(path / WEIGHTS_FILE) for task, path in folders.items()}
    write_run(run, recipe, model, load_tokenizer(recipe), {"peft": hashes})
    return run


def _folder_of_tasks(folder: Path, recipe: Recipe) -> dict[str, Path]:
    tasks = recipe.task_names
    if is_peft_folder(folder):
        if len(tasks) > 1:
            raise InputError(
                f"{folder}: one LoRA, and the recipe has {len(tasks)} tasks: give a folder with one such folder per "
                "task, or set tasks to the one it was trained on"
            )
        return {tasks[0]: folder}
    present = [path.name for path in folder.iterdir() if is_peft_folder(path)]
    for task in tasks:
        if task not in present:
            raise InputError(f"{folder}: no PEFT folder of task '{task}'; {did_you_mean(task, present)}")
    return {task: folder / task for task in tasks}


def _check_base_model(folder: Path, lora: PeftLora, recipe: Recipe) -> None:
    """By the last part of both names: a folder of this machine may hold what the hub calls otherwise."""
    ours = recipe.model.name
    if lora.base_model is None or ours is None:
        return
    theirs, mine = (Path(folder_of(name)).name.lower() for name in (lora.base_model, ours))
    if theirs not in (mine, "backbone"):  # what --with-backbone writes
        raise InputError(
            f"{folder}: a LoRA of '{lora.base_model}', and the recipe's backbone is '{ours}'. If they are the same "
            "model, correct base_model_name_or_path in its adapter_config.json"
        )


def _check_fits(folder: Path, lora: PeftLora, maps: Mapping[str, LinearMap]) -> None:
    for name, (a, b) in lora.matrices.items():
        if name not in maps:
            raise InputError(
                f"{folder}: adapts {name}, and no layer of the recipe's backbone has such a linear map; is it a LoRA "
                "of another model?"
            )
        site = maps[name].site
        if (a.shape[1], b.shape[0]) != (site.input_width, site.output_width):
            raise InputError(
                f"{folder}: {name} is {b.shape[0]} x {a.shape[1]} there, {site.output_width} x {site.input_width} in "
                "the recipe's backbone: a LoRA of another model"
            )


@dataclass(frozen=True)
class _Common:
    """The rank and alpha of the run, in whose terms every LoRA is written."""

    rank: int
    alpha: float

    @classmethod
    def of(cls, loras: Mapping[str, PeftLora]) -> "_Common":
        rank = max(lora.rank for lora in loras.values())
        return cls(rank, rank * max(lora.alpha / lora.rank for lora in loras.values()))

    def tensors(self, lora: PeftLora, maps: list[LinearMap]) -> dict[str, Tensor]:
        """A task's adapters by `<stack>.<layer>.<path>.<tensor>`; zero at maps that it leaves alone."""
        factor = (lora.alpha / lora.rank) / (self.alpha / self.rank)
        found: dict[str, Tensor] = {}
        for one in maps:
            zero = torch.zeros(self.rank, one.site.input_width), torch.zeros(one.site.output_width, self.rank)
            a, b = lora.matrices.get(one.name, zero)
            a, b = with_rank(a, b if factor == 1 else factor * b, self.rank)
            found |= {f"{one.site.path}.lora_A": a, f"{one.site.path}.lora_B": b}
        return found


def _check_all_the_same(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    first, *others = tensors
    for task in others:
        if not all(torch.equal(tensors[first][name], tensor) for name, tensor in tensors[task].items()):
            raise InputError(
                f"{folder}: the LoRA of '{task}' is not that of '{first}', so they cannot be shared_by_tasks; set "
                "adapter.shared_by_tasks=false"
            )
