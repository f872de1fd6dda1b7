"""Task embeddings of trained runs: nearest neighbours by cosine, and the plane of PCA (the paper's Section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import FewShot, Run
from hyperformer_cli.reporting.groups import Group, distinct_names
from hyperformer_cli.runs.fewshot_files import read_trials
from hyperformer_cli.runs.folder import RunFolder

_TENSOR = "bank.task_embedding"
_NEIGHBOURS = 3


@dataclass(frozen=True)
class TaskEmbeddings:
    """The learned task vectors of one run.

    `vectors` is (tasks, task embedding size); the last `targets` of the tasks were learned in few-shot transfer.
    """

    name: str
    folder: Path
    tasks: tuple[str, ...]
    targets: int
    vectors: np.ndarray

    def is_target(self, index: int) -> bool:
        return index >= len(self.tasks) - self.targets


def read_embeddings(groups: Sequence[Group], fewshot: Sequence[FewShot]) -> list[TaskEmbeddings]:
    """The vectors of each group's first run that has its weights, with those of few-shot targets beside them.

    Raises:
        InputError: a file of weights or few-shot results is damaged.
    """
    having = [group for group in groups if group.recipe.adapter.has_hypernetwork and group.recipe.joint]
    found = []
    for group, name in zip(having, distinct_names(having), strict=True):
        run = next((run for run in group.runs if _weights(run).is_file()), None)
        if run is None:
            continue
        trained = _trained_vectors(run)
        learned = _target_vectors([own for own in fewshot if own.folder.resolve() == run.folder.resolve()])
        if any(len(vector) != trained.shape[1] for vector in learned.values()):
            raise InputError(f"{run.folder}: few-shot task embeddings are not as long as the run's")
        vectors = np.array([*trained, *learned.values()], dtype=np.float64)
        found.append(TaskEmbeddings(name, run.folder, (*run.recipe.task_names, *learned), len(learned), vectors))
    return found


def nearest_neighbours(embeddings: TaskEmbeddings) -> list[dict[str, Any]]:
    """For each task the most similar others with their cosines, the nearest first."""
    lengths = np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    units = embeddings.vectors / np.where(lengths > 0, lengths, 1)
    cosines = units @ units.T
    neighbours = []
    for i, task in enumerate(embeddings.tasks):
        others = sorted((j for j in range(len(cosines)) if j != i), key=lambda j: -cosines[i, j])[:_NEIGHBOURS]
        near = [{"task": embeddings.tasks[j], "cosine": round(float(cosines[i, j]), 4)} for j in others]
        neighbours.append({"task": task, "target": embeddings.is_target(i), "nearest": near})
    return neighbours


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(tasks, 2) coordinates on the first two principal components, and the share of variance of each."""
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates = np.zeros((len(vectors), 2))
    kept = min(2, len(sizes))
    coordinates[:, :kept] = left[:, :kept] * sizes[:kept]
    shares = np.zeros(2)
    if (total := (sizes**2).sum()) > 0:
        shares[:kept] = sizes[:kept] ** 2 / total
    return coordinates, shares


def _weights(run: Run) -> Path:
    return RunFolder(run.folder).best / "hyperformer.safetensors"


def _trained_vectors(run: Run) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    file = _weights(run)
    try:
        with safe_open(file, framework="numpy") as tensors:
            vectors = tensors.get_tensor(_TENSOR)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: damaged, or without task embeddings: {error}") from error
    if len(vectors) != len(run.recipe.task_names):
        raise InputError(f"{file}: {len(vectors)} task embeddings for {len(run.recipe.task_names)} tasks")
    return vectors


def _target_vectors(fewshot: Sequence[FewShot]) -> dict[str, list[float]]:
    """Of each target the vector learned from the most examples, with the first seed."""
    learned: dict[str, list[float]] = {}
    for found in fewshot:
        trials = read_trials(found.folder)
        for task in dict.fromkeys(score.task for score in found.scores):
            own = [trial for trial in trials if trial.task == task and trials[trial].get("task_embedding")]
            if own:
                first = min(own, key=lambda trial: (-trial.shots, trial.seed))
                learned.setdefault(task, [float(value) for value in trials[first]["task_embedding"]])
    return learned
