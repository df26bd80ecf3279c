"""Figures of the law: a fit with its residuals, the scan over its start, and rival laws side by side."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import (
    COLOURS,
    DOUBLE,
    INK,
    SINGLE,
    PaperFigure,
    distance_label,
    legend,
    since,
    style,
    t_axis,
    updates,
)
from analysis.fitting.comparison_result import Comparison, LawFit
from analysis.fitting.fit_result import Fit
from analysis.fitting.laws import Array
from analysis.fitting.rival_laws import LAWS

Columns = Literal[1, 2]

_BAND: dict[str, Any] = {"color": "#bbbbbb", "linewidth": 0}
_POINTS: dict[str, Any] = {"color": INK, "markerfacecolor": "white", "markeredgewidth": 0.6, "markersize": 3.2}
_WIDTHS = {1: SINGLE, 2: DOUBLE}


def fit(result: Fit, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw mean distances by log bin, the band of the seeds, and the fitted law; below, the residuals in % of d.

    The band extends from the lowest seed to the highest.

    Args:
        result: the fit.
        ax: draw there, without the residuals.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.

    Examples:
        >>> import numpy as np
        >>> from analysis import figures, fit
        >>> t = np.arange(1, 2001)
        >>> noise = np.exp(1e-3 * np.random.default_rng(0).normal(size=2000))
        >>> figure = figures.fit(fit((t, t**0.25 * noise)), columns=2)
        >>> [path.name for path in figures.save(figure, "fit")]
        ['fit.png', 'fit.pdf']
    """
    with style():
        if ax is not None:
            _draw_law(ax, result)
            ax.set(xlabel=updates(result.origin))
            ax.legend()
            return ax.figure.figure
        figure = PaperFigure(_WIDTHS[columns], 3.2)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_law(above, result)
        for seed in result.residuals:
            below.plot(np.exp(result.u), 100 * np.expm1(seed), color=COLOURS[0], linewidth=0.5)
        mean = result.residuals.mean(axis=0)
        below.plot(np.exp(result.u), 100 * np.expm1(mean), "o", **_POINTS)
        below.axhline(0, color=COLOURS[1], linewidth=0.8)
        below.set(xlabel=updates(result.origin), ylabel="residual (%)")
        figure.align_ylabels()
        legend(figure)
    return figure


def scan(result: Fit | pd.DataFrame, *, columns: Columns = 1) -> PaperFigure:
    """Draw α with its confidence interval against the start of the fit; below, the law's p-value there.

    The start of a Fit is drawn filled, over the band of its interval over the starts.

    Args:
        result: a Fit, or the table of `analysis.scan`.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, of two panels.
    """
    frame = result.scan if isinstance(result, Fit) else result
    frame = frame[frame["alpha"].notna()]
    with style():
        figure = PaperFigure(_WIDTHS[columns], 3.2)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        lengths = [frame["alpha"] - frame["low"], frame["high"] - frame["alpha"]]
        open_circles: dict[str, Any] = {"color": COLOURS[0], "markerfacecolor": "white"}
        above.errorbar(frame["t_min"], frame["alpha"], lengths, fmt="o", elinewidth=0.8, **open_circles)
        below.plot(frame["t_min"], frame["p_value"], "o", **open_circles)
        if isinstance(result, Fit):
            chosen = frame[np.isclose(frame["t_min"], result.fit_range[0])]
            above.plot(chosen["t_min"], chosen["alpha"], "o", color=COLOURS[0], zorder=3, label="start of the fit")
            below.plot(chosen["t_min"], chosen["p_value"], "o", color=COLOURS[0], zorder=3)
            if result.interval_over_starts is not None:
                above.axhspan(
                    *result.interval_over_starts, color="#e4e4e4", linewidth=0, label="interval over the starts"
                )
            legend(figure)
        above.axhline(0, color=INK, linewidth=0.6)
        above.set(ylabel=r"$\alpha$", ylim=_alpha_range(frame))
        below.axhline(0.05, color=INK, linewidth=0.6, linestyle=":")
        start = r"start of the fit $t_\mathrm{min}$ (updates" + since(_origin(result)) + ")"
        below.set(xlabel=start, ylabel="$p$-value", ylim=(-0.06, 1.06))
        t_axis(below, logarithmic=True)
        figure.align_ylabels()
    return figure


