"""From which origin a fit measures, where none is given: the oldest recorded one that leaves enough to fit.

With age the initial transient is left behind, and from s = 5τ on the motion is steady (`age`). But what is left of
the run gets shorter: enough are two decades of t, of which the first begins after the ballistic updates.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.curve import Curve, CurvesLike, Run, Source
from analysis.errors import AnalysisError, CurveError
from analysis.fitting.age import BALLISTIC, STEADY, Age, in_memories, shortest_memory
from analysis.fitting.log_bins import Bins, binned, constant_phase
from analysis.fitting.seed_group import read_seeds
from analysis.inputs import check_update, listed, update_number
from analysis.logs import is_log
from analysis.run_curves import run_curve

ENOUGH = 100.0  # the last t over the first: two decades, under which α is poorly determined
_TO_ASK = 10**1.5  # the same for asking whether α is another from an origin


@dataclass(frozen=True, eq=False)
class Seeds:
    """Curves that are fitted on one range.

    Attributes:
        curves: one, or seeds of one experiment, measured from one origin.
        origin_choice: why it is measured from there, a sentence; "" where there was nothing to choose.
        notes: sentences on curves that end early.
        sources: the runs that they come from, or what measures them from other origins; none where other curves or
            arrays were given.
        force: whether runs of different settings are taken for seeds.
    """

    curves: list[Curve]
    origin_choice: str
    notes: tuple[str, ...]
    sources: tuple[Run | Source, ...]
    force: bool


def seeds_from(
    data: CurvesLike,
    origin: int | None,
    t_min: float | None,
    t_max: float | None,
    offset: float = 0.0,
    force: bool = False,
) -> Seeds:
    """Read the curves to be fitted, from the origin given or from the one that `choose_origin` takes.

    Args:
        data: one curve, or seeds of one experiment.
        origin: d is the displacement from this update's weights; None for the oldest that leaves enough.
        t_min: the first update asked for; None for the default.
        t_max: the last update asked for; None for the default.
        offset: a number subtracted from each d.
        force: take runs of different settings for seeds all the same.

    Returns:
        The curves.

    Raises:
        AnalysisError: what `read_seeds` raises.
    """
    check_update(t_min, "t_min")
    check_update(t_max, "t_max")
    runs = opened(data)
    given: CurvesLike = list(runs) or data
    start, said = choose_origin(runs, t_min, t_max) if origin is None else (update_number(origin, "origin"), "")
    curves, notes = read_seeds(given, start, t_min, t_max, offset, force)
    if origin is not None and curves[0].origin != start:
        raise CurveError(
            f"{curves[0].name}: measured from update {curves[0].origin}; expected origin = {curves[0].origin}, or a "
            f"curve measured from update {start}"
        )
    return Seeds(curves, said, notes, () if offset else sources(data), force)


def opened(data: Any) -> tuple[Run, ...]:
    """Open the runs that are given.

    Args:
        data: what `curves` takes.

    Returns:
        The runs; none where anything else is among what was given.
    """
    parts = data if isinstance(data, list | tuple) else [data]
    if not parts or not all(isinstance(part, Run) or _is_path_of_run(part) for part in parts):
        return ()
    return tuple(part if isinstance(part, Run) else Run(part) for part in parts)


def _is_path_of_run(part: Any) -> bool:
    return isinstance(part, str | Path) and not is_log(part)


def sources(data: Any) -> tuple[Run | Source, ...]:
    """Open what can be measured from several origins: runs, or curves that say how.

    Args:
        data: what `curves` takes.

    Returns:
        The runs, or the curves' sources; none where anything else is among what was given.
    """
    parts = data if isinstance(data, list | tuple) else [data]
    single = [part for part in parts if isinstance(part, Curve) and not part.origins]
    found = [part.source for part in single if part.source is not None]
    return tuple(found) if found and len(found) == len(parts) else opened(data)


def measured(found: Sequence[Run | Source], origin: int) -> list[Run | Curve]:
    """Return what `read_seeds` reads from an origin.

    Args:
        found: what `sources` returned.
        origin: the update.
    """
    return [one if isinstance(one, Run) else one.curve(origin) for one in found]


def read_origins(
    found: Sequence[Run | Source], origins: Sequence[int], t_min: float | None, t_max: float | None, force: bool
) -> list[list[Curve]]:
    """Read the same seeds from several origins, with a Python warning of each that ends early.

    Args:
        found: what `sources` returned.
        origins: the updates.
        t_min: the first t asked for; None for the default.
        t_max: the last t asked for; None for the default.
        force: take runs of different settings for seeds all the same.

    Returns:
        The curves from each origin.

    Raises:
        AnalysisError: what `read_seeds` raises.
    """
    read = [read_seeds(measured(found, origin), origin, t_min, t_max, force=force) for origin in origins]
    for sentence in dict.fromkeys(sentence for _, notes in read for sentence in notes):
        warnings.warn(sentence, stacklevel=3)
    return [group for group, _ in read]


def choose_origin(runs: Sequence[Run], t_min: float | None = None, t_max: float | None = None) -> tuple[int, str]:
    """Choose the oldest origin that all runs recorded and that leaves two decades of t; w_0 where none does.

    Args:
        runs: seeds of one experiment; none for what has no origins to choose from.
        t_min: the first t asked for; None for the end of the ballistic updates, or of the warm-up.
        t_max: the last t asked for; None for the first learning-rate drop.

    Returns:
        The origin, and a sentence that says why; "" where w_0 is the only one.
    """
    recorded = shared_origins(runs)
    if recorded in ([], [0]):
        return 0, ""
    lasting = lasting_origins(runs, t_min, t_max)
    if lasting:
        origin, memory = lasting[-1], shortest_memory([run_curve(runs[0], lasting[-1])])
        old = "" if memory is None else f", {in_memories(origin / memory)} old"
        return origin, (
            f"origin was not given: t counts from update {origin}{old}, the oldest recorded origin after which two "
            "decades of t are left."
        )
    return 0, (
        "origin was not given: t counts from w_0, since after none of the other recorded origins "
        f"({', '.join(map(str, recorded[1:]))}) two decades of t are left."
    )


def shared_origins(runs: Sequence[Run | Source]) -> list[int]:
    """Return the origins that all of some runs recorded distances from, in order.

    Args:
        runs: the runs, or what measures them.
    """
    return sorted(set.intersection(*(set(run.origins) for run in runs))) if runs else []


def lasting_origins(
    runs: Sequence[Run | Source], t_min: float | None = None, t_max: float | None = None
) -> list[int]:
    """Return the origins after w_0 that all runs recorded and that leave two decades of t, in order.

    Args:
        runs: seeds of one experiment, or what measures them.
        t_min: the first t asked for; None for the end of the ballistic updates, or of the warm-up.
        t_max: the last t asked for; None for the first learning-rate drop.
    """
    whole = [run_curve(run if isinstance(run, Run) else run.run, 0) for run in runs]
    return [origin for origin in shared_origins(runs) if origin and _is_enough(whole, origin, t_min, t_max)]


def _is_enough(whole: Sequence[Curve], origin: int, t_min: float | None, t_max: float | None) -> bool:
    """Tell from curves that count from w_0 whether two decades of t are left after an origin."""
    warmed_up = max(curve.warmup_end - origin for curve in whole)
    first = max(float(BALLISTIC), warmed_up if t_min is None else float(t_min))
    ends = [_last(curve, origin + first) - origin for curve in whole]
    return min(*ends, math.inf if t_max is None else float(t_max)) >= ENOUGH * first


def _last(curve: Curve, start: float) -> float:
    """Return the last update after a start at the learning rate that it has there."""
    return min((drop for drop in curve.drops if drop > start), default=float(curve.t[-1]) if len(curve.t) else 0.0)


def asked_for(
    runs: Sequence[Run | Source], origins: Sequence[int] | None, t_min: float | None, t_max: float | None
) -> list[int]:
    """Return the origins that are asked for, or by default those that leave two decades of t.

    Args:
        runs: seeds of one experiment, or what measures them.
        origins: updates; None for the default.
        t_min: as for `lasting_origins`.
        t_max: likewise.

    Returns:
        Two origins or more, each once.

    Raises:
        AnalysisError: where there are fewer.
    """
    if origins is None:
        found = lasting_origins(runs, t_min, t_max)
    else:
        given = listed(origins, "origins", "a list of two updates or more, such as [100, 1000]")
        found = [update_number(origin, "origins") for origin in given]
    if len(set(found)) >= 2:
        return list(dict.fromkeys(found))
    if origins is None:
        raise AnalysisError(
            f"origins after w_0 that leave two decades of t: {found}; expected two or more: record with origins, as "
            'in Recorder(..., origins=["5tau", "10tau"]), or name some'
        )
    raise AnalysisError(f"origins = {found}: expected two updates or more")


def at_other_origins(seeds: Seeds, bins: Bins, age: Age) -> list[tuple[int, Bins, Bins]]:
    """Bin the same seeds from the other origins that a law should be the same from.

    In the steady state these are all origins that are 5τ old; before it, or where the age is unknown, all but w_0,
    whose distance begins with the jump.

    Args:
        seeds: the curves fitted, and their runs.
        bins: their log bins.
        age: of their origin.

    Returns:
        For each such origin that leaves a decade and a half of the fit range: the update, the bins from there, and
        those of the fit's own origin on the same range.
    """
    own = seeds.curves[0].origin
    others = [one for one in shared_origins(seeds.sources) if one not in (0, own)]
    if age.steady:
        others = [one for one in others if age.of(one) >= STEADY]
    found = []
    for origin in others:
        pair = _on_one_range(seeds, origin, bins)
        if pair is not None:
            found.append((origin, *pair))
    return found


def _on_one_range(seeds: Seeds, origin: int, bins: Bins) -> tuple[Bins, Bins] | None:
    start, end = bins.fit_range
    try:
        group, _ = read_seeds(measured(seeds.sources, origin), origin, start, None, force=seeds.force)
        group = [curve for curve in group if curve.name in bins.names]
        first, last = constant_phase(group, start, None)
        last = min(last, end)
        if [curve.name for curve in group] != list(bins.names) or first > start or last < _TO_ASK * start:
            return None
        return binned(group, start, last), bins if last == end else binned(seeds.curves, start, last)
    except AnalysisError:  # too little is left from there, or the distance is 0
        return None
