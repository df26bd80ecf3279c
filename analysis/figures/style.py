"""One look for all figures: column widths, fonts that stay text, another style laid over ours, and files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

import matplotlib as mpl
from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

from analysis.errors import FigureError
from analysis.figures.palette import png

Columns = Literal[1, 2]

SINGLE, DOUBLE = 8.4 / 2.54, 17.4 / 2.54  # inches: one and two columns of a two-column journal
WIDTHS: dict[Columns, float] = {1: SINGLE, 2: DOUBLE}

_MOST_IN_A_ROW = 4  # panels of 1.7 inches: three numbers of five digits fit below the axis of one

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
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
    "svg.fonttype": "none",  # text stays text, which can be searched, read aloud and set in a journal's font
    "svg.hashsalt": "ultraslow",  # the same figure gives the same file
}

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_OVER: ContextVar[Mapping[str, Any]] = ContextVar("_OVER", default=_NOTHING)  # settings laid over ours


def style() -> Any:
    """Return the style as a context: the user's own settings return at its end."""
    settings: Any = {**_STYLE, **_OVER.get()}  # to a type checker, only the names of settings are keys
    return mpl.rc_context(settings)


@contextmanager
def use_style(name: str | Path | None) -> Iterator[None]:
    """Lay a style of matplotlib over that of the figures which are made inside this context.

    Args:
        name: a style's name, such as "dark_background", or a file of settings (`.mplstyle`); None for none.

    Returns:
        A context, for `with`.

    Raises:
        FigureError: if there is no such style, or the file cannot be read.

    Examples:
        >>> import numpy as np
        >>> from analysis import figures
        >>> t = np.arange(1, 1001)
        >>> with figures.use_style("dark_background"):
        ...     figure = figures.distance((t, t**0.25))
        >>> figure.get_facecolor()[:3]
        (0.0, 0.0, 0.0)
    """
    token = _OVER.set(_NOTHING if name is None else _settings(name))
    try:
        yield
    finally:
        _OVER.reset(token)


def _settings(name: str | Path) -> Mapping[str, Any]:
    if str(name) in mpl_style.library:
        return cast(Mapping[str, Any], mpl_style.library[str(name)])
    if Path(name).suffix != ".mplstyle" or not Path(name).is_file():
        raise FigureError(
            f"no style is named {str(name)!r}; expected one of matplotlib's, such as dark_background, or a file "
            "that ends in .mplstyle"
        )
    return cast(Mapping[str, Any], mpl.rc_params_from_file(name, use_default_template=False))


class PaperFigure(Figure):
    """A figure in this style, whoever draws it; pyplot does not know it, so that nothing has to be closed.

    Args:
        width: inches.
        height: inches.
    """

    def __init__(self, width: float, height: float):
        self._over = _OVER.get()
        with style():
            super().__init__(figsize=(width, height), layout="constrained")

    @contextmanager
    def _style(self) -> Iterator[None]:
        token = _OVER.set(self._over)
        try:
            with style():
                yield
        finally:
            _OVER.reset(token)

    def draw(self, renderer: RendererBase) -> None:
        """Draw in this style.

        Args:
            renderer: matplotlib's.
        """
        with self._style():
            super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write in this style.

        Args:
            fname: a path or an open file.
            **options: those of `matplotlib.figure.Figure.savefig`.
        """
        with self._style():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """Return the picture that a notebook shows."""
        return png(self, dpi=150)


def one_panel(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return the panel to draw in, and its figure.

    Args:
        ax: a user's own panel; None for one of a new figure.
        width: inches, of a new figure.
        height: inches, of a new figure.
    """
    if ax is not None:
        return ax.figure.figure, ax
    figure = PaperFigure(width, height)
    return figure, figure.subplots()


def panels(count: int, columns: Columns | None = None, *, wide: bool = False) -> tuple[PaperFigure, list[Axes]]:
    """Lay panels out over rows of one length, as few rows as the width of a journal's page allows.

    Args:
        count: number of panels.
        columns: the figure's width in columns of a two-column journal; None for one if there is one panel that is not
            wide, else two.
        wide: whether a panel needs the width of two columns, such as for names beside it.

    Returns:
        The figure, and its panels row by row.
    """
    width = columns or (1 if count == 1 and not wide else 2)
    most = _MOST_IN_A_ROW if width == 2 else _MOST_IN_A_ROW // 2
    rows = ceil(count / most)
    each = ceil(count / rows)
    figure = PaperFigure(WIDTHS[width], 2.7 if rows == 1 else 0.5 + 1.9 * rows)
    axes = figure.subplots(rows, each, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def save(figure: Figure, path: str | Path, formats: str | Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write a figure to `path`, or to `path` and each format's suffix if it has none.

    The same figure gives the same bytes. Folders on the way are made. A PNG has 256 colours, which makes it a third
    as large; one with transparent parts keeps all.

    Args:
        figure: what a function of `analysis.figures` returned, or any other figure of matplotlib.
        path: the file; its suffix is the format.
        formats: the formats of a path without suffix, one or several: "png", "pdf" or "svg".

    Returns:
        The files written.

    Raises:
        FigureError: for a suffix other than .png, .pdf or .svg, and for a path that cannot be written.
    """
    path, suffixes = Path(os.path.expanduser(path)), formats_of(path, formats)
    files = [path.with_suffix(f".{suffix}") for suffix in suffixes]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, suffix in zip(files, suffixes, strict=True):
            if suffix == "png":
                file.write_bytes(png(figure))
            else:
                figure.savefig(file, metadata=_DATES[suffix])
    except OSError as error:
        raise FigureError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
    return files


def formats_of(path: str | Path, formats: str | Sequence[str] = ("png", "pdf")) -> list[str]:
    """Return the formats that `save` writes to a path.

    Args:
        path: the file; its suffix is the format.
        formats: those of a path without suffix.

    Raises:
        FigureError: for another than png, pdf and svg.
    """
    path = Path(path)
    asked = [formats] if isinstance(formats, str) else list(formats)
    suffixes = [path.suffix.lower().lstrip(".")] if path.suffix else asked
    for suffix in suffixes:
        if suffix not in _DATES:
            raise FigureError(f"{path}: no figure format .{suffix}; expected .png, .pdf or .svg")
    return suffixes


# No date in a file: the same figure gives the same bytes.
_DATES: dict[str, dict[str, None]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