def compare(result: Comparison, *, columns: Columns = 1) -> PaperFigure:
    """Draw mean distances by log bin with every law's fit; below, the residuals of each law in % of d.

    Laws that are ruled out are dashed. The grey band below is the spread of the seeds about their mean (one standard
    deviation); the shaded third of the fit range is what each law had to predict in the holdout test. The residuals
    of laws that are ruled out may leave the axes, as their curves do above.

    Args:
        result: the comparison.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, of two panels.
    """
    t = np.exp(result.u)
    with style():
        figure = PaperFigure(_WIDTHS[columns], 3.8)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for ax in (above, below):
            ax.axvspan(result.holdout_from, t[-1], color="#eeeeee", linewidth=0, label="holdout third")
        if result.n > 1:
            spread = 100 * result.z.std(axis=0, ddof=1)
            below.fill_between(t, -spread, spread, label=f"spread of {result.n} seeds", **_BAND)
        above.plot(t, np.exp(result.z.mean(axis=0)), "o", label="mean of log bins", zorder=3, **_POINTS)
        residuals = result.residuals
        for law in result.fits:
            above.plot(t, np.exp(law.curve), **_line_style(law))
            below.plot(t, 100 * np.expm1(residuals[law.law.name]), **_line_style(law))
        below.axhline(0, color=INK, linewidth=0.6)
        highest = float(np.exp(result.z.mean(axis=0).max()))
        above.set(ylabel=distance_label(result.origin), ylim=(0, 1.25 * highest))
        below.set(xlabel=updates(result.origin), ylabel="residual (%)", ylim=_residual_range(result))
        t_axis(above, logarithmic=True)
        figure.align_ylabels()
        legend(figure)
    return figure


def _origin(result: Fit | pd.DataFrame) -> int:
    return result.origin if isinstance(result, Fit) else 0


def _draw_law(ax: Axes, result: Fit) -> None:
    t = np.exp(result.u)
    if result.n > 1:
        low, high = np.exp(result.z.min(axis=0)), np.exp(result.z.max(axis=0))
        ax.fill_between(t, low, high, label=f"{result.n} seeds, lowest to highest", **_BAND)
    ax.plot(t, np.exp(result.z.mean(axis=0)), "o", label="mean of log bins", **_POINTS)
    fine = np.geomspace(*result.fit_range, 200)
    low, high = result.interval
    law = rf"$\alpha$ = {result.alpha:.2f} [{low:.2f}, {high:.2f}]" + " (provisional)" * result.provisional
    ax.plot(fine, result.predict(fine), color=COLOURS[1], label=law)
    ax.set(ylabel=distance_label(result.origin))
    t_axis(ax, logarithmic=True)


def _alpha_range(frame: pd.DataFrame) -> tuple[float, float]:
    """Return limits that hold all estimates and the narrower half of the intervals; wider ones leave the axes."""
    width = frame["high"] - frame["low"]
    narrow = frame[width <= width.median()]
    low = min(frame["alpha"].min(), narrow["low"].min(), 0)
    high = max(frame["alpha"].max(), narrow["high"].max(), 0)
    margin = 0.08 * (high - low)
    return low - margin, high + margin


def _line_style(fit: LawFit) -> dict[str, Any]:
    """Return a law's line style: its colour is the same in every figure; it is dashed where it is ruled out."""
    position = list(LAWS).index(fit.law.name)
    coloured = len(COLOURS) - 1  # the last is the ink of the data
    line = {"color": COLOURS[position % coloured], "linewidth": 1.0 if position < coloured else 1.8}
    return line | {"linestyle": "--" if fit.ruled_out else "-", "label": fit.law.name}


def _residual_range(result: Comparison) -> tuple[float, float]:
    """Return limits of twice what the seeds' spread and the residuals of the laws not ruled out need."""
    shown: list[Array] = [result.z.std(axis=0, ddof=1)] if result.n > 1 else []
    shown += [result.residuals[law.law.name].to_numpy() for law in result.fits if not law.ruled_out]
    half_width = 200 * max(float(np.max(np.abs(part))) for part in shown)
    return -half_width, half_width
