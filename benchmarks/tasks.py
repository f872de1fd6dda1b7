"""A training step of models of many tasks beside that of 8: HyperFormer++ has one vector per task.

With stored adapters the gradient and the optimizer go over all tasks' adapters in every step.
"""

from benchmarks.step import make_step
from benchmarks.timing import Row, Settings, in_turn, median, ratio

TITLE = "A training step as tasks grow"
COLUMNS = {"method": "method", "tasks": "tasks", "seconds": "seconds", "ratio": "of 8 tasks", "spread": "middle half"}
COUNTS = (8, 64, 512)


def measure(settings: Settings) -> list[Row]:
    found = []
    for method, counts in (("hyperformer++", COUNTS), ("adapters", COUNTS[:2])):
        steps = {
            str(tasks): make_step(method, {"method": method}, settings, settings.lengths[0], tasks) for tasks in counts
        }
        taken = in_turn(steps, settings.rounds)
        found += [
            {"method": method, "tasks": tasks, "seconds": median(taken[str(tasks)])}
            | ratio(taken[str(tasks)], taken[str(counts[0])])
            for tasks in counts
        ]
    return found
