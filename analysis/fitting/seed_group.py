"""Curves given as seeds of one experiment: read, told apart, and asked whether one of them speaks for all.

All seeds are fitted on one range, so a seed that ends early ends it for the others. One that costs them up to half a
decade of t does so, with a warning; one that costs more (a killed run) is left out, with a warning. `t_max` chooses
otherwise: up to a t that every seed reaches, none ends early.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from analysis.curve import SETTINGS, Curve, CurvesLike, Run
from analysis.errors import OffsetError, SeedError, ShortCurveError
from analysis.fitting.laws import Array
from analysis.fitting.log_bins import BINS_PER_DECADE, Bins
from analysis.inputs import check_update, is_finite_number
from analysis.reading import curves
from analysis.run_curves import run_curve

HALF_A_DECADE = math.sqrt(10)
_ONE_BIN = 10 ** (1 / BINS_PER_DECADE)

APART = 0.05  # root mean square in log d: five times what seeds differ by on real runs
_SPREADS = 8.0  # how many of the others' spreads a seed lies from their median before it is named: real seeds reach 6
_DISAGREE = 0.3  # root mean square in log d of two curves, of which neither can be told to be the odd one
_STD = 1.4826  # a normal variable's standard deviation over its median absolute deviation
_BALLISTIC = 1.5  # local exponent: weights that move on a straight line at a constant speed have 1
_LAST = 4  # log bins, a third of a decade
_ROUNDED = 1e-6  # of d: single precision rounds by a tenth of it, and seeds differ by ten thousand times as much
_COMPARED, _FEWEST_COMPARED = 32, 8  # updates at which two curves are compared
_STILL = 1e-6  # of log d: rounding, where weights are not updated; saturated distances go on fluctuating by 1e-3


def read_seeds(
    data: CurvesLike,
    origin: int,
    t_min: float | None,
    t_max: float | None,
    offset: float = 0.0,
    force: bool = False,
) -> tuple[list[Curve], tuple[str, ...]]:
    """Read the curves to be fitted on one range.

    Args:
        data: one curve, or seeds of one experiment.
        origin: d is the displacement from this update's weights.
        t_min: the first update asked for; None for the default.
        t_max: the last update asked for; None for the default.
        offset: a number subtracted from each d.
        force: take runs of different settings for seeds all the same.

    Returns:
        The curves, by names of their own, without those that end early; and what there is to know of them, a
        sentence each: what their recorders saw, and which curve was left out or cuts the range of the others.

    Raises:
        CurveError: where the data are no curve.
        ShortCurveError: where no curve holds a distance after the origin.
        SeedError: where two of the seeds are one curve, or runs of different settings.
        OffsetError: where the offset is no number.
        AnalysisError: where origin, t_min or t_max is no update.
    """
    check_update(t_min, "t_min")
    check_update(t_max, "t_max")
    group = [_shifted(curve, offset) for curve in _told_apart(curves(data, origin=origin))]
    if not any(len(curve.t) for curve in group):
        raise ShortCurveError(f"{group[0].name}: holds no distances after update {origin}; expected a decade of t")
    check_differ(group, thinned=not force)
    if not force:
        _check_settings(group)
    group, notes = _without_short(group, t_min, t_max)
    recorded = [sentence for curve in group for sentence in curve.warnings]
    return group, (*recorded, *notes, *_late(group, t_min))


def check_seeds(runs: Sequence[Run], *, force: bool = False) -> None:
    """Refuse runs that do not repeat one experiment.

    Args:
        runs: runs that are to be averaged over.
        force: take runs of different settings for seeds all the same.

    Raises:
        SeedError: where two of the runs are one, or runs of different settings.
    """
    group = _told_apart([run_curve(run, 0) for run in runs])
    check_differ([curve for curve in group if len(curve.t)])
    if not force:
        _check_settings(group)


def _told_apart(group: Sequence[Curve]) -> list[Curve]:
    """Add its number to each name that several curves have."""
    names = [curve.name for curve in group]
    return [
        replace(curve, name=f"{curve.name} (curve {i})") if names.count(curve.name) > 1 else curve
        for i, curve in enumerate(group, 1)
    ]


def _shifted(curve: Curve, offset: float) -> Curve:
    if isinstance(offset, str):
        raise OffsetError(
            f"offset = {offset!r}: at α = 2 an additive offset and t₀ are the same parameter, so both "
            "cannot be free; give the offset as a number"
        )
    if not is_finite_number(offset):
        raise OffsetError(f"offset = {offset!r}: expected a finite number, to be subtracted from d")
    return replace(curve, d=curve.d - offset) if offset else curve


def check_differ(group: Sequence[Curve], thinned: bool = False) -> None:
    """Refuse two curves that are one.

    Args:
        group: the curves.
        thinned: whether a curve with some of another's updates is the same.

    Raises:
        SeedError: where there are two such.
    """
    for i, one in enumerate(group):
        for other in group[:i]:
            same = np.array_equal(one.d, other.d) and np.array_equal(one.t, other.t)
            if same or (thinned and _agree(one, other)):
                raise SeedError(
                    f"{other.name} and {one.name} are one curve; expected independent seeds: give it once"
                )


def _agree(one: Curve, other: Curve) -> bool:
    """Compare two curves at some updates that both hold: a few tell, since seeds differ at each."""
    short, long = sorted((one, other), key=lambda curve: len(curve.t))
    if not len(short.t):
        return False
    few = np.unique(np.linspace(0, len(short.t) - 1, _COMPARED).astype(int))
    at = np.minimum(np.searchsorted(long.t, short.t[few]), len(long.t) - 1)
    both = long.t[at] == short.t[few]
    return both.sum() >= _FEWEST_COMPARED and np.allclose(short.d[few][both], long.d[at][both], rtol=_ROUNDED, atol=0)


def _check_settings(group: Sequence[Curve]) -> None:
    """Refuse runs whose settings, networks or learning rates differ: they do not repeat one experiment."""
    for other in group[1:]:
        for what, one_has, other_has in _differences(group[0], other):
            raise SeedError(
                f"{other.name} and {group[0].name} are no seeds of one experiment: {what} is {other_has} and "
                f"{one_has}; give runs that differ in their seed only, or force=True (--force) to take them for seeds"
            )


def _differences(one: Curve, other: Curve) -> Iterator[tuple[str, object, object]]:
    for key in SETTINGS:
        if key in one.settings and key in other.settings and one.settings[key] != other.settings[key]:
            yield key, one.settings[key], other.settings[key]
    if one.run is None or other.run is None:
        return
    if one.run.parameter_specs != other.run.parameter_specs:
        yield "the number of weights", one.run.weight_count, other.run.weight_count
    if "lr" in one.settings and "lr" in other.settings:
        return
    rates = [run.metrics.get("learning_rate") for run in (one.run, other.run)]
    highest = [float(rate.max()) for rate in rates if rate is not None]
    if len(highest) == 2 and not math.isclose(*highest, rel_tol=0.01):
        yield "the highest learning rate", highest[0], highest[1]


def _without_short(
    group: Sequence[Curve], t_min: float | None, t_max: float | None
) -> tuple[list[Curve], tuple[str, ...]]:
    """Leave out the seeds that end more than half a decade before the others, and name those that cut them."""
    start = max((_first(curve, t_min) for curve in group if len(curve.t)), default=0.0)
    ends = [_end(curve, start, t_max) for curve in group]
    usual = sorted(ends)[len(ends) // 2]
    kept = [i for i, end in enumerate(ends) if end * HALF_A_DECADE >= usual]
    shortest = min(ends[i] for i in kept)
    notes = []
    for i, (curve, end) in enumerate(zip(group, ends, strict=True)):
        where = f"ends at t = {end:g}" if len(curve.t) else "holds no updates"
        if i not in kept:
            choice = f"; t_max = {end:g} fits all up to there" if len(curve.t) else ""
            notes.append(f"{curve.name} is left out: it {where}, where others go on to t = {usual:g}{choice}.")
        elif end == shortest and end * _ONE_BIN < usual:
            notes.append(
                f"{curve.name} {where}, where others go on to t = {usual:g}: all seeds are fitted up to t = {end:g}."
            )
    return [group[i] for i in kept], tuple(notes)


def _first(curve: Curve, t_min: float | None) -> float:
    return max(float(curve.t[0]), curve.warmup_end if t_min is None else float(t_min))


def _end(curve: Curve, start: float, t_max: float | None) -> float:
    """Return the last update of a curve that a fit may use: its own, or that of its first drop."""
    last = float(curve.t[-1]) if len(curve.t) else 0.0
    return min(last, math.inf if t_max is None else float(t_max), *(drop for drop in curve.drops if drop > start))


def _late(group: Sequence[Curve], t_min: float | None) -> list[str]:
    """Name the seed whose first update is the start of the range of all."""
    firsts = [_first(curve, t_min) for curve in group if len(curve.t)]
    if len(firsts) < 2 or max(firsts) <= _ONE_BIN * (usual := sorted(firsts)[(len(firsts) - 1) // 2]):
        return []
    late = group[firsts.index(max(firsts))]
    begins = f"{late.name} begins at t = {max(firsts):g}, where others begin at t = {usual:g}"
    return [f"{begins}: all seeds are fitted from t = {max(firsts):g} on."]


def standing_apart(bins: Bins) -> list[str]:
    """Name the seeds that are one curve in two units, run away, stand still or fall, or lie far from the others.

    Args:
        bins: the log bins of one curve, or one per seed.

    Returns:
        A sentence for each.
    """
    named = {}
    ends = (bins.z[:, -1] - bins.z[:, -_LAST]) / (bins.u[-1] - bins.u[-_LAST])
    for name, exponent in zip(bins.names, ends, strict=True):
        if exponent > _BALLISTIC:
            named[name] = (
                f"{name} runs away: by t = {math.exp(bins.u[-1]):.4g} its distance grows as t^{exponent:.2g}, faster "
                "than on a straight line; end the range before that with t_max, or leave the curve out."
            )
    for name, z in zip(bins.names, bins.z, strict=True):
        still = int(np.flatnonzero(np.abs(z - z[-1]) >= _STILL).max(initial=-1)) + 1
        if still <= len(z) - _LAST:
            named[name] = (
                f"{name} stands still from t = {math.exp(bins.u[still]):.4g} on: its distance does not change, as "
                "when weights have become 0 or are no longer updated (look at the loss and the norm); end the range "
                "before that with t_max, or leave it out."
            )
    tops = bins.z.argmax(axis=1)
    for name, z, top in zip(bins.names, bins.z, tops, strict=True):
        if name not in named and z[top] - z[-1] > APART:
            named[name] = (
                f"{name} falls: its distance goes down by {-math.expm1(z[-1] - z[top]):.0%} from "
                f"t = {math.exp(bins.u[top]):.4g} to {math.exp(bins.u[-1]):.4g}, as when training breaks down (look "
                "at the loss); the laws describe growth: end the range before that with t_max, or leave it out."
            )
    for i, name in enumerate(bins.names if len(bins.z) >= 3 else ()):
        others = np.delete(bins.z, i, axis=0)
        middle = np.median(others, axis=0)
        away, spread = bins.z[i] - middle, _STD * np.median(np.abs(others - middle), axis=0)
        typical, at = _rms(spread), int(np.argmax(np.abs(away)))
        if name not in named and _rms(away) > max(APART, _SPREADS * typical):
            times = f"{math.exp(away[at]):.3g} times the others' median"
            named[name] = (
                f"{name} lies apart: at t = {math.exp(bins.u[at]):.4g} its distance is {times}, while they differ by "
                f"{typical:.1%} among themselves; α and its interval rest on it."
            )
    if len(bins.z) == 2 and not named and _rms(np.diff(bins.z, axis=0)) > _DISAGREE:
        ratio = math.exp(float(np.ptp(bins.z, axis=0).max()))
        named[bins.names[0]] = (
            f"{' and '.join(bins.names)} lie apart: their distances differ by up to {ratio:.3g} times."
        )
    return [*_scaled(bins), *named.values()]


def _scaled(bins: Bins) -> Iterator[str]:
    """Name the seeds that are another one times a number: an interval over them has no width, and means nothing."""
    for i, one in enumerate(bins.z):
        for j, other in enumerate(bins.z[:i]):
            if np.ptp(one - other) <= _ROUNDED < np.ptp(one):
                yield (
                    f"{bins.names[i]} is {bins.names[j]} times {math.exp(one[0] - other[0]):.4g}, one curve in two "
                    "units and no second seed: an interval over them is too narrow. Give it once."
                )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
