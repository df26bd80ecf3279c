"""Whether a run can be resumed at a step: its rows and events have to reach it without a gap."""

import numpy as np

from trajectory.errors import StoreError
from trajectory.schedule import Schedule
from trajectory.schema.schedules import Periods, find_gap


def check_continues(path: object, steps: np.ndarray, periods: Periods, schedule: Schedule | None, step: int) -> None:
    """Check that no row is missing up to a step.

    Args:
        path: names the store.
        steps: the steps of its rows, in order.
        periods: the schedules that they were recorded by; empty where that is not known.
        schedule: that of the steps to come, which is tried where `periods` is empty.
        step: the number of updates to resume after.

    Raises:
        StoreError: a row is missing.
    """
    if not periods and find_gap(steps, ((0, schedule),), int(max(steps, default=0))) is None:
        periods = ((0, schedule),)  # an earlier version's store, recorded by the schedule of now
    if gap := find_gap(steps, periods, step):
        before, missing = gap
        raise StoreError(
            f"{path}: holds no row of step {missing}, the next one after {before}, and so cannot be resumed after"
            f" {step} updates; resume from a checkpoint of step {before} or before, or record to another path"
        )


def check_events(path: object, there: int, wanted: int | None, step: int) -> None:
    """Check that no event is missing up to a step.

    Args:
        path: names the store.
        there: how many events it holds.
        wanted: how many were filed until the step; None if that is not known.
        step: the number of updates to resume after.

    Raises:
        StoreError: an event is missing.
    """
    if wanted is not None and wanted > there:
        raise StoreError(
            f"{path}: holds {there} of the {wanted} events that were filed until step {step}; resume from an earlier"
            " checkpoint, or record to another path"
        )
