"""Copies of the weights that are due after an update: origins, snapshots and sketches."""

from trajectory.measure.host_copy import HostCopy
from trajectory.measure.observables import Observables
from trajectory.recording.delivery import Delivery
from trajectory.recording.options import RecordingOptions
from trajectory.recording.session import Session
from trajectory.recording.update import Update
from trajectory.recording.worker import Call


class WeightCopies:
    """Takes the copies and gives them to the threads that write them.

    Args:
        session: The recording.
        options: The recorder's options.
        delivery: The way to the store.
    """

    def __init__(self, session: Session, options: RecordingOptions, delivery: Delivery):
        self._session, self._options, self._origins = session, options, (0, *options.origins)
        self._rows, self._thread, self._snapshots = delivery.rows, delivery.thread, delivery.snapshots

    def take(self, update: Update, observables: Observables) -> None:
        """Copy the weights as they are now, where an origin, a snapshot or a sketch is due.

        Args:
            update: The update just made.
            observables: Measures the weights.
        """
        if observables.resized:
            self._session.leave_out_resized()
        step, calls = update.step, update.copies
        if step in self._origins:
            if "origin" not in calls:
                if step:
                    observables.add_origin(self._origins.index(step) - 1)
                calls["origin"] = self._snapshots.origin(step)
            self._snapshots.put(calls["origin"])
        if step in self._options.snapshots and not self._thread.given_up:
            if "snapshot" not in calls:
                calls["snapshot"] = self._snapshots.snapshot(step)
            self._snapshots.put(calls["snapshot"])
        if step in self._options.sketches:
            if "sketch" not in calls:
                values = self._session.sketch(self._options.sketch)
                calls["sketch"] = Call(self._append_sketch, step, HostCopy(values))
            if not self._rows.silent:
                self._thread.put(calls["sketch"])

    def _append_sketch(self, step: int, values: HostCopy) -> None:
        self._session.store.append_sketch(step, values.wait().numpy())
