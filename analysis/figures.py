"""Figures for a paper, as functions from runs or results to a matplotlib figure.

Each returns a figure that `save` writes and a notebook shows; none touches pyplot or its settings.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare import compare as compare_laws
from analysis.curve import Curve, Curves, curves
from analysis.errors import FigureError
from analysis.fit import fit as fit_law
from analysis.forecast import Forecast
from analysis.law_figures import compare, distance_label, fit, scan, updates
from analysis.laws import Array
from analysis.match import Status
from analysis.reference import scaled
from analysis.replay import Matching
from analysis.replay import match as replay
from analysis.style import (
    COLOURS,
    DOUBLE,
    DROP,
    INK,
    SINGLE,
    TRIANGLE,
    PaperFigure,
    legend,
    plain_log_ticks,
    save,
    style,
    t_axis,
)

__all__ = ["FIGURES", "compare", "distance", "draw", "error", "fit", "match", "save", "scan"]

_UPDATES = updates()
_DISTANCE = distance_label()
_DASHES = ("-", "--", ":")


def distance(runs: Curves, *, log_t: bool | None = None) -> PaperFigure:
    """Distance against updates; seeds of one label share a colour; triangles mark learning-rate drops.

    log_t: t on a logarithmic axis, on a linear one, or (None) both side by side.
    """
    groups = _by_label(curves(runs))
    scales = (False, True) if log_t is None else (log_t,)
    with style():
        figure = PaperFigure(DOUBLE if len(scales) > 1 else SINGLE, 2.7)
        for ax, logarithmic in zip(_row(figure, len(scales)), scales, strict=True):
            for look, seeds in groups:
                for curve in seeds:
                    ax.plot(curve.t, curve.d, **look)
                    _mark_drops(ax, curve, look["color"])
            ax.set(xlabel=_UPDATES, ylabel=_DISTANCE)
            ax.set_ylim(bottom=0)
            t_axis(ax, logarithmic)
        legend(figure)
    return figure


def error(runs: Curves, *, against: Literal["updates", "epochs"] | None = None) -> PaperFigure:
    """Validation error in % against updates, against epochs, or (None) both side by side.

    Raises FigureError if a run did not log `validation_error` (a fraction) and, for epochs, `epoch`.
    """
    groups = _by_label(curves(runs))
    units = ("updates", "epochs") if against is None else (against,)
    with style():
        figure = PaperFigure(DOUBLE if len(units) > 1 else SINGLE, 2.7)
        for ax, unit in zip(_row(figure, len(units)), units, strict=True):
            for look, seeds in groups:
                for curve in seeds:
                    ax.plot(*_validation_error(curve, unit), **look)
            ax.set(xlabel=_UPDATES if unit == "updates" else "epochs", ylabel="validation error (%)")
            t_axis(ax, logarithmic=False)
            _error_axis(ax)
        legend(figure)
    return figure


def match(found: Matching, reference: Curves, run: Curves, forecast: Forecast | None = None) -> PaperFigure:
    """A run held against its reference: both curves, the target distances, and where the run matched.

    found: what `analysis.match` said about these runs. Its interval at 2 SE is a bar at the target; forecast: of the
    same match, an open diamond with its interval. Where the reference has an origin, t counts from it.
    """
    unit = r" / $\Vert w_0\Vert$" if found.reference.relative else ""
    origin = found.reference.origin
    with style():
        figure = PaperFigure(SINGLE, 2.9)
        ax = figure.subplots()
        for colour, who, group in zip(COLOURS, ("reference", "run"), (reference, run), strict=False):
            for curve in (scaled(one, found.reference.relative) for one in curves(group, origin=origin)):
                ax.plot(curve.t, curve.d, color=colour, label=f"{who}: {_label(curve)}", linewidth=0.8)
                _mark_drops(ax, curve, colour)
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
    """The forecast match and its interval, as far as they lie within twice the updates shown."""
    end = 2 * max(ax.get_xlim()[1], forecast.seen - forecast.origin)
    low, high = (min(step - forecast.origin, end) for step in forecast.interval)
    level = f"forecast, {100 * forecast.level:g} %"
    ax.plot([low, high], [forecast.target] * 2, color=COLOURS[3], linewidth=1.5, label=level)
    if forecast.step - forecast.origin < end:
        marker: dict[str, Any] = {"color": COLOURS[3], "markerfacecolor": "white"}
        ax.plot(forecast.step - forecast.origin, forecast.target, "D", **marker)


def _match_first_with_second(runs: Curves) -> PaperFigure:
    group = curves(runs)
    if len(group) < 2:
        raise FigureError("figure match got 1 run; expected reference runs and then the run held against them")
    return match(replay(group[:-1], group[-1]), group[:-1], group[-1])


FIGURES: Mapping[str, Callable[[Curves], Figure]] = {
    "distance": distance,
    "distance-linear": partial(distance, log_t=False),
    "distance-log": partial(distance, log_t=True),
    "error": error,
    "error-updates": partial(error, against="updates"),
    "error-epochs": partial(error, against="epochs"),
    "fit": lambda runs: fit(fit_law(runs)),
    "scan": lambda runs: scan(fit_law(runs)),
    "compare": lambda runs: compare(compare_laws(runs)),
    "match": _match_first_with_second,
}


def draw(name: str, runs: Curves) -> Figure:
    """The figure of that name from runs. Raises FigureError for an unknown name."""
    if name not in FIGURES:
        raise FigureError(f"no figure is named {name!r}; known are {', '.join(FIGURES)}")
    return FIGURES[name](runs)


def _row(figure: Figure, count: int) -> Sequence[Axes]:
    return figure.subplots(1, count, squeeze=False)[0]


def _label(curve: Curve) -> str:
    label = curve.run.config.get("label") if curve.run is not None else None
    return str(label or curve.name)


def _by_label(group: Sequence[Curve]) -> list[tuple[dict[str, Any], list[Curve]]]:
    """For each label, in order of appearance: how its lines look, and its curves (seeds)."""
    labels: dict[str, list[Curve]] = {}
    for curve in group:
        if not len(curve.t):
            raise FigureError(f"{curve.name}: no distances recorded; expected a run of at least one update")
        labels.setdefault(_label(curve), []).append(curve)
    looks = []
    for k, (label, seeds) in enumerate(labels.items()):
        look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "linestyle": _DASHES[k // len(COLOURS) % 3]}
        look |= {"linewidth": 1.0 if len(seeds) == 1 else 0.6}
        looks.append((look | {"label": label if len(seeds) == 1 else f"{label}, {len(seeds)} seeds"}, seeds))
    return looks


def _mark_drops(ax: Axes, curve: Curve, colour: str) -> None:
    """A triangle on the curve at each drop."""
    inside = [t for t in curve.drops if curve.t[0] <= t <= curve.t[-1]]
    height = np.interp(inside, curve.t, curve.d)
    if inside:
        ax.plot(inside, height, color=colour, label=DROP, **TRIANGLE)


def _validation_error(curve: Curve, unit: str) -> tuple[Array, Array]:
    """Updates or epochs, and the validation error in %, where it was logged."""
    metrics = curve.run.metrics if curve.run is not None else pd.DataFrame()
    for name in ("validation_error", "epoch")[: 1 + (unit == "epochs")]:
        if name not in metrics or metrics[name].isna().all():
            raise FigureError(f"{curve.name}: no {name!r} is recorded; expected recorder.log({name}=...)")
    rows = metrics[metrics["validation_error"].notna()]
    x = rows["epoch"] if unit == "epochs" else rows.index.to_series()
    return x.to_numpy(float), 100 * rows["validation_error"].to_numpy(float)


def _error_axis(ax: Axes) -> None:
    """Logarithmic, with plain numbers, where the errors span more than a decade; otherwise from 0."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    if values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
        plain_log_ticks(ax.yaxis)
    else:
        ax.set_ylim(bottom=0)


def _zoom(ax: Axes, left: float) -> None:
    """Shows t ≥ left alone, and the distances there."""
    shown = [y[x >= left] for x, y in (np.asarray(line.get_data(), float) for line in ax.lines)]
    low = min((y.min() for y in shown if y.size), default=0.0)
    ax.set_xlim(left=left)
    if ax.get_xlim()[1] < 100 * left:
        plain_log_ticks(ax.xaxis)
    ax.set_ylim(bottom=0.95 * low)
