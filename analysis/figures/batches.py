"""Figures of runs of several batch sizes and rates: their collapse on one curve, and the critical batch size."""

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.axes import distance_label, plain_log_ticks, short_log_ticks, t_axis, updates
from analysis.figures.colours import COLOURS, DASHES, ink, paper
from analysis.figures.laws import FAINT_BAND
from analysis.figures.legends import legend, legend_above, legend_inside
from analysis.figures.lines import LineStyle, draw_seeds
from analysis.figures.style import WIDTHS, Columns, PaperFigure, one_panel, style
from analysis.motion.collapse import Collapse
from analysis.motion.critical_batch import CriticalBatch

_NEAR = 10.0  # times the batches' range: a B_c within is shown


def collapse(result: Collapse, ax: Axes | None = None, *, columns: Columns = 2) -> Figure:
    """Draw distances of all runs, the same divided by η^a B^−b, and the exponents at each t.

    A batch size has a colour, a rate has dashes. η and B count from their geometric means, so that the second panel
    shows the distances that all runs would have there. Runs of one setting are drawn as their mean and the band from
    the lowest to the highest; bands of the exponents are confidence intervals.

    Args:
        result: the collapse.
        ax: draw the divided distances there.
        columns: the figure's width in columns of a two-column journal; in one, the panels stand below each other.

    Returns:
        The figure, of three panels, or that of `ax`.
    """
    with style():
        if ax is not None:
            handles = _draw_runs(ax, result, "scaled")
            ax.legend(handles.values(), handles.keys())
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], 2.5 if columns == 2 else 5.6)
        before, after, exponents = figure.subplots(*((1, 3) if columns == 2 else (3, 1))).ravel()
        handles = _draw_runs(before, result, "distance")
        _draw_runs(after, result, "scaled")
        after.set_ylim(before.get_ylim())
        _draw_exponents(exponents, result)
        figure.align_ylabels()
        legend_above(figure, handles)
    return figure


def _draw_runs(ax: Axes, result: Collapse, column: str) -> dict[str, Line2D]:
    """Draw a column of the runs' curves on logarithmic axes; return what a legend shows."""
    looks = _looks(result.curves)
    for (lr, batch), rows in result.curves.groupby(["lr", "batch_size"]):
        seeds = [
            (seed["t"].to_numpy(), seed["t"].to_numpy(), seed[column].to_numpy()) for _, seed in rows.groupby("run")
        ]
        draw_seeds(ax, seeds, looks["lr"][lr] | looks["batch_size"][batch])
    label = distance_label(result.origin)
    ax.set(xlabel=updates(result.origin), ylabel=label if column == "distance" else label + _divided(result))
    ax.set_yscale("log")
    short_log_ticks(ax.yaxis)
    t_axis(ax, logarithmic=True)
    named = [("B", looks["batch_size"]), (r"\eta", looks["lr"])]
    plain: LineStyle = {"color": ink()}
    return {
        f"${symbol}$ = {value:g}": Line2D([], [], **(plain | look))
        for symbol, each in named
        for value, look in each.items()
        if len(each) > 1
    }


def _looks(curves: pd.DataFrame) -> dict[str, dict[Any, LineStyle]]:
    """Return the colour of each batch size and the dashes of each rate, in order; many sizes grow darker."""
    sizes, rates = (np.unique(curves[name]).tolist() for name in ("batch_size", "lr"))
    many = len(sizes) > len(COLOURS)
    colours: Any = mpl.colormaps["viridis_r"](np.linspace(0.1, 0.95, len(sizes))) if many else COLOURS
    return {
        "batch_size": {size: {"color": colour} for size, colour in zip(sizes, colours, strict=False)},
        "lr": {rate: {"linestyle": DASHES[k % len(DASHES)]} for k, rate in enumerate(rates)},
    }


def _divided(result: Collapse) -> str:
    """Say by what the distances are divided."""
    powers = [rf"\eta^{{{result.a:.2f}}}"] * (not math.isnan(result.a))
    powers += [rf"B^{{{-result.b:.2f}}}"] * (not math.isnan(result.b))
    return rf" / ${''.join(powers)}$"


def _draw_exponents(ax: Axes, result: Collapse) -> None:
    """Draw a and b at each t, with their intervals."""
    looks: dict[str, LineStyle] = {"a": {"linestyle": "-"}, "b": {"linestyle": DASHES[2]}}
    for name, look in looks.items():
        rows = result.frame[result.frame[name].notna()]
        if len(rows):
            ax.fill_between(rows["t"], rows[f"{name}_low"], rows[f"{name}_high"], **FAINT_BAND)
            ax.plot(rows["t"], rows[name], color=ink(), label=f"${name}$", **look)
    ax.set(xlabel=updates(result.origin), ylabel=r"exponents of $\eta^a B^{-b}$")
    t_axis(ax, logarithmic=True)
    ax.legend()


def critical_batch(result: CriticalBatch, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw the updates that each run needed against its batch size, and S_min (1 + B_c/B).

    A vertical line is B_c, the band its confidence interval, a dotted line S_min. B_c is left out where it lies far
    from all batch sizes, and where the runs bound it on neither side.

    Args:
        result: the critical batch size.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    low, high = result.frame["batch_size"].min(), result.frame["batch_size"].max()
    bounded = (result.interval[0] > 0 or result.interval[1] < math.inf) and (
        low / _NEAR <= result.batch_size <= high * _NEAR
    )
    ends = (low, high, result.batch_size) if bounded else (low, high)
    shown = min(ends) / 1.5, max(ends) * 1.5
    with style():
        figure, panel = one_panel(ax, WIDTHS[columns], 2.6)
        fine = np.geomspace(*shown, 200)
        law: dict[str, Any] = {"color": COLOURS[0], "label": r"$S_\mathrm{min}\,(1 + B_c/B)$"}
        panel.plot(fine, result.predict(fine), **law)
        if bounded:
            _draw_critical(panel, result, shown)
        points: dict[str, Any] = {"color": ink(), "markerfacecolor": paper(), "label": f"{len(result.frame)} runs"}
        panel.plot(result.frame["batch_size"], result.frame["updates"], "o", **points)
        panel.set(xscale="log", yscale="log", xlim=shown, xlabel="batch size $B$ (samples)")
        panel.set_ylabel(f"updates $S$ to {_target(result)}")
        plain_log_ticks(panel.xaxis)
        short_log_ticks(panel.yaxis)
        legend(figure) if ax is None else legend_inside(ax)
    return figure


def _draw_critical(ax: Axes, result: CriticalBatch, shown: tuple[float, float]) -> None:
    low, high = result.interval
    ax.axvspan(max(low, shown[0]), min(high, shown[1]), **FAINT_BAND)
    label = f"$B_c$ = {_samples(result.batch_size)} [{_samples(low)}, {_samples(high)}]"
    ax.axvline(result.batch_size, color=COLOURS[1], linewidth=0.8, label=label)
    ax.axhline(result.fewest_updates, color=ink(), linewidth=0.6, linestyle=":")
    beside: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "verticalalignment": "center"}
    ax.text(1.01, result.fewest_updates, r"$S_\mathrm{min}$", **beside)


def _samples(number: float) -> str:
    return "∞" if math.isinf(number) else f"{number:.3g}" if number < 1000 else f"{number:.0f}"


def _target(result: CriticalBatch) -> str:
    name = "$d$" if result.quantity == "distance" else result.quantity.replace("_", " ")
    return f"{name} = {result.target:g}"
