"""Figures of α case by case: of each parameter, or from each origin, and whether a law holds there."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import FigureError
from analysis.figures.axes import power_of_ten
from analysis.figures.colours import ink, law_colour, paper
from analysis.figures.laws import alpha_range, p_axis, shown_p
from analysis.figures.legends import legend, legend_inside
from analysis.figures.lines import literal
from analysis.figures.style import WIDTHS, Columns, PaperFigure, style
from analysis.fitting.age import in_memories
from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.fitting.origins import OriginComparison

_LINE = 0.15  # inches that a parameter's name takes
_TALLEST = 9.0  # inches of a page


def layers(frame: pd.DataFrame, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw α of each parameter with its confidence interval; beside it, the law's p-value there.

    Parameters are named from top to bottom as in the table. Those at which the law holds are filled, rejected ones
    hollow; one that could not be fitted is named without a point. Intervals that are wider than most may leave the
    axes: an arrow at the edge says so.

    Args:
        frame: the table of `analysis.fit_layers`.
        ax: draw α there, without the p-values.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.

    Raises:
        FigureError: if no parameter was fitted.

    Examples:
        >>> import pandas as pd
        >>> from analysis import figures
        >>> index = pd.Index(["0.weight", "0.bias"], name="parameter")
        >>> columns = ["alpha", "low", "high", "p_value"]
        >>> table = pd.DataFrame([[0.5, 0.4, 0.6, 0.3], [2.0, 1.0, 3.0, 0.001]], index, columns)
        >>> [label.get_text() for label in figures.layers(table).axes[0].get_yticklabels()]
        ['0.weight', '0.bias']
    """
    if frame["alpha"].isna().all():
        raise FigureError("no parameter has an α; expected a table of fit_layers in which one could be fitted")
    return _one_below_the_other(frame, [literal(str(name)) for name in frame.index], None, ax, columns)


def origins(result: OriginComparison, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw α from each origin with its confidence interval; beside it, the law's p-value there.

    Origins stand from top to bottom, with their age in memory times where it is known. Those from which the law holds
    are filled, rejected ones hollow. Above stands whether α moves with the origin.

    Args:
        result: what `analysis.compare_origins` returned.
        ax: draw α there, without the p-values.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    rows = result.frame[["origin", "origin_age"]].itertuples(index=False)
    names = [rf"$w_{{{s:.0f}}}$" + ("" if math.isnan(age) else f", {in_memories(age)}") for s, age in rows]
    said = "moves with the origin" if result.moves else "is not seen to move"
    return _one_below_the_other(
        result.frame, names, rf"$\alpha$ {said} ($p$ = {power_of_ten(result.p_value)})", ax, columns
    )


def _one_below_the_other(
    frame: pd.DataFrame, names: Sequence[str], title: str | None, ax: Axes | None, columns: Columns
) -> Figure:
    with style():
        if ax is not None:
            _draw_alphas(ax, frame, names)
            legend_inside(ax, title)
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], min(_TALLEST, 1.0 + _LINE * len(frame)))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
        _draw_alphas(left, frame, names)
        _draw(right, frame, shown_p(frame["p_value"]))
        right.axvline(ACCEPTED, color=ink(), linewidth=0.6, linestyle=":")
        p_axis(right.xaxis, frame["p_value"].dropna().to_numpy(float))
        right.set_title(f"rejected below {ACCEPTED:g}", fontsize=6, loc="right")
        legend(figure, title)
    return figure


def _draw_alphas(ax: Axes, frame: pd.DataFrame, names: Sequence[str]) -> None:
    ends = [frame["alpha"] - frame["low"], frame["high"] - frame["alpha"]]
    place = np.arange(len(frame))
    ax.errorbar(frame["alpha"], place, xerr=ends, fmt="none", ecolor=law_colour("ultraslow"), elinewidth=0.8)
    _draw(ax, frame, frame["alpha"].to_numpy(float))
    ax.axvline(0, color=ink(), linewidth=0.6)
    ax.set_yticks(place, names)
    low, high = alpha_range(frame)
    for edge, arrow, beyond in ((low, "<", frame["low"] < low), (high, ">", frame["high"] > high)):
        there = place[beyond]
        ax.plot(np.full(len(there), edge), there, arrow, color=law_colour("ultraslow"), markersize=3, clip_on=False)
    ax.set(xlabel=r"$\alpha$", xlim=(low, high), ylim=(len(frame) - 0.5, -0.5))


def _draw(ax: Axes, frame: pd.DataFrame, values: Any) -> None:
    good = frame["p_value"].to_numpy() >= ACCEPTED
    fitted = frame["alpha"].notna().to_numpy()
    colour, place = law_colour("ultraslow"), np.arange(len(frame))
    for held, label in ((True, f"law holds ($p$ ≥ {ACCEPTED:g})"), (False, "law rejected")):
        here = fitted & (good == held)
        if here.any():
            face = colour if held else paper()
            ax.plot(values[here], place[here], "o", color=colour, markerfacecolor=face, label=label, zorder=3)
