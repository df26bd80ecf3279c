"""One look for all figures: column widths, colours that colour-blind readers tell apart, fonts, axes, legend."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from analysis.errors import FigureError

SINGLE, DOUBLE = 3.4, 7.0  # inches: one and two columns of a two-column journal

# Okabe & Ito 2008, "Color Universal Design", without its yellow, which is faint on white.
INK = "#000000"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)

DROP = "learning-rate drop"
TRIANGLE: dict[str, Any] = {"marker": "v", "linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.4}
_LETTER = 0.058  # inches that a letter of the legend takes, on average
_LINE = 0.14  # inches that a line of it takes

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "savefig.dpi": 300,
    "figure.dpi": 150,
    "pdf.fonttype": 42,  # fonts as TrueType: text stays text, and journals take it
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "ultraslow",  # the same figure gives the same file
}


def style() -> AbstractContextManager[None]:
    """The style as a context: the user's own settings return at its end."""
    return mpl.rc_context(_STYLE)


class PaperFigure(Figure):
    """A figure in this style whoever draws it; pyplot does not know it, so nothing has to be closed.

    width, height: inches.
    """

    def __init__(self, width: float, height: float):
        with style():
            super().__init__(figsize=(width, height), layout="constrained")

    def draw(self, renderer: RendererBase) -> None:
        """Draws in this style."""
        with style():
            super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Writes in this style."""
        with style():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=150)
        return picture.getvalue()


def t_axis(ax: Axes, logarithmic: bool) -> None:
    """An axis of updates, from 0 if it is linear."""
    if logarithmic:
        ax.set_xscale("log")
    else:
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def plain_log_ticks(axis: Axis) -> None:
    """1, 2, 5, 10, ... in plain numbers: for a logarithmic axis of few decades."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Figure) -> None:
    """One legend above all axes: each label once, and the triangle if a drop is drawn."""
    handles: dict[str, Any] = {}
    for ax in figure.axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if DROP in handles:
        del handles[DROP]
        handles[DROP] = Line2D([], [], color="grey", **TRIANGLE)
    widths = [_LETTER * len(label) + 0.45 for label in handles]
    width = figure.get_figwidth()
    columns = len(handles) if sum(widths) < width else max(1, int(width / max(widths)))
    figure.set_figheight(figure.get_figheight() + _LINE * (-(-len(handles) // columns) - 1))
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns)


def save(figure: Figure, path: str | Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Writes a figure to `path`, or to `path` + each format's suffix if it has none; returns the files.

    Raises FigureError for a suffix other than .png, .pdf or .svg and for a path that cannot be written.
    """
    path = Path(path)
    suffixes = [path.suffix.lower().lstrip(".")] if path.suffix else list(formats)
    for suffix in suffixes:
        if suffix not in _DATES:
            raise FigureError(f"{path}: no figure format .{suffix}; expected .png, .pdf or .svg")
    files = [path.with_suffix(f".{suffix}") for suffix in suffixes]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, suffix in zip(files, suffixes, strict=True):
            figure.savefig(file, metadata=_DATES[suffix])
    except OSError as error:
        raise FigureError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
    return files


# No date in a file: the same figure gives the same bytes.
_DATES: dict[str, dict[str, None]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
