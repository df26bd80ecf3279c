"""The figure of rival laws: the few that matter, each named at its end."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.axes import distance_label, power_of_ten, t_axis, updates, with_age
from analysis.figures.colours import REJECTED, ink, law_colour
from analysis.figures.laws import BAND, FAINT_BAND, points
from analysis.figures.legends import MOST_ENTRIES, legend, legend_inside, name_ends
from analysis.figures.style import WIDTHS, Columns, PaperFigure, style
from analysis.fitting.comparison_result import Comparison, LawFit
from analysis.fitting.laws import Array

_NAMED: dict[Columns, float] = {1: 0.62, 2: 0.42}  # inches of the figure's height that a law's name takes


def compare(result: Comparison, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw mean distances by log bin with the laws that matter; below, their residuals in % of d.

    Shown are the best law, the best of each kind (the ultra-slow family, normal diffusion, saturation, one after a
    jump, and whatever else was compared) and those that are not ruled out, six at most. The legend says how many laws
    that are not ruled out are left to the comparison's table.
    The best law is the boldest line; laws that are rejected or ruled out are dashed. Each is named at its end, with
    its p-value and its rms residual in % of d.

    The grey band below is the spread of the seeds about their mean (one standard deviation); the shaded third of the
    fit range is what each law had to predict in the holdout test. The residuals of laws that are ruled out may leave
    the axes, as their curves do above.

    Args:
        result: the comparison.
        ax: draw there, without the residuals.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.

    Examples:
        >>> import numpy as np
        >>> from analysis import compare, figures
        >>> t = np.geomspace(10, 10_000, 40)
        >>> figure = figures.compare(compare((t, t**0.25), ["power law", "normal"], t_min=10))
        >>> [text.get_text().splitlines()[:2] for text in figure.axes[0].texts]
        [['power law', 'best'], ['normal', 'ruled out']]
    """
    laws = shown_laws(result)
    with style():
        if ax is not None:
            curves = _draw_curves(ax, result, laws)
            ax.set(xlabel=with_age(updates(result.origin), str(result.age)))
            legend_inside(ax, _not_drawn(result, laws))
            name_ends({ax: {_in_words(fit, 2): line for fit, line in curves}})
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], max(3.6, 1.0 + _NAMED[columns] * len(laws)))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        curves = _draw_curves(above, result, laws)
        _draw_residuals(below, result, laws)
        figure.align_ylabels()
        legend(figure, _not_drawn(result, laws))
        name_ends({above: {_in_words(fit, columns): line for fit, line in curves}})
    return figure


def shown_laws(result: Comparison) -> list[LawFit]:
    """Return the laws of a comparison that its figure shows: the best of each kind and those not ruled out.

    Args:
        result: the comparison.

    Returns:
        Six laws at most, from the best on; those that are the best of their kind go before others.
    """
    best: dict[str, LawFit] = {}
    for fit in result.fits:
        best.setdefault(_kind(fit), fit)
    others = [fit for fit in result.fits if not fit.ruled_out and best[_kind(fit)] is not fit]
    shown = [*best.values(), *others][:MOST_ENTRIES]
    return sorted(shown, key=lambda fit: fit.delta)


def _not_drawn(result: Comparison, laws: list[LawFit]) -> str | None:
    """Say how many laws are neither ruled out nor drawn; None if none is."""
    count = sum(not fit.ruled_out for fit in result.fits) - sum(not fit.ruled_out for fit in laws)
    return f"further laws not ruled out, not drawn: {count}" if count else None


def _kind(fit: LawFit) -> str:
    """Return the kind of a law: after a jump, a member of the ultra-slow family, which has an α, or its own."""
    if fit.law.name.startswith("jump"):
        return "jump"
    if fit.law.alpha is not None or "alpha" in fit.parameters:
        return "ultraslow"
    return fit.law.name.split()[-1] if "saturation" in fit.law.name else fit.law.name


def _draw_curves(ax: Axes, result: Comparison, laws: list[LawFit]) -> list[tuple[LawFit, Line2D]]:
    """Draw the data and the laws; return each law with its line."""
    t, mean = np.exp(result.u), np.exp(result.z.mean(axis=0))
    ax.axvspan(result.holdout_from, t[-1], label="holdout third", **FAINT_BAND)
    ax.plot(t, mean, "o", label="mean of log bins", zorder=3, **points())
    lines = [(fit, ax.plot(t, np.exp(fit.curve), gid=fit.law.name, **_look(fit))[0]) for fit in laws]
    ax.set(ylabel=distance_label(result.origin), ylim=(0, 1.25 * float(mean.max())), xlim=_limits(t))
    t_axis(ax, logarithmic=True)
    return lines


def _draw_residuals(ax: Axes, result: Comparison, laws: list[LawFit]) -> None:
    t, residuals = np.exp(result.u), result.residuals
    ax.axvspan(result.holdout_from, t[-1], **FAINT_BAND)
    if result.n > 1:
        spread = 100 * result.z.std(axis=0, ddof=1)
        ax.fill_between(t, -spread, spread, label=f"spread of {result.n} seeds", **BAND)
    for fit in laws:
        ax.plot(t, 100 * np.expm1(residuals[fit.law.name]), gid=fit.law.name, **_look(fit))
    ax.axhline(0, color=ink(), linewidth=0.6)
    label = with_age(updates(result.origin), str(result.age))
    ax.set(xlabel=label, ylabel="residual (%)", ylim=_residual_range(result))


def _limits(t: Array) -> tuple[float, float]:
    """Return limits of the axis of t that end with the laws, so that their names stand at their ends."""
    return float(t[0] ** 1.02 / t[-1] ** 0.02), float(t[-1])


def _look(fit: LawFit) -> dict[str, Any]:
    """Return a law's line: its colour is the same in every figure, the best is bold, a rejected one is dashed."""
    return {
        "color": law_colour(fit.law.name),
        "linestyle": REJECTED if fit.ruled_out or fit.rejected else "-",
        "linewidth": 2.0 if fit.delta == 0 else 1.0,
    }


def _in_words(fit: LawFit, columns: Columns) -> str:
    """State a law's name, the verdict on it and how well it fits, in three lines or, over two columns, in two."""
    fits = f"$p$ = {power_of_ten(fit.p_value)}, rms {100 * fit.rms_residual:.2g} %"
    return f"{fit.law.name}\n{fit.verdict}\n{fits}" if columns == 1 else f"{fit.law.name}: {fit.verdict}\n{fits}"


def _residual_range(result: Comparison) -> tuple[float, float]:
    """Return limits of twice what the seeds' spread and the residuals of the laws not ruled out need."""
    shown: list[Array] = [result.z.std(axis=0, ddof=1)] if result.n > 1 else []
    shown += [result.residuals[law.law.name].to_numpy() for law in result.fits if not law.ruled_out]
    half_width = 200 * max(float(np.max(np.abs(part))) for part in shown)
    return -half_width, half_width
