"""The figures: all are drawn before any is written, so one that cannot be drawn leaves nothing behind."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperformer_cli.errors import InputError
from hyperformer_cli.reporting.collect import FewShot
from hyperformer_cli.reporting.groups import Group
from hyperformer_cli.reporting.table import Table
from hyperformer_cli.storage.atomic import atomic_path

_DOTS_PER_INCH = 160
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hyperformer",  # and names in the file are not drawn at random
}


def write_plots(
    tables: Sequence[Table],
    groups: Sequence[Group],
    fewshot: Sequence[FewShot],
    folder: Path,
    plot_format: str,
    confusions_on: str | None = None,
) -> list[Path]:
    """Draws what the runs allow and returns the files.

    Low-resource and few-shot curves are drawn from the tables; training losses, validation scores, task embeddings and,
    if a split is given for them, confusions from the folders.

    Raises:
        InputError: matplotlib is not installed, there is nothing to draw, or the folder cannot be written.
    """
    matplotlib = _import_matplotlib()
    from hyperformer_cli.reporting.embedding_figure import draw_embeddings
    from hyperformer_cli.reporting.embeddings import read_embeddings
    from hyperformer_cli.reporting.figures import (
        draw_confusions,
        draw_few_shot,
        draw_low_resource,
        draw_training,
        draw_validation,
    )

    with matplotlib.rc_context(_STYLE):
        figures = {
            "low-resource": draw_low_resource(tables),
            "few-shot": draw_few_shot(tables),
            "training": draw_training(groups),
            "validation": draw_validation(groups),
            "confusion": None if confusions_on is None else draw_confusions(groups, confusions_on),
            "embeddings": draw_embeddings(read_embeddings(groups, fewshot)),
        }
        drawn = {
            folder / f"{name}.{plot_format}": _as_bytes(figure, plot_format)
            for name, figure in figures.items()
            if figure is not None
        }
    if not drawn:
        raise InputError("--plots: nothing to draw: no curve, few-shot result, training log or task embedding")
    try:
        for path, content in drawn.items():
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise InputError(f"--plots {folder}: cannot be written: {error.strerror}") from error
    return list(drawn)


def check_can_plot(folder: Path) -> None:
    """Checks, before anything is read, that figures can be drawn into a folder.

    Raises:
        InputError: a file is in the folder's place, or matplotlib is not installed.
    """
    if folder.suffix in (".png", ".svg", ".pdf", ".jpg") or (folder.exists() and not folder.is_dir()):
        raise InputError(f"--plots {folder}: name a folder; --plot-format says png or svg")
    _import_matplotlib()


def _import_matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise InputError("--plots needs matplotlib: pip install 'hyperformer[plots]'") from None
    return matplotlib


def _as_bytes(figure: Any, plot_format: str) -> bytes:
    buffer = io.BytesIO()
    date = {"Date": None} if plot_format == "svg" else {}  # the same runs give the same file
    figure.savefig(buffer, format=plot_format, dpi=_DOTS_PER_INCH, metadata=date, bbox_inches="tight")
    return buffer.getvalue()
