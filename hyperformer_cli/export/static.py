"""`--format static`: every task's adapters as plain tensors, and how to use them without this package."""

import shutil
from pathlib import Path

from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.data.loading import longest_target
from hyperformer_cli.errors import InputError
from hyperformer_cli.export.source import ExportSource
from hyperformer_cli.export.static_readme import static_readme
from hyperformer_cli.export.verification import Comparison, compare_models
from hyperformer_cli.storage.atomic import write_text
from hyperformer_cli.storage.trained import read_description


def export_static(source: ExportSource, folder: Path) -> list[Path]:
    """Writes the adapters, the layer norms, the tokenizer, the recipe and a README with working code.

    Raises:
        InputError: the method has no adapters to write.
    """
    if source.recipe.adapter.method == "finetune":
        raise InputError(
            f"{source.run.path}: finetune has no adapters: what it trained is a whole T5. Share the run with --format "
            f"hub, or write a model for transformers alone: AdaptedModel.from_pretrained('{source.run.weights()}')"
            ".backbone.save_pretrained(FOLDER)"
        )
    lengths = longest_target(source.declared.values(), source.tokenizer)
    about = {
        name: {
            "input": task.input_template(source.recipe.adapter.needs_task_prefix),
            "labels": list(task.label_texts),
            "label_names": list(task.label_names),
            "metrics": list(task.metrics),
            "max_new_tokens": lengths[name],
        }
        for name, task in source.declared.items()
    }
    description = read_description(source.run.weights())  # hashed as it was loaded, before it was made float32
    files = source.model.save_static(folder, source.tasks, about, description)
    source.tokenizer.save_pretrained(folder)
    shutil.copyfile(source.run.recipe_file, folder / "recipe.yaml")
    write_text(folder / "README.md", static_readme(source))
    written = {*files, *(path for path in folder.iterdir() if path.is_file())}
    return sorted(written)


def verify_static(source: ExportSource, folder: Path) -> Comparison:
    """Compares the run with the model that `AdaptedModel.from_pretrained` makes of the folder."""
    return compare_models(source, AdaptedModel.from_pretrained(folder, source.given_backbone()).float().eval())
