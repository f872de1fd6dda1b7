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
from hyperformer_cli.storage.manifest import check_files

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
    """The vectors of each group's first run that has one model with its weights, followed by those of few-shot targets.

    Raises:
        InputError: a file of weights or few-shot results is damaged.
    """
    groups = [group for group in groups if group.recipe.adapter.has_hypernetwork]
    found = []
    for group, name in zip(groups, distinct_names(groups), strict=True):
        run = next((run for run in group.runs if _weights(run).is_file()), None)
        if run is None:
            continue
        trained = _trained_vectors(run)
        learned = _target_vectors([own for own in fewshot if own.folder.resolve() == run.folder.resolve()])
        if any(len(vector) != trained.shape[1] for vector in learned.values()):
            raise InputError(f"{run.folder}: few-shot task embeddings and the run's differ in length")
        vectors = np.array([*trained, *learned.values()], dtype=np.float64)
        found.append(TaskEmbeddings(name, run.folder, (*run.recipe.task_names, *learned), len(learned), vectors))
    return found


def nearest_neighbours(embeddings: TaskEmbeddings) -> list[dict[str, Any]]:
    """For each task the most similar others with their cosines, the nearest first. A zero vector has cosine 0."""
    from sklearn.metrics.pairwise import cosine_similarity

    cosines = cosine_similarity(embeddings.vectors)
    neighbours = []
    for i, task in enumerate(embeddings.tasks):
        others = [j for j in np.argsort(-cosines[i], kind="stable") if j != i][:_NEIGHBOURS]
        near = [{"task": embeddings.tasks[j], "cosine": round(float(cosines[i, j]), 4)} for j in others]
        neighbours.append({"task": task, "target": embeddings.is_target(i), "nearest": near})
    return neighbours


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(tasks, 2) coordinates on the first two principal components, and the share of variance of each.

    Undefined ones are 0: the second component of one-dimensional vectors, the variance of equal vectors.
    """
    from sklearn.decomposition import PCA

    coordinates, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    if np.ptp(vectors, axis=0).any():
        pca = PCA(min(2, *vectors.shape), svd_solver="full")
        coordinates[:, : pca.n_components] = pca.fit_transform(vectors)
        shares[: pca.n_components] = pca.explained_variance_ratio_
    return coordinates, shares


def _weights(run: Run) -> Path:
    return RunFolder(run.folder).best / "hyperformer.safetensors"


def _trained_vectors(run: Run) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    file, tasks = _weights(run), run.recipe.task_names
    try:
        with safe_open(file, framework="numpy") as tensors:
            vectors = tensors.get_tensor(_TENSOR)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: damaged, or without task embeddings: {error}") from error
    check_files(file.parent, lambda name: name == file.name)
    if len(vectors) != len(tasks):
        raise InputError(f"{file}: {len(vectors)} task embeddings for {len(tasks)} tasks")
    return vectors


def _target_vectors(fewshot: Sequence[FewShot]) -> dict[str, list[float]]:
    """For each target the vector learned from the most examples, with the first seed."""
    learned: dict[str, list[float]] = {}
    for found in fewshot:
        contents = read_trials(found.folder).items()
        trials = {trial: content["task_embedding"] for trial, content in contents if content.get("task_embedding")}
        for task in dict.fromkeys(score.task for score in found.scores):
            own = [trial for trial in trials if trial.task == task]
            if own:
                learned.setdefault(task, trials[min(own, key=lambda trial: (-trial.shots, trial.seed))])
    return learned
