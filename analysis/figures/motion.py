"""Figures of how the weights move: the motion budget, ageing, the deviation of one path from another."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.axes import t_axis, updates
from analysis.figures.colours import COLOURS, ink
from analysis.figures.legends import legend
from analysis.figures.style import WIDTHS, Columns, PaperFigure, style
from analysis.matching.equivalence import Equivalence
from analysis.motion.ageing import TwoTime
from analysis.motion.budget import ALL, MotionBudget

_MOST = len(COLOURS)  # parameters that have a colour of their own


def budget(result: MotionBudget, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw R, the squared distance gained over what diffusion gives, in the middle of each window.

    Bars are confidence intervals over the runs, ends of the window are the ends of the lines. Of parameters only the
    first six are drawn.

    Args:
        result: the budget.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    with style():
        figure = PaperFigure(WIDTHS[columns], 2.4) if ax is None else ax.figure.figure
        panel = figure.subplots() if ax is None else ax
        for colour, name in zip(COLOURS, result.frame.parameter.unique()[:_MOST], strict=False):
            rows = result.frame[result.frame.parameter == name]
            middle = (rows.t_start * rows.t_end) ** 0.5
            panel.hlines(rows.ratio, rows.t_start, rows.t_end, color=colour, linewidth=1.2)
            panel.vlines(middle, rows.low, rows.high, color=colour, linewidth=0.8)
            panel.plot(middle, rows.ratio, "o", color=colour, label="all parameters" if name == ALL else name)
        panel.axhline(1, color=ink(), linewidth=0.6, linestyle=":")
        panel.annotate("diffusion", (1, 1), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
        panel.set(xlabel=updates(result.origin), ylabel="squared distance gained\nover diffusion's, $R$")
        t_axis(panel, logarithmic=True)
        panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
        if result.frame.parameter.nunique() > 1 and ax is None:
            legend(figure)
    return figure


def equivalent(result: Equivalence, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw the deviation of one configuration's distances from the other's, in each half decade of t.

    Bars are confidence intervals that hold together; between the dashed lines a deviation counts as none.

    Args:
        result: the comparison.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    with style():
        figure = PaperFigure(WIDTHS[columns], 2.4) if ax is None else ax.figure.figure
        panel = figure.subplots() if ax is None else ax
        rows = result.frame
        middle = (rows.t_start * rows.t_end) ** 0.5
        panel.hlines(rows.deviation, rows.t_start, rows.t_end, color=COLOURS[0], linewidth=1.2)
        panel.vlines(middle, rows.low, rows.high, color=COLOURS[0], linewidth=0.8)
        panel.plot(middle, rows.deviation, "o", color=COLOURS[0])
        panel.axhline(0, color=ink(), linewidth=0.6, linestyle=":")
        for edge in (-result.margin, result.margin):
            panel.axhline(edge, color=ink(), linewidth=0.6, linestyle="--")
        unit = updates(result.origin) if result.per == "updates" else "samples"
        panel.set(xlabel=unit, ylabel=r"deviation of $\log d$")
        t_axis(panel, logarithmic=True)
    return figure


def ageing(result: TwoTime, *, columns: Columns = 2) -> PaperFigure:
    """Draw D(t_w, τ) against τ, and against τ/t_w^μ, where ageing curves fall on one.

    Curves grow darker with the waiting time; over runs they are geometric means.

    Args:
        result: the displacements.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, of two panels.
    """
    lags = result.frame.assign(log=np.log(result.frame.distance)).groupby(["waiting_time", "lag"], as_index=False)
    means = lags["log"].mean()
    waits = np.sort(means.waiting_time.unique())
    shades = mpl.colormaps["viridis_r"](np.linspace(0.1, 0.95, len(waits)))
    with style():
        figure = PaperFigure(WIDTHS[columns], 2.6)
        left, right = figure.subplots(1, 2, sharey=True)
        for wait, shade in zip(waits, shades, strict=True):
            rows = means[means.waiting_time == wait]
            distance = np.exp(rows["log"])
            left.plot(rows.lag, distance, color=shade, label=f"{wait:g}")
            right.plot(rows.lag / wait**result.mu, distance, color=shade)
        left.set(xlabel=r"lag $\tau$ (updates)", ylabel=r"$\Vert w_{t_w+\tau} - w_{t_w}\Vert$")
        right.set(xlabel=rf"$\tau / t_w^{{\mu}}$, $\mu$ = {result.mu:.2f}")
        for panel in (left, right):
            panel.set(xscale="log", yscale="log")
        shown = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
        step = max(1, -(-len(shown) // _MOST))
        names = list(shown)[::step]
        left.legend([shown[name] for name in names], names, title="$t_w$ (updates)", title_fontsize=7)
    return figure
