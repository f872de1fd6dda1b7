"""Takes the terminal pictures of the README, `docs/figures/*.svg`, from real runs.

pip install pyte; python -m tools.screens

Every command runs in a terminal of its own (a pseudo-terminal read by pyte) with the generated tickets of
`tools/tickets.py`, in an empty folder; training takes minutes. `--look COLUMNS COMMAND...` shows how any command's
screen looks in a terminal of that width, as text.
"""

import argparse
import contextlib
import fcntl
import io
import itertools
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from tools.tickets import ROWS, SEED, write_tickets

ROOT = Path(__file__).parents[1]
_COLOURS = {"brown": "yellow"}  # as pyte calls it
COLUMNS, LINES = 92, 120  # a README on the web shows about so many columns; and nothing scrolls out of so many lines
INIT = "init tickets.csv --label priority --text subject,body --with mini_sst2,mini_rte --model bundled"
TRAIN = "train tickets.yaml"
MIDDLE = "validation at step 600"  # of training, where its panel is taken
DETAILS = "eval outputs/tickets --tasks tickets --details"
# rich's own frame loads a font from the network; any font of equal widths will do.
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def screen_of(
    command: Sequence[str], folder: Path, columns: int, until: Callable[[str], bool] | None = None
) -> tuple[list[Text], list[Text] | None]:
    """Runs a command in a terminal.

    Args:
        command: arguments of `hyperformer`.
        folder: where it runs.
        columns: the width of the terminal.
        until: asked after every change of the screen; the screen is also kept as it is when this is first true.

    Returns:
        The lines on the screen at the end, and those kept on the way.
    """
    screen = pyte.Screen(columns, LINES)
    stream, kept = pyte.ByteStream(screen), None
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperformer_cli", *command],
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(theirs)
    with contextlib.suppress(OSError):  # what a closed terminal answers
        while data := os.read(ours, 65536):
            stream.feed(data)
            if until is not None and kept is None and until("\n".join(screen.display)):
                kept = lines_of(screen)
    if process.wait():
        raise SystemExit("\n".join(screen.display).rstrip())
    return lines_of(screen), kept


def lines_of(screen: pyte.Screen) -> list[Text]:
    """What is on a screen, without the empty lines at its end."""
    lines = []
    for y in range(screen.lines):
        cells, line = [screen.buffer[y][x] for x in range(screen.columns)], Text()
        indent = len(list(itertools.takewhile(lambda cell: cell.data == " ", cells)))
        line.append(" " * indent, Style(dim=True))  # apart, because some viewers drop spaces at the beginning of a text
        for style, run in itertools.groupby(cells[indent:], key=_style):
            line.append("".join(cell.data for cell in run), style)
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def _style(cell: pyte.screens.Char) -> Style:
    """A cell's style; blanks have none, so that they join what is beside them."""
    if cell.data == " " or cell.fg == "default":
        return Style(bold=cell.bold and cell.data != " ")
    return Style(bold=cell.bold, color=_COLOURS.get(cell.fg, f"#{cell.fg}" if len(cell.fg) == 6 else cell.fg))


def save(lines: Sequence[Text], command: str, file: Path) -> None:
    """Draws a screen below the command that made it."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ hyperformer {command}", style="bold green"), soft_wrap=False)
    for line in lines:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="", theme=DIMMED_MONOKAI, code_format=_SVG, unique_id=file.stem)
    file.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


def main() -> None:
    """Takes all pictures, or shows one screen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="an empty one, to keep the run")
    parser.add_argument("--look", nargs=argparse.REMAINDER, metavar="COLUMNS COMMAND")
    arguments = parser.parse_args()
    if arguments.look:
        columns, *command = arguments.look
        lines, _ = screen_of(command, Path(), int(columns))
        print("\n".join(line.plain for line in lines))
        return
    figures = ROOT / "docs" / "figures"
    with contextlib.ExitStack() as opened:
        folder = arguments.folder or Path(opened.enter_context(tempfile.TemporaryDirectory()))
        write_tickets(folder / "tickets.csv", ROWS, SEED)
        save(screen_of(INIT.split(), folder, COLUMNS)[0], INIT, figures / "init.svg")
        end, on_the_way = screen_of(TRAIN.split(), folder, COLUMNS, lambda shown: MIDDLE in shown)
        save(on_the_way or [], TRAIN, figures / "training.svg")
        save(end, TRAIN, figures / "train.svg")
        save(screen_of(DETAILS.split(), folder, COLUMNS)[0], DETAILS, figures / "details.svg")


if __name__ == "__main__":
    main()
