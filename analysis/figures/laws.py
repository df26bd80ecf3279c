"""Figures of the law: a fit with its residuals, and the scan over its start. A law that is rejected looks it."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.axes import distance_label, minus, power_of_ten, since, t_axis, updates, with_age
from analysis.figures.colours import REJECTED, ink, law_colour, paper
from analysis.figures.legends import legend, legend_inside
from analysis.figures.style import WIDTHS, Columns, PaperFigure, style
from analysis.fitting.fit_result import Fit
from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.fitting.laws import Array

BAND: dict[str, Any] = {"color": "grey", "alpha": 0.4, "linewidth": 0}
FAINT_BAND: dict[str, Any] = {"color": "grey", "alpha": 0.2, "linewidth": 0}

_LEAST_P = 1e-12  # what is below is drawn there


def points() -> dict[str, Any]:
    """Return the markers of the data: means of log bins."""
    return {"color": ink(), "markerfacecolor": paper(), "markeredgewidth": 0.6, "markersize": 3.2}


def fit(result: Fit, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw mean distances by log bin, the band of the seeds, and the fitted law; below, the residuals in % of d.

    The band extends from the lowest seed to the highest. The legend states α with its interval, and how well the law
    fits. The line of a law that is rejected is dashed; one that is wrong (`Fit.verdict`) has no α.

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
    colour = law_colour("ultraslow")
    with style():
        if ax is not None:
            _draw_law(ax, result)
            ax.set(xlabel=with_age(updates(result.origin), str(result.age)))
            legend_inside(ax)
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], 3.2)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_law(above, result)
        t, residuals = np.exp(result.u), 100 * np.expm1(result.residuals)
        if result.n > 1:
            below.fill_between(t, residuals.min(axis=0), residuals.max(axis=0), **BAND)
        below.plot(t, 100 * np.expm1(result.residuals.mean(axis=0)), "o", **points())
        below.axhline(0, color=colour, linewidth=0.8, linestyle=_dashes(result))
        below.set(xlabel=with_age(updates(result.origin), str(result.age)), ylabel="residual (%)")
        figure.align_ylabels()
        legend(figure)
    return figure


def scan(result: Fit | pd.DataFrame, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw α with its confidence interval against the start of the fit; below, the law's p-value there.

    Starts at which the law holds are filled, rejected ones hollow. Of a Fit, a diamond is the start that was chosen,
    and the band is the interval over the starts; both are shown whole, while other intervals that are wider than most
    may leave the axes. p-values below 1e-12 are drawn there.

    Args:
        result: a Fit, or the table of `analysis.scan`.
        ax: draw α there, without the p-values.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    frame = result.scan if isinstance(result, Fit) else result
    frame = frame[frame["alpha"].notna()]
    label = r"start of the fit $t_\mathrm{min}$ (updates" + since(_origin(result)) + ")"
    start = with_age(label, frame.attrs.get("age", ""))
    with style():
        if ax is not None:
            _draw_alphas(ax, frame, result)
            ax.set(xlabel=start)
            t_axis(ax, logarithmic=True)
            legend_inside(ax)
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], 3.4)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _draw_alphas(above, frame, result)
        _draw_starts(below, frame, "p_value", result)
        p_axis(below.yaxis, frame["p_value"].to_numpy(float))
        below.axhline(ACCEPTED, color=ink(), linewidth=0.6, linestyle=":")
        beside: dict[str, Any] = {"transform": below.get_yaxis_transform(), "verticalalignment": "center"}
        below.text(1.01, ACCEPTED, f"rejected\nbelow {ACCEPTED:g}", fontsize=6, **beside)
        below.set(xlabel=start)
        t_axis(below, logarithmic=True)
        figure.align_ylabels()
        legend(figure)
    return figure


def p_axis(axis: Any, p: Array) -> None:
    """Make an axis one of p-values: logarithmic, up to 1, and down to the lowest or to 1e-12.

    Args:
        axis: the x or the y axis of a panel, the values drawn by `shown_p`.
        p: the p-values.
    """
    low = max(_LEAST_P, float(p.min())) / 3
    name = "$p$-value" if p.min() >= _LEAST_P else "$p$-value (or less)"
    ax, letter = axis.axes, axis.axis_name
    ax.set(**{f"{letter}scale": "log", f"{letter}lim": (min(low, ACCEPTED / 10), 2), f"{letter}label": name})


def shown_p(p: Any) -> Array:
    """Return p-values as they are drawn: none below 1e-12.

    Args:
        p: the p-values.
    """
    return np.maximum(np.asarray(p, float), _LEAST_P)


def how_good(p_value: float, rms_residual: float) -> str:
    """Return how well a law fits, in words: the p-value, and beside it the misfit.

    Args:
        p_value: of the law's goodness of fit.
        rms_residual: of log d about the law.
    """
    return f"$p$ = {power_of_ten(p_value)}, rms residual {100 * rms_residual:.2g} % of $d$"


def _origin(result: Fit | pd.DataFrame) -> int:
    return result.origin if isinstance(result, Fit) else int(result.attrs.get("origin", 0))


def _dashes(result: Fit) -> str:
    return REJECTED if result.rejected else "-"


def _draw_law(ax: Axes, result: Fit) -> None:
    t = np.exp(result.u)
    if result.n > 1:
        low, high = np.exp(result.z.min(axis=0)), np.exp(result.z.max(axis=0))
        ax.fill_between(t, low, high, label=f"{result.n} seeds, lowest to highest", **BAND)
    ax.plot(t, np.exp(result.z.mean(axis=0)), "o", label="mean of log bins", **points())
    fine = np.geomspace(*result.fit_range, 200)
    law: dict[str, Any] = {"color": law_colour("ultraslow"), "linestyle": _dashes(result)}
    ax.plot(fine, result.predict(fine), label=_in_words(result), **law)
    ax.set(ylabel=distance_label(result.origin))
    t_axis(ax, logarithmic=True)


def _in_words(result: Fit) -> str:
    """State α and how well the law fits; of a law that is wrong, that there is no α."""
    fits = how_good(result.p_value, result.rms_residual)
    if result.verdict == "wrong":
        return f"law rejected, no $\\alpha$\n{fits}"
    low, high = (minus(end, ".2f") for end in result.quoted_interval or result.interval)
    note = ", provisional" * result.provisional + f", {result.verdict}" * (result.verdict != "holds")
    return rf"$\alpha$ = {minus(result.alpha, '.2f')} [{low}, {high}]{note}" + f"\n{fits}"


def _draw_alphas(ax: Axes, frame: pd.DataFrame, result: Fit | pd.DataFrame) -> None:
    colour = law_colour("ultraslow")
    lengths = [frame["alpha"] - frame["low"], frame["high"] - frame["alpha"]]
    ax.errorbar(frame["t_min"], frame["alpha"], lengths, fmt="none", ecolor=colour, elinewidth=0.8)
    whole = (*result.interval, *(result.interval_over_starts or ())) if isinstance(result, Fit) else ()
    if len(whole) > 2:
        ax.axhspan(*whole[2:], label="interval over the starts", **FAINT_BAND)
    _draw_starts(ax, frame, "alpha", result)
    ax.axhline(0, color=ink(), linewidth=0.6)
    ax.set(ylabel=r"$\alpha$", ylim=alpha_range(frame, *whole))


def _draw_starts(ax: Axes, frame: pd.DataFrame, column: str, result: Fit | pd.DataFrame) -> None:
    """Draw a column against the starts: filled where the law holds, hollow where not, a diamond at the fit's own."""
    chosen = (
        np.isclose(frame["t_min"], result.fit_range[0]) if isinstance(result, Fit) else np.zeros(len(frame), bool)
    )
    good = frame["p_value"].to_numpy() >= ACCEPTED
    values = shown_p(frame[column]) if column == "p_value" else frame[column].to_numpy(float)
    colour = law_colour("ultraslow")
    for held, label in ((True, f"law holds ($p$ ≥ {ACCEPTED:g})"), (False, "law rejected")):
        face = colour if held else paper()
        circles: dict[str, Any] = {"color": colour, "markerfacecolor": face, "linestyle": "none", "zorder": 3}
        here = (good == held) & ~chosen
        if here.any():
            ax.plot(frame["t_min"][here], values[here], marker="o", label=label, **circles)
        here = (good == held) & chosen
        if here.any():
            end = "" if held else ", rejected"
            ax.plot(frame["t_min"][here], values[here], "D", label=f"start of the fit{end}", markersize=5, **circles)


def alpha_range(frame: pd.DataFrame, *whole: float) -> tuple[float, float]:
    """Return limits that hold 0, all estimates, and the narrower half of their intervals; wider ones leave the axes.

    Args:
        frame: a table with the columns alpha, low and high, one of them a number.
        *whole: further values that have to be seen, such as the ends of an interval that is never cropped.
    """
    width = frame["high"] - frame["low"]
    narrow = frame[width <= width.median()]
    ends = [*frame["alpha"].dropna(), *narrow["low"], *narrow["high"], 0.0, *whole]
    low, high = min(ends), max(ends)
    margin = 0.08 * (high - low)
    return low - margin, high + margin
