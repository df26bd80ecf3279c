"""Figures of runs: distances against updates, and a run compared with its reference."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.curve import CurvesLike, curves
from analysis.figures.lines import by_label, draw_distances, literal, mark
from analysis.figures.style import (
    COLOURS,
    INK,
    SINGLE,
    PaperFigure,
    distance_label,
    legend,
    panels,
    plain_log_ticks,
    style,
    t_axis,
    updates,
)
from analysis.matching.forecast import Forecast
from analysis.matching.match import Matching
from analysis.matching.outcome import Status
from analysis.matching.seeds import scaled


def distance(runs: CurvesLike, *, log_t: bool | None = None) -> PaperFigure:
    """Draw distance against updates.

    Seeds of one label share a colour; triangles mark learning-rate drops.

    Args:
        runs: runs, paths of them, or curves.
        log_t: draw t on a logarithmic axis, on a linear one, or (None) on both side by side.

    Returns:
        The figure, of one panel or two.

    Raises:
        FigureError: if a run recorded no distance.
        CurveError: if what is given is no curve.
    """
    groups = by_label(curves(runs))
    scales = (False, True) if log_t is None else (log_t,)
    with style():
        figure, axes = panels(len(scales))
        for ax, logarithmic in zip(axes, scales, strict=True):
            draw_distances(ax, groups)
            ax.set(xlabel=updates(), ylabel=distance_label())
            ax.set_ylim(bottom=0)
            t_axis(ax, logarithmic)
        legend(figure)
    return figure


def match(found: Matching, reference: CurvesLike, run: CurvesLike, forecast: Forecast | None = None) -> PaperFigure:
    """Draw a run and its reference, the target distances, and where the run matched.

    A match's interval at 2 SE is a bar at its target, and a forecast is an open diamond with its interval. Where the
    reference has an origin, t counts from it.

    Args:
        found: what `analysis.match` returned for these runs.
        reference: the reference's runs.
        run: the run compared with them.
        forecast: what `analysis.predict_match` returned for the same runs.

    Returns:
        The figure, one column wide.
    """
    unit = r" / $\Vert w_0\Vert$" if found.reference.relative else ""
    origin = found.reference.origin
    with style():
        figure = PaperFigure(SINGLE, 2.9)
        ax = figure.subplots()
        for colour, who, group in zip(COLOURS, ("reference", "run"), (reference, run), strict=False):
            for curve in (scaled(one, found.reference.relative) for one in curves(group, origin=origin)):
                label = literal(f"{who}: {curve.label}")
                ax.plot(curve.t, curve.d, color=colour, label=label, linewidth=0.8)
                mark(ax, curve.drops, curve.t, curve.d, colour)
        for k, one in enumerate(found.matches):
            ax.axhline(one.target, color=INK, linewidth=0.6, linestyle=":", label="target" if k == 0 else None)
            if one.status is Status.MATCHED:
                ax.plot(one.step - origin, one.distance, "D", color=COLOURS[2], label="matched" if k == 0 else None)
            if one.interval is not None:
                interval = [step - origin for step in one.interval]
                ax.plot(interval, [one.target] * 2, color=COLOURS[2], linewidth=2.5, solid_capstyle="butt")
        t_axis(ax, logarithmic=True)
        if forecast is not None:
            _draw_forecast(ax, forecast)
        ax.set(xlabel=updates(origin), ylabel=distance_label(origin) + unit)
        _zoom(ax, (found.reference.drop_steps[0] - origin) / 10)
        legend(figure)
    return figure


def _draw_forecast(ax: Axes, forecast: Forecast) -> None:
    """Draw the forecast match and its interval, as far as they lie within twice the updates shown."""
    end = 2 * max(ax.get_xlim()[1], forecast.seen - forecast.origin)
    low, high = (min(step - forecast.origin, end) for step in forecast.interval)
    label = f"forecast, {100 * forecast.confidence_level:g} %"
    ax.plot([low, high], [forecast.target] * 2, color=COLOURS[3], linewidth=1.5, label=label)
    if forecast.step - forecast.origin < end:
        marker: dict[str, Any] = {"color": COLOURS[3], "markerfacecolor": "white"}
        ax.plot(forecast.step - forecast.origin, forecast.target, "D", **marker)


def _zoom(ax: Axes, left: float) -> None:
    """Show t ≥ left alone, and the distances there."""
    shown = [y[x >= left] for x, y in (np.asarray(line.get_data(), float) for line in ax.lines)]
    low = min((y.min() for y in shown if y.size), default=0.0)
    ax.set_xlim(left=left)
    if ax.get_xlim()[1] < 100 * left:
        plain_log_ticks(ax.xaxis)
    ax.set_ylim(bottom=0.95 * low)
