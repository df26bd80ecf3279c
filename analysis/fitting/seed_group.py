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
from analysis.fitting.log_bins import BINS_PER_DECADE
from analysis.inputs import check_switch, check_update, is_finite_number, is_same
from analysis.reading import curves
from analysis.run_curves import run_curve

HALF_A_DECADE = math.sqrt(10)
_ONE_BIN = 10 ** (1 / BINS_PER_DECADE)

_ROUNDED = 1e-6  # of d: single precision rounds by a tenth of it, and seeds differ by ten thousand times as much
_COMPARED, _FEWEST_COMPARED = 32, 8  # updates at which two curves are compared, evenly in t and in log t


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
        SeedError: where two of the seeds are one curve, runs of different settings, or measured from other origins.
        OffsetError: where the offset is no number.
        AnalysisError: where origin, t_min or t_max is no update, or force neither True nor False.
    """
    check_update(t_min, "t_min")
    check_update(t_max, "t_max")
    check_switch(force, "force")
    group = [_shifted(curve, offset) for curve in _told_apart(curves(data, origin=origin))]
    if not any(len(curve.t) for curve in group):
        raise ShortCurveError(f"{group[0].name}: holds no distances after update {origin}; expected a decade of t")
    check_differ(group, thinned=not force)
    check_measured_alike(group)
    if not force:
        _check_settings(group)
    group, notes = _without_short(group, t_min, t_max)
    recorded = [sentence for curve in group for sentence in curve.warnings]
    return group, (*recorded, *differing_settings(group), *notes, *_late(group, t_min), *_branches(group))


def check_seeds(runs: Sequence[Run], *, force: bool = False) -> None:
    """Refuse runs that do not repeat one experiment.

    Args:
        runs: runs that are to be averaged over.
        force: take runs of different settings for seeds all the same.

    Raises:
        SeedError: where two of the runs are one, or runs of different settings.
    """
    check_switch(force, "force")
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
            if same or (thinned and _shared_end(one, other) == math.inf):
                raise SeedError(
                    f"{other.name} and {one.name} are one curve; expected independent seeds: give it once"
                )


def _shared_end(one: Curve, other: Curve) -> float:
    """Return the t up to which two curves are one; 0 where they differ from the start, infinity where nowhere.

    They are compared at some updates that both hold: a few tell, since seeds differ at each.
    """
    short, long = sorted((one, other), key=lambda curve: len(curve.t))
    last = len(short.t)
    if not last:
        return 0.0
    evenly = np.concatenate([np.linspace(0, last - 1, _COMPARED), np.geomspace(1, last, _COMPARED) - 1])
    few = np.unique(evenly.astype(int))
    at = np.minimum(np.searchsorted(long.t, short.t[few]), len(long.t) - 1)
    both = (long.t[at] == short.t[few]) & (short.d[few] != 0)
    alike = np.isclose(short.d[few][both], long.d[at][both], rtol=_ROUNDED, atol=0, equal_nan=True)
    count = len(alike) if alike.all() else int(np.argmin(alike))
    if count < _FEWEST_COMPARED:
        return 0.0
    return math.inf if count == len(alike) else float(short.t[few][both][count - 1])


def differing_settings(group: Sequence[Curve]) -> list[str]:
    """List the settings in which runs taken for seeds by force differ.

    Args:
        group: the curves.

    Returns:
        A sentence for each.
    """
    found = []
    for key in SETTINGS:
        values = [curve.settings[key] for curve in group if key in curve.settings]
        if not all(is_same(value, values[0]) for value in values):
            found.append(
                f"The runs differ in {key} ({', '.join(sorted(set(map(str, values))))}); an interval over seeds "
                "assumes that they differ in their seed alone."
            )
    return found


def check_measured_alike(group: Sequence[Curve]) -> None:
    """Refuse curves measured from different origins, and directions among distances: they have no law in common.

    Args:
        group: the curves.

    Raises:
        SeedError: where there are such.
    """
    for other in group[1:]:
        one_is, other_is = _measure(group[0]), _measure(other)
        if one_is != other_is:
            raise SeedError(
                f"{other.name} is {other_is} and {group[0].name} is {one_is}; expected curves of one kind, all from "
                "one origin"
            )


def _measure(curve: Curve) -> str:
    """Say what a curve's d is."""
    count, origins = curve.config.get("directions"), curve.origins or (curve.origin,)
    what = "a distance" if count is None else f"the turning of directions (L = {count})"
    return f"{what} from update {', '.join(map(str, origins))}"


def _branches(group: Sequence[Curve]) -> Iterator[str]:
    """Name the curves that begin as one, as those of runs that branch off one checkpoint."""
    for i, one in enumerate(group):
        for other in group[:i]:
            end = _shared_end(one, other)
            if end:
                yield (
                    f"{other.name} and {one.name} are one curve up to t = {end:g}: runs that branch there are no "
                    "independent seeds, and an interval over them is too narrow."
                )


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
        if key in one.settings and key in other.settings and not is_same(one.settings[key], other.settings[key]):
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
