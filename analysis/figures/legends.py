"""What is what: a legend of at most six entries, or else each line's name at its end."""

from collections.abc import Mapping, Sized
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Affine2DBase, ScaledTranslation, Transform, blended_transform_factory
from scipy.optimize import isotonic_regression

from analysis.figures.colours import ink
from analysis.fitting.laws import Array

DROP = "learning-rate drop"
SEEDS = "seeds, lowest to highest"
TRIANGLE: dict[str, Any] = {"marker": "v", "linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.4}

MOST_ENTRIES = 6  # more cannot be told apart at a glance
_LETTER = 0.058  # inches that a letter of the legend takes, on average
_LINE = 0.14  # inches that a line of it takes
_SIZE = 6.5  # points, of names at lines' ends
_LEADER = (
    0.0,
    0.1,
    0.3,
)  # inches right of the panel: a thin line from the first to the second, the line's look after


def many(lines: Sized) -> bool:
    """Return whether lines, with their band and the triangle of drops, are too many for a legend.

    Args:
        lines: one entry for each.
    """
    return len(lines) + 2 > MOST_ENTRIES


def legend(figure: Figure, title: str | None = None, *, each: bool = False) -> None:
    """Say what each line is: in one legend above all panels, or, if it had over six entries, at the lines' ends.

    Lines are then named at the right of each row of panels; the legend holds what else is drawn.

    Args:
        figure: the figure, its lines drawn; it grows by the legend's lines.
        title: a sentence above the legend, such as one that states how lines were smoothed.
        each: name lines at the right of each panel, where panels hold different ones.
    """
    handles, named = _split(*figure.axes)
    if handles or title:
        legend_above(figure, handles, title)
    name_ends({ax: _ends(ax, named) for ax in figure.axes if named and (each or _last_in_row(ax))})


def legend_inside(ax: Axes, title: str | None = None) -> None:
    """Say what each line of a user's own panel is: in a legend inside it, or at the lines' ends.

    Args:
        ax: the panel, its lines drawn.
        title: a sentence above the legend.
    """
    handles, named = _split(ax)
    if handles or title:
        ax.legend(handles.values(), handles.keys(), title=title)
    name_ends({ax: _ends(ax, named)})


def name_ends(panels: Mapping[Axes, Mapping[str, Line2D]]) -> None:
    """Write names to the right of panels, each joined to the end of its line, and none upon another.

    Args:
        panels: the lines of each panel by the names that they get; names may have several lines.
    """
    for ax, lines in panels.items():
        ends = {name: _end(ax, line) for name, line in lines.items()}
        written = [_write(ax, name, lines[name], ends[name]) for name in sorted(ends, key=lambda name: ends[name])]
        if written:
            ax.figure.figure.draw_without_rendering()  # lays the panels out
            _spread(ax, written)


def _split(*axes: Axes) -> tuple[dict[str, Any], set[str]]:
    """Return what the legend holds, by label, and the labels of the lines to be named at their ends instead."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    anonymous = {
        SEEDS: Patch(color="grey", alpha=0.35, linewidth=0),
        DROP: Line2D([], [], color="grey", **TRIANGLE),
    }
    last = [label for label in anonymous if found.pop(label, None) is not None]
    lines = {label for label, handle in found.items() if _is_line(handle)}
    named = lines if len(found) + len(last) > MOST_ENTRIES else set()
    handles = {label: handle for label, handle in found.items() if label not in named}
    return handles | {label: anonymous[label] for label in last}, named


def _is_line(handle: Any) -> bool:
    return isinstance(handle, Line2D) and handle.get_linestyle() != "None"


def _last_in_row(ax: Axes) -> bool:
    place = ax.get_subplotspec()
    return place is None or place.is_last_col() or ax is ax.figure.figure.axes[-1]


def _ends(ax: Axes, named: set[str]) -> dict[str, Line2D]:
    """Return the panel's lines to be named, the first of each label."""
    found: dict[str, Line2D] = {}
    for line in ax.lines:
        if line.get_label() in named:
            found.setdefault(str(line.get_label()), line)
    return found


def legend_above(figure: Figure, handles: Mapping[str, Any], title: str | None = None) -> None:
    """Put a legend above all panels, in as many columns as have room.

    Args:
        figure: the figure; it grows by the legend's lines.
        handles: what the legend shows, by label.
        title: a sentence above it.
    """
    widths = [_LETTER * max(map(len, label.split("\n"))) + 0.45 for label in handles] or [0.0]
    width = figure.get_figwidth()
    columns = len(handles) if sum(widths) < width else max(1, int(width / max(widths)))
    lines = -(-len(handles) // max(1, columns)) + sum(label.count("\n") for label in handles) + (title is not None)
    figure.set_figheight(figure.get_figheight() + _LINE * (lines - 1))
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=max(1, columns), title=title)


def _last_point(ax: Axes, line: Line2D) -> tuple[float, float]:
    """Return a line's last point, moved into the panel if it lies above or below."""
    x, y = (float(np.asarray(values, float)[-1]) for values in line.get_data())
    low, high = ax.get_ylim()
    return x, min(max(y, low), high)


def _end(ax: Axes, line: Line2D) -> float:
    """Return the height at which a line ends, as a share of the panel's."""
    return float(ax.transAxes.inverted().transform(ax.transData.transform(_last_point(ax, line)))[1])


def _write(ax: Axes, name: str, line: Line2D, end: float) -> tuple[Text, Line2D, Line2D]:
    """Write a line's name beside the panel, a piece of the line before it, and a thin line from its end to there."""
    thin: dict[str, Any] = {"color": line.get_color(), "linewidth": 0.4}
    x, y = _last_point(ax, line)
    limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    ax.hlines(y, x, limits["xlim"][1], linestyle=":", **thin)
    ax.set(**limits)
    beside: dict[str, Any] = {"transform": _beside(ax), "clip_on": False}
    join, piece = Line2D(_LEADER[:2], (end, end), **thin, **beside), Line2D([], [])
    piece.update_from(line)
    piece.set(data=(_LEADER[1:], (end, end)), marker="", label="", **beside)
    for artist in (join, piece):
        ax.add_artist(artist)
    place: dict[str, Any] = {"verticalalignment": "center", **beside}
    return ax.text(_LEADER[-1] + 0.03, end, name, fontsize=_SIZE, color=ink(), **place), join, piece


def _beside(ax: Axes) -> Transform:
    """Return coordinates: inches to the right of the panel, and shares of its height."""
    inches = ax.figure.figure.dpi_scale_trans + ScaledTranslation(1, 0, cast(Affine2DBase, ax.transAxes))
    return blended_transform_factory(inches, ax.transAxes)


def _spread(ax: Axes, written: list[tuple[Text, Line2D, Line2D]]) -> None:
    """Move names, given from the lowest to the highest, up and down, as little as possible, until none touches."""
    panel = ax.get_window_extent().height * 72 / ax.figure.figure.dpi
    heights = np.array([1.25 * _SIZE * (1 + text.get_text().count("\n")) for text, *_ in written]) / panel
    wanted = np.array([text.get_position()[1] for text, *_ in written])
    for (text, join, piece), end, place in zip(written, wanted, _apart(wanted, heights), strict=True):
        text.set_y(place)
        join.set_ydata((end, place))
        piece.set_ydata((place, place))


def _apart(wanted: Array, heights: Array) -> Array:
    """Place the middles of intervals within (0, 1) without overlap, near where they are wanted (least squares).

    With c_i the sum of the heights below the middle of interval i, the places less c may not fall: an isotonic
    regression.
    """
    heights = heights * min(1.0, 1 / heights.sum())
    below = np.cumsum(heights) - heights / 2
    free = isotonic_regression(wanted - below).x
    return np.clip(free, 0, 1 - heights.sum()) + below
