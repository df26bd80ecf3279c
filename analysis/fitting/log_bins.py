"""Log bins: curves averaged over twelve bins per decade of t inside one constant-learning-rate phase."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.curve import Curve
from analysis.errors import DistanceError, FitRangeError, ShortCurveError
from analysis.fitting.laws import Array

BINS_PER_DECADE = 12
FEWEST_BINS = 12


@dataclass(frozen=True, eq=False)
class Bins:
    """Curves averaged in common log bins.

    Attributes:
        u: (bin,) mean log t.
        z: (curve, bin) mean log d.
        points: (bin,) recorded values in the bin, of the curve that has fewest.
        steps: (bin,) updates that the bin covers.
        fit_range: the first and last t used.
        names: one per curve.
    """

    u: Array
    z: Array
    points: Array
    steps: Array
    fit_range: tuple[float, float]
    names: tuple[str, ...]


def constant_phase(group: Sequence[Curve], t_min: float | None, t_max: float | None) -> tuple[float, float]:
    """Return the fit range asked for, ended by the first learning-rate drop in it and by the shortest curve.

    A drop's t is the last update made at the old rate.

    Args:
        group: the curves.
        t_min: its start; None for the end of the learning rate's warm-up.
        t_max: its end; None for the first drop.

    Returns:
        The first and the last t; the last may lie before the first.

    Raises:
        FitRangeError: where t_max lies past a drop.
    """
    first = max(float(curve.t[0]) if len(curve.t) else math.inf for curve in group)
    start = max(first, max(curve.warmup_end for curve in group) if t_min is None else float(t_min))
    end = min(float(curve.t[-1]) if len(curve.t) else -math.inf for curve in group)
    for curve in group:
        drop = min((t for t in curve.drops if t > start), default=math.inf)
        if t_max is not None and t_max > drop:
            raise FitRangeError(
                f"{curve.name}: t_max = {t_max:g} lies past the learning-rate drop at update {drop:g}; the "
                f"laws hold at a constant learning rate: pass t_max <= {drop:g}, or t_min >= {drop:g}"
            )
        end = min(end, drop)
    return start, end if t_max is None else min(end, float(t_max))


def binned(group: Sequence[Curve], t_min: float | None = None, t_max: float | None = None) -> Bins:
    """Average curves in 12 bins per decade of t over the constant-learning-rate phase, common to all curves.

    The bins are centred on the ends of the fit range and evenly between, so that a recording of 12 steps per decade
    has one in each. Bins without a value in every curve are left out; where seeds were recorded at different steps
    they are interpolated to the mean u of the bin.

    Args:
        group: the curves.
        t_min: the first t; None for the end of the learning rate's warm-up.
        t_max: the last t; None for the first learning-rate drop.

    Returns:
        The bins.

    Raises:
        ShortCurveError: where the fit range holds less than a decade of t or 12 bins.
        FitRangeError: where t_max lies past a drop.
        DistanceError: where a distance is not a positive, finite number.
    """
    start, end = constant_phase(group, t_min, t_max)
    name = group[0].name if len(group) == 1 else f"{len(group)} curves"
    if not end > start:
        raise ShortCurveError(f"{name}: no updates between t = {start:g} and {end:g}; expected at least one decade")
    decades = math.log10(end / start)
    if decades < 1 - 1e-9:
        raise ShortCurveError(
            f"{name}: the fit range {start:g}..{end:g} spans {decades:.2f} decades of t; expected at least "
            "one: record longer, or lower t_min"
        )
    centres = np.linspace(math.log(start), math.log(end), round(BINS_PER_DECADE * decades) + 1)
    half = (centres[1] - centres[0]) / 2
    edges = np.exp(np.append(centres - half, centres[-1] + half))
    columns = [_bin_means(curve, edges, start, end) for curve in group]
    shared = np.all([column["points"] > 0 for column in columns], axis=0)
    if shared.sum() < FEWEST_BINS:
        raise ShortCurveError(
            f"{name}: the fit range {start:g}..{end:g} holds {shared.sum()} log bins; expected {FEWEST_BINS} "
            "or more: record longer, or more steps"
        )
    u = np.mean([column["u"][shared] for column in columns], axis=0)
    z = np.stack([np.interp(u, column["u"][shared], column["z"][shared]) for column in columns])
    points, steps = (np.min([column[key][shared] for column in columns], axis=0) for key in ("points", "steps"))
    return Bins(u, z, points, steps, (start, end), tuple(curve.name for curve in group))


def _bin_means(curve: Curve, edges: Array, start: float, end: float) -> Mapping[str, Array]:
    inside = (curve.t >= start) & (curve.t <= end)
    t, d = curve.t[inside], curve.d[inside]
    bad = np.flatnonzero(~(np.isfinite(d) & (d > 0)))
    if len(bad):
        i = int(bad[0])
        raise DistanceError(
            f"{curve.name}: the distance at update {t[i]:g} is {d[i]:g}; expected a positive number: "
            f"end the fit range before it with t_max, or start it later with t_min"
        )
    index = np.searchsorted(edges, t, side="right") - 1
    points = np.bincount(index, minlength=len(edges) - 1).astype(float)
    total = np.maximum(points, 1)
    u = np.bincount(index, np.log(t), len(edges) - 1) / total
    z = np.bincount(index, np.log(d), len(edges) - 1) / total
    covered = np.diff(np.clip(edges, start, end))
    return {"u": u, "z": z, "points": points, "steps": np.maximum(covered, 1.0)}
