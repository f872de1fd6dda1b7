"""Scores by a key of the recipe, one curve per folder of runs: a Markdown table, and a figure.

    python -m tools.curves training.learning_rate paper=outputs/rates mixed=outputs/rates_mixed --split validation
    python -m tools.curves tasks adapters=outputs/families/adapters hyperpp=outputs/families/hyperpp --to families.svg

A list counts as its length, so that `tasks` is the number of tasks. Figures are the mean of metrics over a run's tasks,
then the mean and the sample standard deviation over seeds (n). `--within 3` also says over which part of a curve the
mean is within three points of the curve's best.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperformer_cli.engine.averages import mean_of_metrics_and_tasks
from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import Run, collect
from hyperformer_cli.reporting.groups import differing, settings

Curve = dict[float, list[Run]]  # runs by the key's value, from the smallest


def curve(folder: Path, key: str) -> Curve:
    """The finished runs at a folder and below, by the value of a dotted key of their recipes.

    Raises:
        InputError: there are none, the key's value in a recipe is neither a number nor a list, or runs at one value of
            the key differ in more than the seed.
    """
    found: Curve = {}
    for run in collect([folder]).runs:
        found.setdefault(_number(run, key), []).append(run)
    for value, runs in found.items():
        if differing([settings(run.recipe) for run in runs]) or len({run.recipe.seed for run in runs}) < len(runs):
            raise InputError(
                f"{folder}: runs at {key} {value:g} differ in more than the seed; name a folder of one kind"
            )
    return dict(sorted(found.items()))


def _number(run: Run, key: str) -> float:
    value: Any = run.recipe.as_dict()
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, list):
        return len(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{run.folder}: {key}: {value!r} is neither a number nor a list")
    return value


def score(run: Run, split: str, tasks: Sequence[str] = ()) -> float:
    """The mean of metrics of a run on a split, over the given tasks; without any, over all.

    Raises:
        InputError: the run has no such scores.
    """
    scores = run.scores.get(split, {}).items()
    found = [(task, metric, value) for (task, metric), value in scores if not tasks or task in tasks]
    if not found or set(tasks) - {task for task, _, _ in found}:
        raise InputError(f"{run.folder}: no scores on {split} of {', '.join(tasks) or 'any task'}")
    return mean_of_metrics_and_tasks(found)["metrics"]


def means(of: Curve, split: str, tasks: Sequence[str] = ()) -> dict[float, float]:
    """The mean over runs at every value of the key."""
    return {x: statistics.mean(score(run, split, tasks) for run in runs) for x, runs in of.items()}


def range_within(of: Mapping[float, float], points: float) -> tuple[float, float]:
    """The ends of the part of a curve, around its best value, that lies within so many points of it."""
    places = sorted(of)
    first = last = max(range(len(places)), key=lambda i: of[places[i]])
    least = of[places[first]] - points
    while first > 0 and of[places[first - 1]] >= least:
        first -= 1
    while last < len(places) - 1 and of[places[last + 1]] >= least:
        last += 1
    return places[first], places[last]


def scores_table(curves: Mapping[str, Curve], key: str, split: str, tasks: Sequence[str] = ()) -> str:
    """A Markdown table with a row per curve and a column per value of the key."""
    return _table(curves, key, lambda runs: _mean_and_spread([score(run, split, tasks) for run in runs]))


def parameters_table(curves: Mapping[str, Curve], key: str) -> str:
    """The same of the trained parameters per task, in per cent of the backbone's."""
    return _table(curves, key, lambda runs: f"{runs[0].parameters.trained_per_task_percent:.2f} %")


def _table(curves: Mapping[str, Curve], key: str, cell: Callable[[list[Run]], str]) -> str:
    values = sorted({x for of in curves.values() for x in of})
    lines = [[key, *(f"{x:g}" for x in values)], ["---"] * (len(values) + 1)]
    lines += [[name, *(cell(of[x]) if x in of else "" for x in values)] for name, of in curves.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean_and_spread(scores: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"{statistics.mean(scores):.1f}{spread} ({len(scores)})"


def draw(curves: Mapping[str, Curve], key: str, split: str, tasks: Sequence[str], to: Path) -> None:
    """Draws the means, with a bar of one standard deviation where there are several seeds, over a logarithmic axis."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "hyperformer", "axes.spines.top": False, "axes.spines.right": False}
    figure, axes = plt.subplots(figsize=(6.4, 3.8))
    for name, of in curves.items():
        scores = [[score(run, split, tasks) for run in runs] for runs in of.values()]
        spread = [statistics.stdev(own) if len(own) > 1 else 0.0 for own in scores]
        axes.errorbar(list(of), [statistics.mean(own) for own in scores], spread, label=name, marker="o", ms=4)
    axes.set(xscale="log", xlabel=key, ylabel=f"mean of metrics, {split} (%)")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(to, metadata={"Date": None}, bbox_inches="tight")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("key", help="a dotted key of the recipe")
    parser.add_argument("curves", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--tasks", default="", help="comma-separated; by default all")
    parser.add_argument("--within", type=float, help="points below a curve's best")
    parser.add_argument("--parameters", action="store_true", help="also trained parameters per task")
    parser.add_argument("--to", type=Path, help="an SVG")
    options = parser.parse_args(arguments)
    named = [argument.partition("=")[::2] for argument in options.curves]
    if not all(folder for _, folder in named):
        parser.error("curves are NAME=FOLDER")
    tasks = options.tasks.split(",") if options.tasks else []
    try:
        show({name: curve(Path(folder), options.key) for name, folder in named}, tasks, options)
    except InputError as error:
        parser.error(str(error))


def show(curves: Mapping[str, Curve], tasks: Sequence[str], options: argparse.Namespace) -> None:
    """Prints the tables and writes the figure that the command line asks for."""
    print(scores_table(curves, options.key, options.split, tasks))
    if options.within is not None:
        for name, of in curves.items():
            low, high = range_within(means(of, options.split, tasks), options.within)
            times = f", {high / low:.3g} times" if low else ""
            print(f"\n{name}: at most {options.within:g} below its best from {low:g} to {high:g}{times}")
    if options.parameters:
        print(f"\n{parameters_table(curves, options.key)}")
    if options.to:
        draw(curves, options.key, options.split, tasks, options.to)


if __name__ == "__main__":
    main()
