"""Figures of the error: against epochs, updates or time, of validation or training too, and its end from close by."""

from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.curve import Curve, Curves, curves
from analysis.errors import FigureError
from analysis.figures.laws import updates
from analysis.figures.lines import by_label, mark, row_of
from analysis.figures.style import DOUBLE, SINGLE, PaperFigure, legend, plain_log_ticks, style, t_axis
from analysis.fitting.laws import Array

Against = Literal["updates", "epochs", "time"]

# What is logged that the axis shows, its unit's size in that, and its name. Updates are the index.
_AXES: dict[Against, tuple[str | None, float, str]] = {
    "updates": (None, 1, updates()),
    "epochs": ("epoch", 1, "epochs"),
    "time": ("wall_time", 60, "time (min)"),
}


def error(
    runs: Curves, *, against: Against | None = None, training: bool = False, zoom: float | None = None
) -> PaperFigure:
    """Validation error in % against updates, epochs or time, or (None) against the first two side by side.

    Seeds of one label share a colour; triangles mark learning-rate drops. The error is logged at the end of an epoch:
    between those the line is drawn straight.
    training: beside it, the training error: the share misclassified of an epoch's samples, as they were trained on.
    zoom: beside each, the part from there on, in the axis' unit.

    Raises FigureError if a run did not log the error (`validation_error`, `train_error`: fractions) or, for epochs
    and time, `epoch` and `wall_time`; and for a zoom beyond all runs.
    """
    groups = by_label(curves(runs))
    names = ("train_error", "validation_error") if training else ("validation_error",)
    shown: tuple[Against, ...] = ("updates", "epochs") if against is None else (against,)
    panels = list(product(shown, names, (None,) if zoom is None else (None, zoom)))
    with style():
        figure = PaperFigure(SINGLE if len(panels) == 1 else DOUBLE, 2.7)
        for ax, (unit, name, left) in zip(row_of(figure, len(panels)), panels, strict=True):
            for look, seeds in groups:
                for curve in seeds:
                    x, y, drops = _line(curve, unit, name)
                    ax.plot(x, y, marker="." if len(x) == 1 else None, **look)
                    mark(ax, drops, x, y, look["color"])
            what = "training" if name == "train_error" else "validation"
            ax.set(xlabel=_AXES[unit][2], ylabel=f"{what} error (%)")
            t_axis(ax, logarithmic=False)
            _error_axis(ax)
            if left is not None:
                _from(ax, left)
        legend(figure)
    return figure


def _line(curve: Curve, unit: Against, name: str) -> tuple[Array, Array, list[float]]:
    """Where the error was logged on the axis, the error in %, and where on the axis the learning rate dropped."""
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
    """Logarithmic, with plain numbers, where the errors span more than a decade; otherwise from 0."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    if values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
        plain_log_ticks(ax.yaxis)
    else:
        ax.set_ylim(bottom=0)


def _from(ax: Axes, left: float) -> None:
    """Shows the axis from `left` on, and the errors there."""
    values = [y[x >= left] for x, y in (np.asarray(line.get_data(), float) for line in ax.lines)]
    shown = np.concatenate(values)
    if not shown.size:
        raise FigureError(f"zoom is {left:g}, beyond the end of every run; expected a place on the axis")
    ax.set_yscale("linear")
    margin = 0.05 * float(np.ptp(shown)) or 0.1
    ax.set(xlim=(left, ax.get_xlim()[1]), ylim=(shown.min() - margin, shown.max() + margin))
