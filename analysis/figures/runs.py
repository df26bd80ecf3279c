"""Figures of runs: distances against updates, and a run compared with its reference."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.curve import Curve, CurvesLike
from analysis.figures.axes import distance_label, plain_log_ticks, t_axis, updates
from analysis.figures.colours import COLOURS, ink, paper
from analysis.figures.legends import legend, legend_inside, many
from analysis.figures.lines import by_label, draw_distances, line_styles, with_legend
from analysis.figures.style import WIDTHS, Columns, one_panel, panels, style
from analysis.matching.forecast import Forecast
from analysis.matching.match import Matching
from analysis.matching.outcome import Status
from analysis.matching.seeds import scaled
from analysis.reading import curves


def distance(
    runs: CurvesLike,
    ax: Axes | None = None,
    *,
    log_t: bool | None = None,
    origin: int = 0,
    columns: Columns | None = None,
) -> Figure:
    """Draw distance against updates.

    Seeds of one label are drawn as their mean and the band from the lowest to the highest; triangles mark
    learning-rate drops.

    Args:
        runs: runs, paths of them, or curves.
        ax: draw there.
        log_t: draw t on a logarithmic axis, on a linear one, or (None) on both side by side; on `ax`, None is
            logarithmic.
        origin: measure the distance from this update; t then counts from it.
        columns: the figure's width in columns of a two-column journal; None for one if there is one
            panel of few labels, else two.

    Returns:
        The figure, of one panel or two, or that of `ax`.

    Raises:
        FigureError: if a run recorded no distance.
        CurveError: if what is given is no curve.

    Examples:
        >>> import numpy as np
        >>> from analysis import figures
        >>> t = np.arange(1, 2001)
        >>> [ax.get_xscale() for ax in figures.distance([(t, t**0.25), (t, t**0.3)]).axes]
        ['linear', 'log']
    """
    groups = by_label(curves(runs, origin=origin))
    scales = (False, True) if log_t is None else (log_t,)
    with style():
        figure, axes = (ax.figure.figure, [ax]) if ax is not None else panels(len(scales), columns, wide=many(groups))
        for panel, logarithmic in zip(axes, scales[-len(axes) :], strict=True):
            draw_distances(panel, groups)
            panel.set(xlabel=updates(origin), ylabel=distance_label(origin))
            panel.set_ylim(bottom=0)
            t_axis(panel, logarithmic)
        legend(figure) if ax is None else legend_inside(ax)
    return figure


def match(
    found: Matching,
    reference: CurvesLike,
    run: CurvesLike,
    forecast: Forecast | None = None,
    ax: Axes | None = None,
    *,
    columns: Columns = 1,
) -> Figure:
    """Draw a run and its reference, the target distances, and where the run matched.

    A match's interval at 2 SE is a bar at its target, and a forecast is an open diamond with its interval; both end
    at twice the updates shown. A forecast with doubts is not drawn. Where the reference has an origin, t counts from
    it.

    Args:
        found: what `analysis.match` returned for these runs.
        reference: the reference's runs.
        run: the run compared with them.
        forecast: what `analysis.predict_match` returned for the same runs.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    unit = r" / $\Vert w_0\Vert$" if found.reference.relative else ""
    origin = found.reference.origin
    with style():
        figure, panel = one_panel(ax, WIDTHS[columns], 2.9)
        groups = _reference_and_run(found, reference, run)
        draw_distances(panel, with_legend(groups, line_styles(groups)))
        ends = [min(curve.t[-1] for curve in seeds) for seeds in groups.values()]
        _draw_matches(panel, found, 2 * max(ends))
        t_axis(panel, logarithmic=True)
        if forecast is not None and not forecast.doubts:
            _draw_forecast(panel, forecast)
        panel.set(xlabel=updates(origin), ylabel=distance_label(origin) + unit)
        _zoom(panel, min(found.reference.drop_steps[0] - origin, *ends) / 10)
        legend(figure) if ax is None else legend_inside(ax)
    return figure


def _reference_and_run(found: Matching, reference: CurvesLike, run: CurvesLike) -> dict[str, list[Curve]]:
    """Return the curves of both, by what the legend calls them."""
    groups: dict[str, list[Curve]] = {}
    for who, group in (("reference", reference), ("run", run)):
        for curve in curves(group, origin=found.reference.origin):
            groups.setdefault(f"{who}: {curve.label}", []).append(scaled(curve, found.reference.relative))
    return groups


def _draw_matches(ax: Axes, found: Matching, end: float) -> None:
    """Draw targets, matches, and the intervals of these up to an end: a level curve crosses a target at any time."""
    origin = found.reference.origin
    for k, one in enumerate(found.matches):
        ax.axhline(one.target, color=ink(), linewidth=0.6, linestyle=":", label="target" if k == 0 else None)
        if one.status is Status.MATCHED:
            ax.plot(one.step - origin, one.distance, "D", color=COLOURS[2], label="matched" if k == 0 else None)
        if one.interval is not None:
            interval = [min(step - origin, end) for step in one.interval]
            ax.plot(interval, [one.target] * 2, color=COLOURS[2], linewidth=2.5, solid_capstyle="butt")


def _draw_forecast(ax: Axes, forecast: Forecast) -> None:
    """Draw the forecast match and its interval, as far as they lie within twice the updates shown."""
    end = 2 * max(ax.get_xlim()[1], forecast.seen - forecast.origin)
    low, high = (min(step - forecast.origin, end) for step in forecast.interval)
    step = min(forecast.step - forecast.origin, end)
    look: dict[str, Any] = {"color": COLOURS[3], "markerfacecolor": paper(), "linewidth": 1.5, "markevery": [1]}
    look["label"] = f"forecast, {100 * forecast.confidence_level:g} %"
    ax.plot([low, step, high], [forecast.target] * 3, marker="D" if step < end else None, **look)


def _zoom(ax: Axes, left: float) -> None:
    """Show t ≥ left alone, and the distances there."""
    shown = [y[x >= left] for x, y in (np.asarray(line.get_data(), float) for line in ax.lines)]
    low = min((y.min() for y in shown if y.size), default=0.0)
    ax.set_xlim(left=left)
    if ax.get_xlim()[1] < 100 * left:
        plain_log_ticks(ax.xaxis)
    ax.set_ylim(bottom=0.95 * low)
