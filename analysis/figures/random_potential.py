"""Figures of the random potential: √S(z) with its local exponent, and its α beside the curve's."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.agreement import Agreement
from analysis.figures.axes import minus, short_log_ticks
from analysis.figures.colours import COLOURS, ink, paper
from analysis.figures.legends import legend, legend_inside
from analysis.figures.style import WIDTHS, Columns, PaperFigure, one_panel, style
from analysis.potential_result import TAYLOR, Potential

_RUN: dict[str, Any] = {"color": "grey", "alpha": 0.2, "linewidth": 0}
_TAYLOR = r"Taylor, $\alpha$ = 2: any smooth loss"


def hollow(colour: str) -> dict[str, Any]:
    """Return the markers of what was measured: hollow circles without a line.

    Args:
        colour: of their edges.
    """
    return {"color": colour, "markerfacecolor": paper(), "markeredgewidth": 0.8, "linestyle": "none", "marker": "o"}


def potential(
    result: Potential,
    ax: Axes | None = None,
    *,
    run_range: tuple[float, float] | None = None,
    compared: Agreement | None = None,
    columns: Columns = 1,
) -> Figure:
    """Draw √S(z) by origin and on average, with Taylor's line; below, the exponent from one distance to the next.

    Args:
        result: α from the potential.
        ax: draw there, without the exponent.
        run_range: the distances that the run covers, shaded.
        compared: its comparison with the curve, whose α then stands below.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.

    Examples:
        >>> import numpy as np
        >>> from analysis import figures
        >>> from analysis.potential import potential
        >>> from analysis.synthetic import fractional_potential
        >>> z = np.geomspace(0.1, 10, 9)
        >>> result = potential((z, fractional_potential(np.random.default_rng(0), 1.0, z)))
        >>> len(figures.potential(result, run_range=(1, 5)).axes)
        2
    """
    with style():
        if ax is not None:
            _draw_potential(ax, result, run_range)
            ax.set_xlabel("distance $z$")
            legend_inside(ax)
            return ax.figure.figure
        heights = (2.0, 1.35, 1.1)[: 2 if compared is None else 3]
        figure = PaperFigure(WIDTHS[columns], 0.25 + sum(heights))
        above, below, *lowest = figure.subplots(len(heights), 1, height_ratios=heights)
        below.sharex(above)
        _draw_potential(above, result, run_range)
        above.tick_params(labelbottom=False, which="both")
        _draw_exponents(below, result, run_range)
        if compared is not None:
            _draw_agreement(lowest[0], compared)
        figure.align_ylabels([above, below])
        figure.supxlabel(TAYLOR.replace(": ", ":\n"), fontsize=6)
        legend(figure)
    return figure


def agreement(result: Agreement, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw the two α's with their intervals, and what the comparison says.

    Args:
        result: the comparison.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    with style():
        figure, panel = one_panel(ax, WIDTHS[columns], 2.0)
        _draw_agreement(panel, result)
        legend(figure) if ax is None else legend_inside(ax)
    return figure


def _draw_agreement(ax: Axes, result: Agreement) -> None:
    low, high = result.potential_range
    names = [f"potential\n$z$ = {low:.3g} .. {high:.3g}"]
    low, high = result.curve_range
    names.append(f"curve\n$d$ = {low:.3g} .. {high:.3g}")
    values = np.array([result.potential, result.curve])
    ends = np.array([result.potential_interval, result.curve_interval])
    ax.errorbar(values, [1, 0], xerr=abs(ends.T - values), elinewidth=0.8, **hollow(COLOURS[0]))
    ax.axvline(2, color=COLOURS[1], linestyle=":", linewidth=0.8, label=_TAYLOR)
    ax.set(xlabel=r"$\alpha$", ylim=(-0.6, 1.6))
    ax.set_yticks([1, 0], names)
    ax.set_title(f"p-value {result.p_value:.2g}" if result.p_value is not None else "not comparable")


def _draw_exponents(ax: Axes, result: Potential, run_range: tuple[float, float] | None) -> None:
    if run_range is not None:
        ax.axvspan(*run_range, **_RUN)
    z, exponent, low, high = result.local[["z", "exponent", "low", "high"]].to_numpy().T
    ax.errorbar(z, exponent, [exponent - low, high - exponent], elinewidth=0.8, **hollow(COLOURS[0]))
    ax.axhline(2, color=COLOURS[1], linestyle=":", linewidth=0.8)
    ax.set(xlabel="distance $z$", ylabel="local exponent")


def _draw_potential(ax: Axes, result: Potential, run_range: tuple[float, float] | None) -> None:
    if run_range is not None:
        ax.axvspan(*run_range, label="distances of the run", **_RUN)
    for k, origin in enumerate(np.sqrt(result.s)):
        ax.plot(result.z, origin, color="grey", alpha=0.6, linewidth=0.5, label="" if k else f"{result.n} origins")
    table: pd.DataFrame = result.table
    low, high = (minus(end, ".2f") for end in result.interval)
    law = rf"mean, $\alpha$ = {minus(result.alpha, '.2f')} [{low}, {high}]"
    ax.plot(table["z"], np.sqrt(table["S"]), label=law, **hollow(ink()))
    if table["taylor"].notna().all() and (table["taylor"] > 0).all():
        ax.plot(table["z"], np.sqrt(table["taylor"]), color=COLOURS[1], linestyle=":", label=_TAYLOR)
    ax.set(xscale="log", yscale="log", ylabel=r"$\sqrt{S(z)}$ (loss)")
    for axis in (ax.xaxis, ax.yaxis):
        short_log_ticks(axis)
