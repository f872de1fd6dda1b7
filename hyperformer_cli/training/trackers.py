"""Experiment trackers: what a run tells TensorBoard, Weights & Biases and the others that accelerate knows."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hyperformer_cli.config.recipe import Recipe


class Trackers:
    """The trackers of `training.report_to`; nothing happens where there are none.

    Names are `train/loss`, `train/loss/<task>`, `validation/<task>/<metric>`, `validation/average`, and, once the best
    weights have been scored, `final/<split>/<task>/<metric>` and `final/<split>/average`.
    """

    def __init__(self, recipe: Recipe, accelerator: Accelerator):
        self._recipe, self._accelerator = recipe, accelerator
        self._names = recipe.training.report_to if accelerator.is_main_process else []

    def start(self, step: int) -> None:
        """Opens the trackers of a run that has reached a step: what they were told of later ones does not count."""
        if not self._names:
            return
        # A resumed run makes these steps again. TensorBoard then drops what it has of them; Weights & Biases continues
        # the run of this id and takes every step once.
        run = hashlib.sha256(str(Path(self._recipe.output_dir).resolve()).encode()).hexdigest()[:16]
        options = {"tensorboard": {"purge_step": step + 1}, "wandb": {"id": run, "resume": "allow"}}
        self._accelerator.init_trackers(
            self._recipe.name,
            config={"recipe": str(self._recipe.as_dict())},
            init_kwargs={name: options[name] for name in self._names if name in options},
        )

    def log(self, record: Mapping[str, Any]) -> None:
        """Passes on a line of metrics.jsonl, of a kind `training` or `evaluation`."""
        if record["kind"] == "training":
            numbers = ("loss", "learning_rate", "gradient_norm", "examples_per_second", "padding")
            found = {f"train/{name}": record[name] for name in numbers}
            found |= {f"train/loss/{task}": loss for task, loss in record["loss_by_task"].items()}
        else:
            found = _scores("validation", record["results"], record["average"])
        self._log(found, record["step"])

    def log_final(
        self, step: int, scores: Sequence[Mapping[str, Any]], average: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Passes on the scores of the best weights, and the averages of each split, at the run's last step."""
        found: dict[str, float] = {}
        for split, averages in average.items():
            own = [score for score in scores if score["split"] == split]
            found |= _scores(f"final/{split}", own, averages["metrics"])
        self._log(found, step)

    def _log(self, values: dict[str, float], step: int) -> None:
        if self._names:
            self._accelerator.log(values, step=step)

    def finish(self) -> None:
        """Closes the trackers. Accelerate's `end_training` would also end the processes' group, which is needed."""
        if self._names:
            for tracker in self._accelerator.trackers:
                tracker.finish()


def _scores(prefix: str, scores: Sequence[Mapping[str, Any]], average: float) -> dict[str, float]:
    found = {f"{prefix}/{score['task']}/{score['metric']}": score["value"] for score in scores}
    return {**found, f"{prefix}/average": average}
