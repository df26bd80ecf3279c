"""Figures of the random potential: √S(z) with its local exponent, and its α beside the curve's."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.agreement import Agreement
from analysis.figures.axes import minus, plain_log_ticks
from analysis.figures.colours import COLOURS, ink, paper
from analysis.figures.legends import legend, legend_inside
from analysis.figures.style import SINGLE, PaperFigure, one_panel, style
from analysis.potential_result import TAYLOR, Potential

_RUN: dict[str, Any] = {"color": "grey", "alpha": 0.2, "linewidth": 0}


def hollow(colour: str) -> dict[str, Any]:
    """Return the markers of what was measured: hollow circles without a line.

    Args:
        colour: of their edges.
    """
    return {"color": colour, "markerfacecolor": paper(), "markeredgewidth": 0.8, "linestyle": "none", "marker": "o"}


def potential(result: Potential, ax: Axes | None = None, *, run_range: tuple[float, float] | None = None) -> Figure:
    """Draw √S(z) by origin and on average, with Taylor's line; below, the exponent from one distance to the next.

    Args:
        result: α from the potential.
        ax: draw there, without the exponent.
        run_range: the distances that the run covers, shaded.

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
        figure = PaperFigure(SINGLE, 3.6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_potential(above, result, run_range)
        if run_range is not None:
            below.axvspan(*run_range, **_RUN)
        z, exponent, low, high = result.local[["z", "exponent", "low", "high"]].to_numpy().T
        below.errorbar(z, exponent, [exponent - low, high - exponent], elinewidth=0.8, **hollow(COLOURS[0]))
        below.axhline(2, color=COLOURS[1], linestyle=":", linewidth=0.8)
        below.set(xlabel="distance $z$", ylabel="local exponent")
        figure.align_ylabels()
        figure.supxlabel(TAYLOR.replace(": ", ":\n"), fontsize=6)
        legend(figure)
    return figure


def agreement(result: Agreement, ax: Axes | None = None) -> Figure:
    """Draw the two α's with their intervals, and what the comparison says.

    Args:
        result: the comparison.
        ax: draw there.

    Returns:
        The figure, or that of `ax`.
    """
    low, high = result.potential_range
    names = [f"potential\n$z$ = {low:.3g} .. {high:.3g}"]
    low, high = result.curve_range
    names.append(f"curve\n$d$ = {low:.3g} .. {high:.3g}")
    values = np.array([result.potential, result.curve])
    ends = np.array([result.potential_interval, result.curve_interval])
    with style():
        figure, panel = one_panel(ax, SINGLE, 2.0)
        panel.errorbar(values, [1, 0], xerr=abs(ends.T - values), elinewidth=0.8, **hollow(COLOURS[0]))
        panel.axvline(2, color=COLOURS[1], linestyle=":", linewidth=0.8, label="any smooth loss, by Taylor")
        panel.set(xlabel=r"$\alpha$", ylim=(-0.6, 1.6))
        panel.set_yticks([1, 0], names)
        verdict = f"p-value {result.p_value:.2g}" if result.p_value is not None else "not comparable"
        panel.set_title(verdict)
        legend(figure) if ax is None else legend_inside(ax)
    return figure


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
        taylor = r"Taylor, $\alpha$ = 2"
        ax.plot(table["z"], np.sqrt(table["taylor"]), color=COLOURS[1], linestyle=":", label=taylor)
    ax.set(xscale="log", yscale="log", ylabel=r"$\sqrt{S(z)}$ (loss)")
    if result.z[-1] < 30 * result.z[0]:
        plain_log_ticks(ax.xaxis)
