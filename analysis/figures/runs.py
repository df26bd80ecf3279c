"""Figures for a paper, as functions from runs or results to a matplotlib figure.

Each returns a figure that `save` writes and a notebook shows; none touches pyplot or its settings.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.curve import Curve, Curves, curves
from analysis.errors import FigureError
from analysis.figures.laws import compare, distance_label, fit, scan, updates
from analysis.figures.learning_curves import error
from analysis.figures.lines import DASHES, Look, by_label, label_of, lines, mark, row_of
from analysis.figures.style import (
    COLOURS,
    DOUBLE,
    INK,
    SINGLE,
    PaperFigure,
    legend,
    plain_log_ticks,
    save,
    style,
    t_axis,
)
from analysis.fitting.fit import fit as fit_law
from analysis.fitting.model_comparison import compare as compare_laws
from analysis.matching.distance_matcher import Status
from analysis.matching.forecast import Forecast
from analysis.matching.match import Matching
from analysis.matching.match import match as replay
from analysis.matching.reference import scaled

__all__ = ["FIGURES", "compare", "distance", "distance_adaptation", "draw", "error", "fit", "match", "save", "scan"]

_UPDATES = updates()
_DISTANCE = distance_label()


def distance(runs: Curves, *, log_t: bool | None = None) -> PaperFigure:
    """Distance against updates; seeds of one label share a colour; triangles mark learning-rate drops.

    log_t: t on a logarithmic axis, on a linear one, or (None) both side by side.
    """
    groups = by_label(curves(runs))
    scales = (False, True) if log_t is None else (log_t,)
    with style():
        figure = PaperFigure(DOUBLE if len(scales) > 1 else SINGLE, 2.7)
        for ax, logarithmic in zip(row_of(figure, len(scales)), scales, strict=True):
            _draw_distances(ax, groups)
            ax.set(xlabel=_UPDATES, ylabel=_DISTANCE)
            ax.set_ylim(bottom=0)
            t_axis(ax, logarithmic)
        legend(figure)
    return figure


def _draw_distances(ax: Axes, groups: Sequence[tuple[Look, list[Curve]]]) -> None:
    for look, seeds in groups:
        for curve in seeds:
            ax.plot(curve.t, curve.d, **look)
            mark(ax, curve.drops, curve.t, curve.d, look["color"])


def distance_adaptation(runs: Curves) -> PaperFigure:
    """Distance before and after the large batch's adaptation side by side, a colour for each batch size.

    Hoffer, Hubara, Soudry 2017, figure 2. Left: the small batch, and batches without learning-rate rule or ghost
    batch normalization. Right: the small batch, and those with either. What a run has besides that (regime
    adaptation, multiplicative noise, a match) or lacks is in its label and the dashes of its line.
    Raises FigureError for a run without configuration, or if one side has no large batch.
    """
    sides: tuple[dict[str, list[Curve]], dict[str, list[Curve]]] = ({}, {})
    for curve in sorted(curves(runs), key=_batch_size):
        for number in _sides(curve):
            sides[number].setdefault(_adaptation(curve), []).append(curve)
    for k, side in enumerate(sides):
        if all(_is_small(seeds[0]) for seeds in side.values()):
            what = "with a learning-rate rule or ghost batches" if k else "with neither learning-rate rule nor ghosts"
            raise FigureError(f"no large batch {what} is among the runs; expected one for that side of the figure")
    sizes = list(dict.fromkeys(_batch_size(seeds[0]) for side in sides for seeds in side.values()))
    extras = sorted({label.partition(",")[2] for side in sides for label in side})
    looks = {
        label: {
            "color": COLOURS[sizes.index(_batch_size(seeds[0])) % len(COLOURS)],
            "linestyle": DASHES[extras.index(label.partition(",")[2]) % len(DASHES)],
        }
        for side in sides
        for label, seeds in side.items()
    }
    with style():
        figure = PaperFigure(DOUBLE, 2.7)
        axes = figure.subplots(1, 2, sharey=True)
        for ax, side, title in zip(axes, sides, ("unadapted", "adapted"), strict=True):
            _draw_distances(ax, lines(side, looks))
            ax.set(xlabel=_UPDATES, title=title)
            t_axis(ax, logarithmic=True)
        axes[0].set(ylabel=_DISTANCE)
        axes[0].set_ylim(bottom=0)
        legend(figure)
    return figure


def _sides(curve: Curve) -> tuple[int, ...]:
    config = _config(curve)
    adapted = _lr_scaling(config) != "none" or config.get("ghost_batch_size") is not None
    return (0, 1) if _is_small(curve) else (int(adapted),)


def _lr_scaling(config: dict[str, Any]) -> str:
    """How the learning rate follows the batch size; earlier versions stored it as "lr_rule"."""
    return str(config.get("lr_scaling", config.get("lr_rule", "none")))


def _adaptation(curve: Curve) -> str:
    """The batch size, and what distinguishes the run from the others on its side."""
    config = _config(curve)
    label = f"batch {_batch_size(curve)}"
    if _is_small(curve):
        return label
    ghosts, rule = config.get("ghost_batch_size") is not None, _lr_scaling(config)
    parts = {
        "no GBN": rule != "none" and not ghosts,
        "no LR": ghosts and rule == "none",
        "linear LR": rule == "linear",
        "RA": config.get("regime_adaptation"),
        "noise": config.get("multiplicative_noise"),
        "matched": config.get("match"),
    }
    return ", ".join([label, *(name for name, on in parts.items() if on)])


def _is_small(curve: Curve) -> bool:
    return _batch_size(curve) <= _config(curve).get("base_batch_size", 0)


def _batch_size(curve: Curve) -> int:
    return int(_config(curve)["batch_size"])


def _config(curve: Curve) -> dict[str, Any]:
    config = curve.run.config if curve.run is not None else {}
    if "batch_size" not in config:
        raise FigureError(f"{curve.name}: its batch size is not on record; expected a run of `ultraslow train`")
    return config


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
                ax.plot(curve.t, curve.d, color=colour, label=f"{who}: {label_of(curve)}", linewidth=0.8)
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


FIGURES: Mapping[str, Callable[..., Figure]] = {
    "distance": distance,
    "distance-linear": partial(distance, log_t=False),
    "distance-log": partial(distance, log_t=True),
    "distance-adaptation": distance_adaptation,
    "error": error,
    "error-updates": partial(error, against="updates"),
    "error-epochs": partial(error, against="epochs"),
    "error-epoch": partial(error, against="epochs"),
    "error-time": partial(error, against="time"),
    "fit": lambda runs: fit(fit_law(runs)),
    "scan": lambda runs: scan(fit_law(runs)),
    "compare": lambda runs: compare(compare_laws(runs)),
    "match": _match_first_with_second,
}


def draw(name: str, runs: Curves, **options: Any) -> Figure:
    """The figure of that name from runs; options: of `error`. Raises FigureError for an unknown name."""
    if name not in FIGURES:
        raise FigureError(f"no figure is named {name!r}; known are {', '.join(FIGURES)}")
    if options and not name.startswith("error"):
        raise FigureError(f"figure {name} takes no {next(iter(options))}; expected a figure of the error")
    return FIGURES[name](runs, **options)


def _zoom(ax: Axes, left: float) -> None:
    """Shows t ≥ left alone, and the distances there."""
    shown = [y[x >= left] for x, y in (np.asarray(line.get_data(), float) for line in ax.lines)]
    low = min((y.min() for y in shown if y.size), default=0.0)
    ax.set_xlim(left=left)
    if ax.get_xlim()[1] < 100 * left:
        plain_log_ticks(ax.xaxis)
    ax.set_ylim(bottom=0.95 * low)
