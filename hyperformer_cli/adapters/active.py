"""The adapters of the forward pass that is running: what the hooks on the backbone read."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperformer_cli.adapters.banks import FrozenBank
from hyperformer_cli.adapters.forms import AdapterWeights
from hyperformer_cli.adapters.sites import AdapterSite
from hyperformer_cli.errors import InputError

# Any of these inputs tells the batch size.
_BATCHED = ("input_ids", "inputs_embeds", "inputs", "labels", "decoder_input_ids", "attention_mask", "encoder_outputs")


class ThreadLocalState(threading.local):
    """Each thread's own: several may call one model, one that evaluates beside one that trains.

    Attributes:
        adapters: those of the forward pass that is running; checkpointing recomputes it in another thread.
        generated: those of all tasks, generated ahead; None outside such a block.
    """

    def __init__(self) -> None:  # called in each thread; torch.compile wants attributes of the instance
        self.adapters: ActiveAdapters | None = None
        self.generated: FrozenBank | None = None

    def __reduce__(self) -> tuple:
        return ThreadLocalState, ()  # a copied or pickled model runs nothing


class ActiveAdapters:
    """Adapter weights by site, and which row of the batch takes which.

    Args:
        weights: a site's weights: of one adapter, or with a leading dimension of the batch's distinct tasks.
        rows: (batch,) index into that dimension, or None where one adapter serves all rows.
    """

    def __init__(self, weights: Mapping[AdapterSite, AdapterWeights], rows: Tensor | None):
        self._weights, self._rows = weights, rows
        self._gathered: dict[tuple[AdapterSite, int], AdapterWeights] = {}

    def at(self, site: AdapterSite, batch: int) -> AdapterWeights:
        """The weights for `batch` hidden states at a site.

        With beam search `batch` is a multiple of the inputs' rows, those of one input next to each other.
        """
        weights = self._weights[site]
        if self._rows is None:
            return weights
        beams = batch // len(self._rows)
        if beams * len(self._rows) != batch:
            raise ValueError(f"{len(self._rows)} task ids for a batch of {batch}")
        key = (site, beams)
        if key in self._gathered:
            return self._gathered[key]
        rows = self._rows.repeat_interleave(beams) if beams > 1 else self._rows
        named = {name: tensor.index_select(0, rows) for name, tensor in weights.named_tensors().items()}
        gathered = weights.from_named_tensors(named)
        if not torch.is_grad_enabled():  # decoding asks again at every token
            self._gathered[key] = gathered
        return gathered


def checked_ids(task_ids: Tensor | Sequence[int] | None, tasks: int, inputs: Mapping[str, Any]) -> list[int]:
    """Task ids as a list, one per row of the backbone's inputs; empty for None.

    Raises:
        InputError: there are none, one is not the id of one of so many tasks, or their number is not that of the rows.
    """
    if task_ids is None:
        return []
    ids = torch.atleast_1d(task_ids).tolist() if isinstance(task_ids, Tensor) else list(task_ids)
    whole = (int, np.integer)
    outside = [i for i in ids if not (isinstance(i, whole) and not isinstance(i, bool) and 0 <= i < tasks)]
    if outside or not ids:
        raise InputError(f"task ids must be integers from 0 to {tasks - 1}, one per row; got {outside or ids}")
    rows = next((_rows(inputs[name]) for name in _BATCHED if inputs.get(name) is not None), len(ids))
    if len(ids) != rows:
        raise InputError(f"{len(ids)} task ids for a batch of {rows}")
    return [int(i) for i in ids]


def _rows(batched: Tensor | Sequence[Tensor]) -> int:
    return len(batched if isinstance(batched, Tensor) else batched[0])


def distinct_tasks(task_ids: Sequence[int]) -> tuple[list[int], list[int] | None]:
    """Splits a batch's task ids into the distinct ones and each row's index into them (None for a single task)."""
    distinct = sorted(set(task_ids))
    if len(distinct) == 1:
        return distinct, None
    place = {task: i for i, task in enumerate(distinct)}
    return distinct, [place[task] for task in task_ids]
