"""Figures of how the weights move: the motion budget, ageing, the deviation of one path from another."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.axes import minus, short_log_ticks, t_axis, updates
from analysis.figures.colours import COLOURS, ink
from analysis.figures.legends import legend, legend_inside
from analysis.figures.style import WIDTHS, Columns, PaperFigure, one_panel, style
from analysis.matching.equivalence import Equivalence
from analysis.motion.ageing import TwoTime
from analysis.motion.budget import MotionBudget
from analysis.motion.recorded_motion import ALL

_MOST = len(COLOURS)  # parameters that have a colour of their own
_DECADE = 10.0


def budget(result: MotionBudget, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw R, the squared distance gained over what diffusion gives, in the middle of each window.

    Bars are confidence intervals over the runs, ends of the window are the ends of the lines. Of parameters only the
    first six are drawn, which the legend says. The axis of values that differ by more than ten times is logarithmic.

    Args:
        result: the budget.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    with style():
        figure, panel = one_panel(ax, WIDTHS[columns], 2.4)
        names = result.frame.parameter.unique()
        frame = result.frame[result.frame.parameter.isin(names[:_MOST])]
        for colour, name in zip(COLOURS, names[:_MOST], strict=False):
            rows = frame[frame.parameter == name]
            middle = (rows.t_start * rows.t_end) ** 0.5
            panel.hlines(rows.ratio, rows.t_start, rows.t_end, color=colour, linewidth=1.2)
            panel.vlines(middle, rows.low, rows.high, color=colour, linewidth=0.8)
            panel.plot(middle, rows.ratio, "o", color=colour, label="all parameters" if name == ALL else name)
        panel.axhline(1, color=ink(), linewidth=0.6, linestyle=":")
        beside = panel.get_yaxis_transform()
        panel.text(1.01, 1, "diffusion", transform=beside, verticalalignment="center", fontsize=6)
        panel.set(xlabel=updates(result.origin), ylabel="squared distance gained\nover diffusion's, $R$")
        t_axis(panel, logarithmic=True)
        if 0 < frame.ratio.min() * _DECADE < frame.ratio.max():
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
        if len(names) > 1:
            title = f"{_MOST} of {len(names)} parameters" if len(names) > _MOST else None
            legend(figure, title) if ax is None else legend_inside(ax, title)
    return figure


def equivalent(result: Equivalence, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw the deviation of one configuration's distances from the other's, in each half decade of t.

    Bars are confidence intervals that hold together; within the band a deviation counts as none.

    Args:
        result: the comparison.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    with style():
        figure, panel = one_panel(ax, WIDTHS[columns], 2.4)
        rows = result.frame
        middle = (rows.t_start * rows.t_end) ** 0.5
        panel.hlines(rows.deviation, rows.t_start, rows.t_end, color=COLOURS[0], linewidth=1.2)
        panel.vlines(middle, rows.low, rows.high, color=COLOURS[0], linewidth=0.8)
        panel.plot(middle, rows.deviation, "o", color=COLOURS[0])
        panel.axhline(0, color=ink(), linewidth=0.6, linestyle=":")
        panel.axhspan(-result.margin, result.margin, color="grey", alpha=0.2, linewidth=0)
        unit = updates(result.origin) if result.per == "updates" else "samples"
        panel.set(xlabel=unit, ylabel=r"deviation of $\log d$")
        t_axis(panel, logarithmic=True)
    return figure


def ageing(result: TwoTime, ax: Axes | None = None, *, columns: Columns = 2) -> Figure:
    """Draw D(t_w, τ) against τ, and against τ/t_w^μ, where ageing curves fall on one.

    Curves grow darker with the waiting time; over runs they are geometric means.

    Args:
        result: the displacements.
        ax: draw D against τ there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, of two panels, or that of `ax`.
    """
    lags = result.frame.assign(log=np.log(result.frame.distance)).groupby(["waiting_time", "lag"], as_index=False)
    means = pd.DataFrame(lags["log"].mean())
    with style():
        if ax is not None:
            _draw_two_time(ax, means, 0.0)
            _waiting_times(ax)
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], 2.6)
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_two_time(left, means, 0.0)
        _draw_two_time(right, means, result.mu)
        right.set(xlabel=rf"$\tau / t_w^{{\mu}}$, $\mu$ = {minus(result.mu, '.2f')}", ylabel="")
        _waiting_times(left)
    return figure


def _draw_two_time(ax: Axes, means: pd.DataFrame, mu: float) -> None:
    """Draw D against τ/t_w^μ, a line for each waiting time."""
    waits = np.sort(means.waiting_time.unique())
    shades = mpl.colormaps["viridis_r"](np.linspace(0.1, 0.95, len(waits)))
    for wait, shade in zip(waits, shades, strict=True):
        rows = means[means.waiting_time == wait]
        ax.plot(rows.lag / wait**mu, np.exp(rows["log"]), color=shade, label=f"{wait:g}")
    ax.set(xlabel=r"lag $\tau$ (updates)", ylabel=r"distance $\Vert w_{t_w+\tau} - w_{t_w}\Vert$")
    ax.set(xscale="log", yscale="log")
    for axis in (ax.xaxis, ax.yaxis):
        short_log_ticks(axis)


def _waiting_times(ax: Axes) -> None:
    """Name at most six of the waiting times."""
    handles, names = ax.get_legend_handles_labels()
    step = max(1, -(-len(names) // _MOST))
    ax.legend(handles[::step], names[::step], title="$t_w$ (updates)", title_fontsize=7)
