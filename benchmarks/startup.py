"""From the call of a command to its answer, in processes of their own: medians of processor time and of the wall clock.

`predict` answers one row with a run of two steps or with `--run`. What `train` does before its first step is the
quickstart's, with tokens from the cache.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Row, Settings, in_a_process, short_run, spread

TITLE = "Start-up"
COLUMNS = {"what": "what", "processor": "seconds (processor)", "spread": "middle half", "wall": "seconds (wall)"}

OTHER_SHAPE = ["count-params", "quickstart", "--set", "model.config.d_ff=64"]


def measure(settings: Settings) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        row = Path(scratch) / "row.tsv"
        row.write_text("sentence\nthe cat sees a dog .\n")
        commands = {
            "--help": ["--help"],
            "recipes list": ["recipes", "list"],
            "count-params": ["count-params"],
            "count-params glue_hyperpp": ["count-params", "glue_hyperpp"],
            **({} if settings.tiny else {"count-params, another shape": OTHER_SHAPE}),
        }
        if not settings.tiny:
            run = settings.run or short_run(Path(scratch) / "run")
            commands["predict, one row"] = ["predict", str(run), str(row), "--task", "mini_cola"]
        rounds = [
            {name: seconds(arguments) for name, arguments in commands.items()}
            | {
                f"train quickstart: {part}": taken
                for part, taken in ({} if settings.tiny else in_a_process("startup")).items()
            }
            for _ in range(settings.rounds + 1)
        ][1:]
    found = []
    for name in rounds[0]:
        processor, wall = zip(*(taken[name] for taken in rounds), strict=True)
        middle = {"processor": statistics.median(processor), "spread": spread(processor)}
        found.append({"what": name, "wall": statistics.median(wall), **middle})
    return found


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Of a command: processor time, and by the clock on the wall."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperformer_cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise RuntimeError(f"hyperformer {' '.join(arguments)} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start


def train_to_the_first_step() -> dict[str, tuple[float, float]]:
    """What the parts take in this process, which has done nothing else."""
    marks = [(0.0, time.perf_counter())]

    def mark() -> tuple[float, float]:
        marks.append((time.process_time(), time.perf_counter()))
        return marks[-1][0] - marks[-2][0], marks[-1][1] - marks[-2][1]

    from hyperformer_cli.config.loading import load_recipe

    recipe = load_recipe("quickstart")
    found = {"recipe": mark()}
    import hyperformer_cli.training.loop  # noqa: F401

    found["imports"] = mark()
    from hyperformer_cli.engine.devices import make_accelerator
    from hyperformer_cli.engine.step import LossFunction, OptimizerStep
    from hyperformer_cli.training.setup import prepare

    setup = prepare(recipe, make_accelerator(recipe.training))
    found["model and data"] = mark()
    splits = {number: setup.data["train"][task.name] for number, task in enumerate(setup.tasks)}
    pad_id = setup.tokenization.encoding.pad_id
    loss_function = LossFunction(setup.model, setup.wrapped_model, pad_id, setup.accelerator)
    step = OptimizerStep(loss_function, splits, setup.optimizer, setup.schedule, recipe)
    step(step.prepare(setup.sampler.batch(0)))
    return found | {"first step": mark()}


if __name__ == "__main__":
    print(json.dumps(train_to_the_first_step()))
