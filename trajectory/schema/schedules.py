"""Which steps a run was to record, and the first of them that its rows lack."""

from typing import Any, TypeAlias

import numpy as np

from trajectory.schedule import Every, LogSpaced, Schedule
from trajectory.schema.entries import count, mapping, optional_count, whole

Periods: TypeAlias = tuple[tuple[int, Schedule | None], ...]
"""The number of updates after which each schedule of a run began; None stands for one that is not known."""

_KINDS = {"every": Every, "log_spaced": LogSpaced}


def add_period(periods: Periods, step: int, schedule: Schedule | None) -> Periods:
    """Return the schedules of a run that resumes.

    Args:
        periods: those until now.
        step: the number of updates after which it resumes.
        schedule: the schedule from then on.

    Returns:
        The schedules, without those that began later.
    """
    before = tuple(period for period in periods if period[0] < step)
    unchanged = before and schedule is not None and before[-1][1] == schedule
    return before if unchanged else (*before, (step, schedule))


def find_gap(steps: np.ndarray, periods: Periods, last: int) -> tuple[int, int] | None:
    """Find the first step that was to be recorded and was not.

    Args:
        steps: the recorded steps, in order.
        periods: the run's schedules.
        last: the number of updates made.

    Returns:
        The recorded step before the gap, or 0, and the first one that is missing; None if none is.
    """
    ends = [*(min(start, last) for start, _ in periods[1:]), last]
    for (start, schedule), end in zip(periods, ends, strict=False):
        inside = steps[(steps > start) & (steps <= end)]
        due = _following(schedule, np.array([start, *inside], dtype=float))
        gaps = np.flatnonzero(due < [*inside, end + 1])
        if len(gaps):
            missing = int(due[gaps[0]])
            return int(max(steps[steps < missing], default=0)), missing
    return None


def _following(schedule: Schedule | None, steps: np.ndarray) -> np.ndarray:
    """Return the schedule's next step after each of some steps; inf where there is none, or it is not known."""
    if isinstance(schedule, Every):
        following = (steps // schedule.n + 1) * schedule.n
    elif isinstance(schedule, LogSpaced):
        following = np.array([schedule.after(int(step)) for step in steps], dtype=float)
    else:
        return np.full(len(steps), np.inf)
    return following if schedule.until is None else np.where(following > schedule.until, np.inf, following)


def to_json(periods: Periods) -> list[Any]:
    """Return the entry `schedules` of the root's attributes.

    Args:
        periods: the run's schedules.

    Returns:
        `[step, {kind: number, "until": step}]` for each, or `[step, null]`.
    """
    return [[start, _describe(schedule)] for start, schedule in periods]


def from_json(entry: Any) -> Periods:
    """Parse the entry `schedules`.

    Args:
        entry: what `to_json` has returned.

    Returns:
        The run's schedules.
    """
    return tuple((count(start), _parse(schedule)) for start, schedule in entry)


def _describe(schedule: Schedule | None) -> dict[str, int | None] | None:
    if isinstance(schedule, Every):
        return {"every": schedule.n, "until": schedule.until}
    if isinstance(schedule, LogSpaced):
        return {"log_spaced": schedule.per_decade, "until": schedule.until}
    return None


def _parse(entry: Any) -> Schedule | None:
    known = [] if entry is None else [kind for kind in _KINDS if kind in mapping(entry)]
    return _KINDS[known[0]](whole(entry[known[0]]), optional_count(entry["until"])) if known else None
