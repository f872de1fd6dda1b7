"""Steps of a compiled model (`training.compile`) beside eager ones: HyperFormer++, 4 tasks, lengths that vary.

Every round has one micro-batch of 16 rows per task, of another length in every round. Compiling happens in the first
round and wherever a shape or a task asks for it again; "first round" is what that cost.
"""

import torch
from torch._dynamo.utils import counters

from benchmarks.step import make_batch, make_model
from benchmarks.timing import Parts, Row, Settings, in_turn, median, ratio
from hyperformer_cli.adapters.model import AdaptedModel
from hyperformer_cli.engine.loss import batch_losses
from hyperformer_cli.engine.optimizer import AdamW

TITLE = "Compiled steps"
COLUMNS = {
    "way": "way", "first": "first round (s)", "seconds": "later rounds (s)", "ratio": "of eager",
    "spread": "middle half",
    "graphs": "graphs compiled", "breaks": "graph breaks",
}  # fmt: skip
LENGTHS = (24, 40, 64, 104)
ROWS = 16


def measure(settings: Settings) -> list[Row]:
    lengths, rows = ((8, 16), 2) if settings.tiny else (LENGTHS, ROWS)
    counters.clear()
    torch._dynamo.reset()
    ways = {way: _Way(settings, way == "compiled", lengths, rows) for way in ("eager", "compiled")}
    taken = in_turn(ways, settings.rounds)
    found = []
    for way, rounds in taken.items():
        row = {"way": way, "first": ways[way].first, "seconds": median(rounds)} | ratio(rounds, taken["eager"])
        if way == "compiled":
            row["graphs"] = counters["stats"]["unique_graphs"]
            row["breaks"] = sum(counters["graph_break"].values())
        found.append(row)
    return found


class _Way:
    """Rounds of one model: call it for the next."""

    def __init__(self, settings: Settings, compiled: bool, lengths: tuple[int, ...], rows: int):
        self._model: AdaptedModel = make_model({"method": "hyperformer++"}, settings, tasks=4)
        if compiled:
            self._model.compile_layers("eager" if settings.tiny else "inductor")  # the first only traces
        self._optimizer = AdamW(self._model.trained_parameters().values(), lr=1e-4)
        self._batches = [make_batch(self._model, rows, length) for length in lengths]
        self._clock, self._round = settings.clock, 0
        self.first: float | None = None

    def __call__(self) -> Parts:
        start = self._clock()
        for task in range(4):
            batch = self._batches[(task + self._round) % len(self._batches)]
            ids = [task] * len(batch["labels"])
            batch_losses(self._model, batch, ids, smoothing=0.1).sum().backward()
            self._optimizer.step()
            self._optimizer.zero_grad()
        self._round += 1
        seconds = self._clock() - start
        self.first = seconds if self.first is None else self.first
        return {"total": seconds}
