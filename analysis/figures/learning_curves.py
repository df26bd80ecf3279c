"""Figures of the error: against epochs, updates or time, of validation or training too, and its end from close by."""

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.curve import Curve, CurvesLike
from analysis.errors import FigureError
from analysis.figures.axes import plain_log_ticks, t_axis, updates
from analysis.figures.legends import legend, legend_inside, many
from analysis.figures.lines import LineStyle, by_label, draw_seeds, mark_drops
from analysis.figures.style import Columns, panels, style
from analysis.fitting.laws import Array
from analysis.reading import curves

Against = Literal["updates", "epochs", "time"]

# What is logged that the axis shows, its unit's size in that, and its name. Updates are the index.
_AXES: dict[Against, tuple[str | None, float, str]] = {
    "updates": (None, 1, updates()),
    "epochs": ("epoch", 1, "epochs"),
    "time": ("wall_time", 60, "time (min)"),
}

Drawn = list[tuple[Array, ...]]  # of each line: its places, and the lowest and the highest value there


def error(
    runs: CurvesLike,
    ax: Axes | None = None,
    *,
    against: Against | None = None,
    training: bool = False,
    zoom: float | None = None,
    smooth: float = 0.02,
    columns: Columns | None = None,
) -> Figure:
    """Draw the validation error in % against updates, epochs or time.

    Seeds of one label are drawn as their mean and the band from the lowest to the highest; triangles mark
    learning-rate drops. The error is logged at the end of an epoch: between those the line is drawn straight. The
    axis is logarithmic if the shortest run ends before a tenth of the longest. Several panels are laid out over rows.

    Args:
        runs: runs or paths of them.
        ax: draw there, in one panel.
        against: the x axis; None draws the first two side by side; on `ax`, None is updates.
        training: also draw the training error: the share of an epoch's samples misclassified in training.
        zoom: also draw each panel from this place on, in the unit of its axis; `ax` shows that part alone.
        smooth: draw a running mean over this share of the axis; 0 draws what was logged. If a line holds more than
            one value in that space, the legend states it.
        columns: the figure's width in columns of a two-column journal; None for one if there is one
            panel of few labels, else two.

    Returns:
        The figure, of one panel to eight, or that of `ax`.

    Raises:
        FigureError: if a run did not log the error (`validation_error`, `train_error`: fractions) or, for epochs
            and time, `epoch` and `wall_time`; for a zoom beyond the end of all runs; and for both errors on one `ax`.
    """
    if ax is not None and training:
        raise FigureError("training=True needs a panel of its own; expected no ax, or training=False")
    if not 0 <= smooth < 1:
        raise FigureError(f"smooth is {smooth}; expected a share of the axis, from 0 (no smoothing) to below 1")
    groups = by_label(curves(runs))
    names = ("train_error", "validation_error") if training else ("validation_error",)
    units: tuple[Against, ...] = (against,) if against is not None else ("updates",) if ax else ("updates", "epochs")
    zooms = (zoom,) if ax is not None or zoom is None else (None, zoom)
    shown = list(product(units, names, zooms))
    with style():
        figure, axes = panels(len(shown), columns, wide=many(groups)) if ax is None else (ax.figure.figure, [ax])
        smoothed = False
        for panel, (unit, name, left) in zip(axes, shown, strict=True):
            smoothed |= _draw_panel(panel, groups, unit, name, left, smooth)
        note = f"lines: running mean over {100 * smooth:g} % of the axis" if smoothed else None
        legend(figure, note) if ax is None else legend_inside(ax, note)
    return figure


def _draw_panel(
    ax: Axes,
    groups: Sequence[tuple[LineStyle, list[Curve]]],
    unit: Against,
    name: str,
    left: float | None,
    smooth: float,
) -> bool:
    """Draw one error against one axis; return whether smoothing changed a line."""
    lines = [[_line(curve, unit, name) for curve in seeds] for _, seeds in groups]
    ends = [float(x[-1]) for seeds in lines for _, x, _, _ in seeds]
    logarithmic = min(ends) < max(ends) / 10
    first = min(float(x[0]) for seeds in lines for _, x, _, _ in seeds)
    axis = (first if logarithmic else 0.0, max(ends))
    drawn: Drawn = []
    changed = False
    for (line_style, _), seeds in zip(groups, lines, strict=True):
        smoothed = [(t, x, _running_mean(x, y, smooth, axis)) for t, x, y, _ in seeds]
        changed |= any(not np.array_equal(s[2], y[2]) for s, y in zip(smoothed, seeds, strict=True))
        drawn += draw_seeds(ax, smoothed, line_style)
        drops = [(places, x, y) for (_, x, y), (*_, places) in zip(smoothed, seeds, strict=True)]
        mark_drops(ax, drops, line_style["color"])
    what = "training" if name == "train_error" else "validation"
    ax.set(xlabel=_AXES[unit][2], ylabel=f"{what} error (%)")
    t_axis(ax, logarithmic)
    _error_axis(ax, drawn)
    if left is not None:
        _from(ax, left, drawn)
    return changed


def _line(curve: Curve, unit: Against, name: str) -> tuple[Array, Array, Array, list[float]]:
    """Return when the error was logged, in updates and on the axis, the error in %, and the places of the drops."""
    metrics = curve.run.metrics if curve.run is not None else pd.DataFrame()
    column, size, _ = _AXES[unit]
    for needed in filter(None, (name, column)):
        if needed not in metrics or metrics[needed].isna().all():
            raise FigureError(f"{curve.name}: no {needed!r} is recorded; expected recorder.log({needed}=...)")
    rows = metrics[metrics[name].notna()]
    t = rows.index.to_numpy(float)
    x = t if column is None else rows[column].to_numpy(float) / size
    return t, x, 100 * rows[name].to_numpy(float), np.interp(curve.drops, [0, *t], [0, *x]).tolist()


def _running_mean(x: Array, y: Array, share: float, axis: tuple[float, float]) -> Array:
    """Average over a share of an axis between two ends, which is logarithmic unless it begins at 0."""
    place = np.log(x / axis[0]) / np.log(axis[1] / axis[0]) if axis[0] else x / axis[1]
    first = np.searchsorted(place, place - share / 2, side="left")
    beyond = np.searchsorted(place, place + share / 2, side="right")
    total = np.concatenate([[0.0], np.cumsum(y)])
    return np.where(beyond - first > 1, (total[beyond] - total[first]) / (beyond - first), y)


def _error_axis(ax: Axes, drawn: Drawn) -> None:
    """Make the y axis logarithmic, with plain numbers, where the errors span more than a decade; otherwise from 0."""
    low = min(float(low.min()) for _, low, _ in drawn)
    if low > 0 and max(float(high.max()) for *_, high in drawn) > 10 * low:
        ax.set_yscale("log")
        plain_log_ticks(ax.yaxis)
    else:
        ax.set_ylim(bottom=0)


def _from(ax: Axes, left: float, drawn: Drawn) -> None:
    """Show the axis from `left` on, and the errors there."""
    ends = [(low[x >= left], high[x >= left]) for x, low, high in drawn]
    shown = np.concatenate([values for pair in ends for values in pair])
    if not shown.size:
        raise FigureError(f"zoom is {left:g}, beyond the end of every run; expected a place on the axis")
    ax.set_yscale("linear")
    margin = 0.05 * float(np.ptp(shown)) or 0.1
    ax.set(xlim=(left, ax.get_xlim()[1]), ylim=(shown.min() - margin, shown.max() + margin))
    if ax.get_xscale() == "log":
        t_axis(ax, logarithmic=True)
