"""What a recorder does with an update: it measures the weights, and sends rows, scalars and copies to the store."""

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from torch import Tensor, nn

from trajectory.errors import RecordingError, UltraslowError
from trajectory.measure.host_copy import HostCopy, is_capturing
from trajectory.measure.observables import Observables
from trajectory.recording.lr_watcher import LRWatcher
from trajectory.recording.options import RecordingOptions, to_jsonable
from trajectory.recording.row_buffer import BLOCK, NON_FINITE, RATE, RowBuffer, Rows
from trajectory.recording.session import Session
from trajectory.recording.snapshot_writer import SnapshotWriter
from trajectory.recording.unclosed import STATUS
from trajectory.recording.writer_thread import WriterThread
from trajectory.schema.layout import LR_DROP, Event


class Pipeline:
    """The way of updates from the device to the store.

    Args:
        session: The recording.
        model: The model, whose buffers are saved in snapshots.
        options: The recorder's options.

    Attributes:
        step: The number of updates made.
        lr: Watches the learning rate.
        started: Whether it is known which update comes next.
        closed: Whether `close` was called.
    """

    def __init__(self, session: Session, model: nn.Module, options: RecordingOptions):
        self.step, self.lr, self.started = 0, LRWatcher(), not session.resumes
        self.closed = False
        self._session, self._options = session, options
        self._observables, self._store = session.observables, session.store
        self._schedule, self._origins = options.schedule, (0, *options.origins)
        self._thread = WriterThread(session.path, options.on_error)
        self._rows = RowBuffer(session, self._thread, capturable=options.capturable)
        self._snapshots = SnapshotWriter(session, model)
        self._synced: Future[None] | None = None
        self._refused: set[str] = set()  # the scalars that a warning has said are left out

    def subscribe(self, receive: Callable[[Rows], None]) -> None:
        """Pass every flushed block of rows to a function.

        Args:
            receive: Called with the rows, in the training thread.
        """
        self._rows.subscribers.append(receive)

    def log(self, scalars: Mapping[str, float | Tensor]) -> None:
        """File scalars under the current step.

        Args:
            scalars: Numbers, or tensors of one element, by name.

        Raises:
            UltraslowError: One cannot be filed, and `on_error` is "raise".
        """
        if self._rows.silent:
            return
        for name, value in scalars.items():
            try:
                self._rows.log(self.step, name, value)
            except UltraslowError as error:
                if self._options.on_error == "raise":
                    raise
                if name not in self._refused:
                    self._refused.add(name)
                    warnings.warn(f"{error}; it is left out", RuntimeWarning, stacklevel=3)

    def event(self, name: str, details: Mapping[str, object]) -> None:
        """File an event under the current step.

        Args:
            name: The kind of event.
            details: What else is to be known of it.
        """
        if self._rows.silent:
            return
        if name == LR_DROP:
            self.lr.note_filed(self.step)
        event = Event(self.step, name, {key: to_jsonable(value) for key, value in details.items()})
        self._thread.call(self._store.append_event, event)

    def report(self, name: str, sentence: str, details: Mapping[str, object]) -> None:
        """Warn of what a reader of the rows has to know, and file it as an event, unless that was done before.

        Args:
            name: The kind of event.
            sentence: What is wrong, and what to do.
            details: What else is to be known of it.
        """
        if self._rows.silent:
            return
        warnings.warn(f"{self._session.path}: {sentence}", RuntimeWarning, stacklevel=4)
        filed = [(event.name, event.details) for event in self._store.events]
        if (name, {key: to_jsonable(value) for key, value in details.items()}) not in filed:
            self.event(name, details)

    def start(self) -> None:
        """Take the copies that are due before the first update: those of w_0."""
        if self._observables is not None:
            self._take_copies(self._observables)

    def before_resumed(self) -> None:
        """Take the weights that the first update of a resumed run begins with."""
        if self._observables is not None:
            self._observables.keep()

    def capture(self) -> bool:
        """Let a CUDA graph hold the measuring, if one is being captured.

        Returns:
            Whether one is: then the update is made by its replays alone.
        """
        if not (self._options.capturable and is_capturing(self._session.weights[0].device)):
            return False
        if self._observables is not None:
            self._rows.measure(self._observables, keep=True)
        return True

    def update(self, rate: float | Tensor | None, skipped: Tensor | None = None, *, measured: bool = False) -> None:
        """Record the update just made.

        Args:
            rate: The learning rate that it was made with; None if it is unknown.
            skipped: A number on the device, other than 0 if the update changed nothing; None if it did for certain.
            measured: Whether its row is in the ring already.

        Raises:
            RecordingError: Recording has failed.
        """
        self._thread.raise_failures()
        observables = self._observables
        if observables is None or self.closed or (self._thread.given_up and not self._session.ranks.sharded):
            self.step += 1
            return
        if not measured and self.step + 1 in self._schedule:
            self._rows.measure(observables, keep=self.step + 2 in self._schedule)
        elif not measured and self.step + 2 in self._schedule:
            observables.keep()
        self._count(rate, skipped)
        self._take_copies(observables)

    def flush(self, *, wait: bool) -> None:
        """Send what was recorded so far to the store and to subscribers.

        Args:
            wait: Whether to wait until all of it would outlive this process.

        Raises:
            RecordingError: Recording has failed.
        """
        if wait and self._session.ranks.sharded:
            self._thread.wait()  # so that the ranks count the shards written until now
        self._rows.flush()
        self._rows.dispatch(wait=wait)
        if wait or self._synced is None or self._synced.done():  # a slow store gets fewer and larger pieces
            self._synced = self._thread.call(self._store.sync)
        if wait:
            self._thread.wait()
            self._thread.raise_failures()

    def rewind(self, step: int, *, events: int | None = None) -> None:
        """Continue from an earlier step; what was recorded after it is taken back.

        Args:
            step: The number of updates made until then.
            events: How many events had been filed by then; None for all up to that step.
        """
        self._session.rewind(step, events)
        filed = self._store.events
        self._rows.finite = all(event.name != NON_FINITE for event in filed)
        self.lr.resume(self._store.scalars(step).get(RATE), filed)
        self.step, self.started = step, True

    def close(self, status: str, *, collective: bool = False) -> None:
        """Write what is on its way, and mark how the run ended; if nothing was recorded, leave the store as it is.

        Args:
            status: How the run ended.
            collective: Whether all ranks close. Otherwise rows that are not flushed yet are lost where a model is
                sharded.

        Raises:
            RecordingError: Recording has failed.
        """
        self.closed = True
        if not self.started:
            self._abandon()
            return
        failure = None
        self._snapshots.close()
        try:
            self._rows.flush(collective=collective)
            self._rows.dispatch(wait=True)
        except RecordingError as error:
            failure, status = error, "interrupted (a rank ended)"
        self._thread.call(self._store.close, "interrupted (recording failed)" if self._thread.given_up else status)
        self._thread.close()
        self._thread.raise_failures()
        if failure:
            raise failure

    def close_forgotten(self) -> None:
        """Close a run that nobody closed.

        Raises:
            RecordingError: Recording has failed, and nobody was told before.
        """
        known = self._thread.has_raised
        try:
            self.close(STATUS)
        except RecordingError:
            if not known:
                raise

    def _abandon(self) -> None:
        """Leave the store as it is."""
        self._snapshots.close()
        self._thread.close()
        self._store.release()

    def _count(self, rate: float | Tensor | None, skipped: Tensor | None) -> None:
        """Do the host's part of an update whose row, if it has one, is in the ring."""
        if rate is not None and (drop := self.lr.observe(rate, self.step)):
            self.event(LR_DROP, drop)
        self.step += 1
        if skipped is not None and not self._rows.silent:
            self._rows.note_skipped(self.step, skipped)
        if self.step in self._schedule:
            self._rows.add_step(self.step)
            if rate is not None:
                self.log({RATE: rate})
        if self.step % BLOCK == 0:
            self.flush(wait=False)

    def _take_copies(self, observables: Observables) -> None:
        """Copy the weights as they are now, where an origin, a snapshot or a sketch is due."""
        if self.step in self._origins:
            if self.step:
                observables.add_origin(self._origins.index(self.step) - 1)
            self._thread.watch(self._snapshots.take_origin(self.step))
        if self.step in self._options.snapshots and not self._thread.given_up:
            self._thread.watch(self._snapshots.take(self.step))
        if self.step in self._options.sketches:
            self._send_sketch(self._session.sketch(self._options.sketch))

    def _send_sketch(self, values: Tensor) -> None:
        if not self._rows.silent:
            copy, append = HostCopy(values), self._store.append_sketch
            self._thread.call(lambda step: append(step, copy.wait().numpy()), self.step)
