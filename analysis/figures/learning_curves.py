"""Figures of the error: against epochs, updates or time, of validation or training too, and its end from close by."""

from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.curve import Curve, CurvesLike, curves
from analysis.errors import FigureError
from analysis.figures.lines import by_label, mark
from analysis.figures.style import PaperFigure, legend, panels, plain_log_ticks, style, t_axis, updates
from analysis.fitting.laws import Array

Against = Literal["updates", "epochs", "time"]

# What is logged that the axis shows, its unit's size in that, and its name. Updates are the index.
_AXES: dict[Against, tuple[str | None, float, str]] = {
    "updates": (None, 1, updates()),
    "epochs": ("epoch", 1, "epochs"),
    "time": ("wall_time", 60, "time (min)"),
}


def error(
    runs: CurvesLike, *, against: Against | None = None, training: bool = False, zoom: float | None = None
) -> PaperFigure:
    """Draw the validation error in % against updates, epochs or time.

    Seeds of one label share a colour; triangles mark learning-rate drops. The error is logged at the end of an epoch:
    between those the line is drawn straight. Several panels are laid out over rows.

    Args:
        runs: runs or paths of them.
        against: the x axis; None draws the first two side by side.
        training: also draw the training error: the share of an epoch's samples misclassified in training.
        zoom: also draw each panel from this place on, in the unit of its axis.

    Returns:
        The figure, of one panel to eight.

    Raises:
        FigureError: if a run did not log the error (`validation_error`, `train_error`: fractions) or, for epochs
            and time, `epoch` and `wall_time`; and for a zoom beyond the end of all runs.
    """
    groups = by_label(curves(runs))
    names = ("train_error", "validation_error") if training else ("validation_error",)
    units: tuple[Against, ...] = ("updates", "epochs") if against is None else (against,)
    shown = list(product(units, names, (None,) if zoom is None else (None, zoom)))
    with style():
        figure, axes = panels(len(shown))
        for ax, (unit, name, left) in zip(axes, shown, strict=True):
            for line_style, seeds in groups:
                for curve in seeds:
                    x, y, drops = _line(curve, unit, name)
                    ax.plot(x, y, marker="." if len(x) == 1 else None, **line_style)
                    mark(ax, drops, x, y, line_style["color"])
            what = "training" if name == "train_error" else "validation"
            ax.set(xlabel=_AXES[unit][2], ylabel=f"{what} error (%)")
            t_axis(ax, logarithmic=False)
            _error_axis(ax)
            if left is not None:
                _from(ax, left)
        legend(figure)
    return figure


def _line(curve: Curve, unit: Against, name: str) -> tuple[Array, Array, list[float]]:
    """Return the places on the axis where the error was logged, the error in % there, and the places of the drops."""
    metrics = curve.run.metrics if curve.run is not None else pd.DataFrame()
    column, size, _ = _AXES[unit]
    for needed in filter(None, (name, column)):
        if needed not in metrics or metrics[needed].isna().all():
            raise FigureError(f"{curve.name}: no {needed!r} is recorded; expected recorder.log({needed}=...)")
    rows = metrics[metrics[name].notna()]
    t = rows.index.to_numpy(float)
    x = t if column is None else rows[column].to_numpy(float) / size
    return x, 100 * rows[name].to_numpy(float), np.interp(curve.drops, [0, *t], [0, *x]).tolist()


def _error_axis(ax: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers, where the errors span more than a decade; otherwise from 0."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    if values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
        plain_log_ticks(ax.yaxis)
    else:
        ax.set_ylim(bottom=0)


def _from(ax: Axes, left: float) -> None:
    """Show the axis from `left` on, and the errors there."""
    values = [y[x >= left] for x, y in (np.asarray(line.get_data(), float) for line in ax.lines)]
    shown = np.concatenate(values)
    if not shown.size:
        raise FigureError(f"zoom is {left:g}, beyond the end of every run; expected a place on the axis")
    ax.set_yscale("linear")
    margin = 0.05 * float(np.ptp(shown)) or 0.1
    ax.set(xlim=(left, ax.get_xlim()[1]), ylim=(shown.min() - margin, shown.max() + margin))
