"""The figure of a fit by layer: α of each parameter, and whether a law holds there."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import FigureError
from analysis.figures.colours import ink, law_colour, paper
from analysis.figures.laws import alpha_range, p_axis, shown_p
from analysis.figures.legends import legend, legend_inside
from analysis.figures.lines import literal
from analysis.figures.style import WIDTHS, Columns, PaperFigure, style
from analysis.fitting.goodness_of_fit import ACCEPTED

_LINE = 0.15  # inches that a parameter's name takes
_TALLEST = 9.0  # inches of a page


def layers(frame: pd.DataFrame, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw α of each parameter with its confidence interval; beside it, the law's p-value there.

    Parameters are named from top to bottom as in the table. Those at which the law holds are filled, rejected ones
    hollow; one that could not be fitted is named without a point. Intervals that are wider than most may leave the
    axes.

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
    with style():
        if ax is not None:
            _draw_alphas(ax, frame)
            legend_inside(ax)
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], min(_TALLEST, 1.0 + _LINE * len(frame)))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
        _draw_alphas(left, frame)
        _draw(right, frame, shown_p(frame["p_value"]))
        right.axvline(ACCEPTED, color=ink(), linewidth=0.6, linestyle=":")
        p_axis(right.xaxis, frame["p_value"].dropna().to_numpy(float))
        right.set_title(f"rejected below {ACCEPTED:g}", fontsize=6, loc="right")
        legend(figure)
    return figure


def _draw_alphas(ax: Axes, frame: pd.DataFrame) -> None:
    ends = [frame["alpha"] - frame["low"], frame["high"] - frame["alpha"]]
    place = np.arange(len(frame))
    ax.errorbar(frame["alpha"], place, xerr=ends, fmt="none", ecolor=law_colour("ultraslow"), elinewidth=0.8)
    _draw(ax, frame, frame["alpha"].to_numpy(float))
    ax.axvline(0, color=ink(), linewidth=0.6)
    ax.set_yticks(place, [literal(str(name)) for name in frame.index])
    ax.set(xlabel=r"$\alpha$", xlim=alpha_range(frame), ylim=(len(frame) - 0.5, -0.5))


def _draw(ax: Axes, frame: pd.DataFrame, values: Any) -> None:
    good = frame["p_value"].to_numpy() >= ACCEPTED
    fitted = frame["alpha"].notna().to_numpy()
    colour, place = law_colour("ultraslow"), np.arange(len(frame))
    for held, label in ((True, f"law holds ($p$ ≥ {ACCEPTED:g})"), (False, "law rejected")):
        here = fitted & (good == held)
        if here.any():
            face = colour if held else paper()
            ax.plot(values[here], place[here], "o", color=colour, markerfacecolor=face, label=label, zorder=3)
