"""Runs benchmarks and writes `benchmarks.json` and `benchmarks.md`.

    python -m benchmarks                       all of them, each in under five minutes on two cores
    python -m benchmarks step memory           some
    python -m benchmarks step --backbone Qwen/Qwen3-0.6B --rows 8 --lengths 128 \\
        --config '{"num_hidden_layers": 4, "vocab_size": 8192}'
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

from benchmarks.timing import Row, Settings, environment

NAMES = (
    "step", "families", "memory", "tasks", "compile", "lora", "padding", "evaluation", "prediction", "tokenization",
    "startup",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"by default all: {', '.join(NAMES)}")
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"), help="the folder of both files")
    default = Settings()
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--backbone", default=default.backbone)
    parser.add_argument("--config", type=json.loads, default={}, help="JSON: values that replace the backbone's own")
    parser.add_argument("--rows", type=int, default=default.rows)
    parser.add_argument("--lengths", type=int, nargs="+", default=default.lengths)
    parser.add_argument("--device", default=default.device)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default=default.precision)
    parser.add_argument("--methods", nargs="+", default=[], help="for step and memory, by default all: see step.py")
    parser.add_argument("--run", type=Path, help="a trained run on the bundled tasks, for prediction")
    parser.add_argument("--recipe", default=default.recipe, help="for padding")
    parser.add_argument("--set", nargs="+", dest="changes", metavar="KEY=VALUE", default=[], help="changes to it")
    parser.add_argument("--data", help="a folder with GLUE's parquet files, for evaluation; by default the miniature")
    parser.add_argument("--tokenizer", default=default.tokenizer, help="for them")
    parser.add_argument("--tiny", action="store_true", help="sizes that only show that everything runs")
    options = vars(parser.parse_args(arguments))
    names, output = options.pop("names") or available(), options.pop("output")
    if unknown := [name for name in names if name not in available()]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(available())}")
    found: dict[str, Any] = {"environment": environment(), "benchmarks": {}}
    output.mkdir(parents=True, exist_ok=True)
    for name in names:
        start = time.monotonic()
        rows = import_module(f"benchmarks.{name}").measure(Settings(**options))
        found["benchmarks"][name] = {"seconds": round(time.monotonic() - start, 1), "rows": rows}
        print(section(name, rows), flush=True)
        # After each, so that what was measured stays if a later one fails.
        (output / "benchmarks.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (output / "benchmarks.md").write_text(report(found), encoding="utf-8")
    print(f"{output / 'benchmarks.json'}, {output / 'benchmarks.md'}", file=sys.stderr)


def available() -> list[str]:
    """The benchmarks of this checkout, in the order of the report."""
    return [name for name in NAMES if (Path(__file__).parent / f"{name}.py").is_file()]


def report(found: dict[str, Any]) -> str:
    """The Markdown of everything that was measured."""
    where = ", ".join(f"{key} {value}" for key, value in found["environment"].items())
    return "\n".join([f"Measured with {where}.\n", *(section(n, b["rows"]) for n, b in found["benchmarks"].items())])


def section(name: str, rows: Sequence[Row]) -> str:
    """One benchmark: its heading, what it measures, and its table."""
    module = import_module(f"benchmarks.{name}")
    columns: dict[str, str] = module.COLUMNS
    cells = [list(columns.values()), ["---"] * len(columns)]
    cells += [[_written(row.get(key)) for key in columns] for row in rows]
    lines = "\n".join(f"| {' | '.join(line)} |" for line in cells)
    return f"## {module.TITLE} (`python -m benchmarks {name}`)\n\n{getdoc(module)}\n\n{lines}\n"


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
