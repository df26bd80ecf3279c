"""One look for all figures: column widths, colours that colour-blind readers tell apart, fonts, axes, legend."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from math import ceil
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
_MOST_IN_A_ROW = 4  # panels of 1.75 inches: three numbers of five digits fit below the axis of one
_TICK = 0.55  # inches of a panel, axis label included, that a tick's label and the gap to the next take

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
    """Return the style as a context: the user's own settings return at its end."""
    return mpl.rc_context(_STYLE)


class PaperFigure(Figure):
    """A figure in this style, whoever draws it; pyplot does not know it, so that nothing has to be closed.

    Args:
        width: inches.
        height: inches.
    """

    def __init__(self, width: float, height: float):
        with style():
            super().__init__(figsize=(width, height), layout="constrained")

    def draw(self, renderer: RendererBase) -> None:
        """Draw in this style.

        Args:
            renderer: matplotlib's.
        """
        with style():
            super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write in this style.

        Args:
            fname: a path or an open file.
            **options: those of `matplotlib.figure.Figure.savefig`.
        """
        with style():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """Return the picture that a notebook shows."""
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=150)
        return picture.getvalue()


def panels(count: int) -> tuple[PaperFigure, list[Axes]]:
    """Lay panels out over rows of one length, as few rows as the width of a journal's page allows.

    Args:
        count: number of panels.

    Returns:
        The figure, one column wide for one panel and two otherwise, and its panels row by row.
    """
    rows = ceil(count / _MOST_IN_A_ROW)
    columns = ceil(count / rows)
    figure = PaperFigure(SINGLE if count == 1 else DOUBLE, 2.7 if rows == 1 else 0.5 + 1.9 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def updates(origin: int = 0) -> str:
    """Return the label of an axis of updates.

    Args:
        origin: the update that t counts from.
    """
    return "weight updates $t$" + since(origin)


def since(origin: int) -> str:
    """Return the words that say where t counts from; none for the first update.

    Args:
        origin: the update that t counts from.
    """
    return f" after update {origin}" if origin else ""


def distance_label(origin: int = 0) -> str:
    """Return the label of an axis of distances.

    Args:
        origin: the update whose weights the distances are measured from.
    """
    if origin:
        return rf"distance $\Vert w_{{{origin}+t}} - w_{{{origin}}}\Vert$"
    return r"distance $\Vert w_t - w_0\Vert$"


def t_axis(ax: Axes, logarithmic: bool) -> None:
    """Make the x axis one of updates; a linear one begins at 0, with as many ticks as its labels leave room for.

    Args:
        ax: the panel.
        logarithmic: whether the axis is logarithmic.
    """
    if logarithmic:
        ax.set_xscale("log")
        return
    ax.set_xlim(left=0)
    place = ax.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    room = int(ax.figure.figure.get_size_inches()[0] / columns / _TICK)
    ax.xaxis.set_major_locator(MaxNLocator(min(5, max(2, room)), steps=[1, 2, 5, 10]))


def plain_log_ticks(axis: Axis) -> None:
    """Label 1, 2, 5, 10, ... in plain numbers, for a logarithmic axis of few decades.

    Args:
        axis: the x or the y axis of a panel.
    """
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Figure) -> None:
    """Add one legend above all panels: each label once, and the triangle if a drop is drawn.

    Args:
        figure: the figure, its lines drawn; it grows by the legend's lines.
    """
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
    """Write a figure to `path`, or to `path` and each format's suffix if it has none.

    The same figure gives the same bytes. Folders on the way are made.

    Args:
        figure: what a function of `analysis.figures` returned, or any other figure of matplotlib.
        path: the file; its suffix is the format.
        formats: the formats of a path without suffix: "png", "pdf" or "svg".

    Returns:
        The files written.

    Raises:
        FigureError: for a suffix other than .png, .pdf or .svg, and for a path that cannot be written.
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
