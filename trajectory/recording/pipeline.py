"""What a recorder does with an update: it measures the weights, and sends rows, scalars and copies to the store."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from trajectory.errors import RecordingError, UltraslowError, first_line
from trajectory.measure.host_copy import HostCopy, is_capturing
from trajectory.measure.observables import Observables
from trajectory.recording.lr_watcher import LRWatcher
from trajectory.recording.options import RecordingOptions, to_jsonable
from trajectory.recording.row_buffer import BLOCK, NON_FINITE, RATE, RowBuffer, Rows
from trajectory.recording.session import Session
from trajectory.recording.signals import is_raised_by_handler
from trajectory.recording.snapshot_writer import SnapshotWriter
from trajectory.recording.unclosed import STATUS
from trajectory.recording.worker import Call
from trajectory.recording.writer_thread import WriterThread
from trajectory.schema.layout import LR_DROP, WARNING, Event

UNKNOWN_OPTIMIZER, OPTIMIZER_ORDER = "unknown_optimizer", "optimizer_order"
WEIGHTS_CHANGED, _REPEATED_LOG = "weights_changed", "repeated_log"
NO_UPDATES = "no_updates"
_CAUSES, _CONSEQUENCES = {UNKNOWN_OPTIMIZER, OPTIMIZER_ORDER}, {WEIGHTS_CHANGED, _REPEATED_LOG}
_INTERRUPTED = "interrupted_update"  # the event of an update that an interrupt kept from being measured whole


@dataclass
class _Update:
    """An update that was made, and how far its recording has come, for another attempt if an interrupt ends it.

    Attributes:
        step: Its number t.
        round: The rounds of the optimizers until then.
        rate: The learning rate that it was made with; None if it is unknown.
        skipped: A number on the device, other than 0 if the update changed nothing; None if it did for certain.
        late: Whether its gradient may be gone.
        begun: Whether its measuring was begun.
        lost: The quantities that can no longer be measured.
        measured: Whether its row is in the ring.
        watched: The state of `LRWatcher` before it.
        events: What is to be filed of it, by name.
        copies: What is to be written of the weights after it, by kind.
    """

    step: int
    round: int
    rate: float | Tensor | None
    skipped: Tensor | None
    late: bool
    measured: bool
    watched: tuple[float | None, float]
    begun: bool = False
    lost: list[str] = field(default_factory=list)
    events: dict[str, Call] = field(default_factory=dict)
    copies: dict[str, Call] = field(default_factory=dict)


class Pipeline:
    """The way of updates from the device to the store.

    An interrupt, such as Ctrl-C, may end the recording of an update anywhere: `finish` goes on from there. It has to
    be called before the next update is made.

    Args:
        session: The recording.
        model: The model, whose buffers are saved in snapshots.
        options: The recorder's options.

    Attributes:
        step: The number of updates recorded.
        rounds: The rounds of the optimizers that were recorded.
        lr: Watches the learning rate.
        started: Whether it is known which update comes next.
        closed: Whether `close` was called.
        ended: Whether nothing is left to be closed.
    """

    def __init__(self, session: Session, model: nn.Module, options: RecordingOptions):
        self.step, self.rounds = 0, 0
        self.lr, self.started = LRWatcher(), not session.resumes
        self.closed = self.ended = False
        self._session, self._options = session, options
        self._observables, self._store = session.observables, session.store
        self._schedule, self._origins = options.schedule, (0, *options.origins)
        self._thread = WriterThread(session.path, options.on_error)
        self._rows = RowBuffer(session, self._thread, capturable=options.capturable, on_error=options.on_error)
        self._snapshots = SnapshotWriter(session, model, self._thread.failures.append)
        self._current: _Update | None = None
        self._synced: Call | None = None
        self._closing: Call | None = None
        self._uncounted = False  # whether updates are known to lack their rows
        self._reported: set[str] = set()  # kinds of reports that a warning was given of
        self._refused: set[str] = set()  # the scalars that a warning has said are left out

    def made(self, rounds: int) -> int:
        """Return the number of updates made, recorded or not.

        Args:
            rounds: The rounds of the optimizers that were made.
        """
        begun = self._current
        step, recorded = (self.step, self.rounds) if begun is None else (begun.step, begun.round)
        return step + rounds - recorded

    def check_open(self, *, awaits_step: bool = False) -> None:
        """Refuse what cannot be done now.

        Args:
            awaits_step: Whether it can be done before it is known at which step a run is resumed.

        Raises:
            RecordingError: The run is closed, or is to be resumed at a step that is not known yet.
        """
        if self.closed:
            raise RecordingError(f"{self._session.path}: the recorder is closed; log and file events before close()")
        if not self.started and not awaits_step:
            raise RecordingError(
                f"{self._session.path}: holds a run to resume, but not from which step; call load_state_dict() with"
                " the checkpoint's, or give step= (0 starts over)"
            )

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
        self._log(self.step, scalars)

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

    def report(self, name: str, sentence: str, details: Mapping[str, object], *, silently: bool = False) -> None:
        """File what a reader of the rows has to know as an event, and warn of it, unless that was done before.

        Args:
            name: The kind of event, of which one warning is given.
            sentence: What is wrong, and what to do.
            details: What else is to be known of it.
            silently: Whether to file it alone.
        """
        if self._rows.silent:
            return
        if name in _CONSEQUENCES and self._reported & _CAUSES:
            return
        self._uncounted |= name == UNKNOWN_OPTIMIZER or (name == NO_UPDATES and bool(details["count"]))
        details = {**details, WARNING: sentence}
        filed = [(event.name, event.details) for event in self._store.events]
        if (name, {key: to_jsonable(value) for key, value in details.items()}) not in filed:
            self.event(name, details)
        if name not in self._reported and not silently:
            self._reported.add(name)
            warnings.warn(f"{self._session.path}: {sentence}", RuntimeWarning, stacklevel=4)

    def extend(self, parameters: Sequence[Tensor]) -> bool:
        """Count more parameters in the totals.

        Args:
            parameters: The parameters, whose weights have been what they are now since w_0.

        Returns:
            Whether they count; not so where a graph or the shards of a model fix what is measured.
        """
        if self._observables is None or self._session.ranks.sharded or self._options.capturable:
            return False
        self._rows.extend(self._observables, parameters)
        return True

    def replace(self, name: str, parameter: nn.Parameter) -> None:
        """Record another parameter under a name; the model may not be sharded.

        Args:
            name: The name.
            parameter: The parameter, of the same shape as the one before.
        """
        self._session.replace(name, parameter)
        if self._observables is not None:
            self._rows.fit_ring(self._observables)

    def changed(self) -> Tensor | None:
        """Compare the weights with those of the last update.

        Returns:
            Whether each measured parameter has changed since (on its device); None if that cannot be told.
        """
        fixed = self._session.ranks.sharded or self._options.capturable or self._rows.silent
        if self._observables is None or fixed or is_capturing(self._session.weights[0].device):
            return None
        return self._rows.changed_since(self._observables, self.step)

    def start(self) -> None:
        """Take the copies that are due before the first update: those of w_0."""
        if self._observables is not None:
            self._take_copies(self._begin(0), self._observables)

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

    def update(
        self,
        rate: float | Tensor | None,
        skipped: Tensor | None = None,
        *,
        rounds: int | None = None,
        measured: bool = False,
        late: bool = False,
    ) -> None:
        """Record the update just made, after the one whose recording was ended by an interrupt, if there is one.

        Args:
            rate: The learning rate that it was made with; None if it is unknown.
            skipped: A number on the device, other than 0 if the update changed nothing; None if it did for certain.
            rounds: The rounds of the optimizers, this one included; None if it was not made by one.
            measured: Whether its row is in the ring already.
            late: Whether its gradient may be gone.

        Raises:
            RecordingError: Recording has failed.
        """
        self.finish()
        self._current = self._begin(self.step + 1, rate, skipped, rounds=rounds, measured=measured, late=late)
        self.finish()

    def finish(self, *, late: bool = False) -> None:
        """Record what is not recorded yet of the update whose recording has begun.

        Args:
            late: Whether its gradient may be gone.

        Raises:
            RecordingError: Recording has failed.
        """
        if (update := self._current) is None:
            return
        update.late |= late
        differentiates = torch.is_grad_enabled()
        try:  # not `with no_grad()`: an interrupt while that is entered leaves gradients off
            torch.set_grad_enabled(False)
            self._record(update)
        except Exception as error:
            self._give_up(error)
        finally:
            torch.set_grad_enabled(differentiates)
        self.step, self.rounds = update.step, update.round
        self._current = None

    def drop(self, rounds: int) -> None:
        """Count the update whose recording has begun, without a row.

        Args:
            rounds: The rounds of the optimizers that were made.
        """
        self.step, self.rounds, self._current = self.made(rounds), rounds, None

    def flush(self, *, wait: bool) -> None:
        """Send what was recorded so far to the store and to subscribers.

        Args:
            wait: Whether to wait until all of it would survive a power cut.

        Raises:
            RecordingError: Recording has failed.
        """
        try:
            self._send(wait=wait)
        except Exception as error:
            self._give_up(error)
        if wait:
            self._thread.raise_failures()

    def rewind(self, step: int, *, events: int | None = None) -> None:
        """Continue from an earlier step; what was recorded after it is taken back.

        Args:
            step: The number of updates made until then.
            events: How many events had been filed by then; None for all up to that step.
        """
        self._session.rewind(step, events)
        if self._observables is not None:
            self._rows.fit_ring(self._observables)
        filed = self._store.events
        self._rows.finite = all(event.name != NON_FINITE for event in filed)
        self.lr.resume(self._store.scalars(step).get(RATE), filed)
        self._current = None
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
        if self.ended:
            return
        if not self.started:
            self._abandon()
            return
        failure: Exception | None = None
        try:
            if not self.closed:
                self.finish(late=True)
        except Exception as error:
            failure = error
        self.closed = True
        self._snapshots.close()
        try:
            self._rows.flush(collective=collective)
            self._rows.dispatch(wait=True)
        except RecordingError as error:
            failure, status = error, "interrupted (a rank ended)"
        except Exception as error:  # a subscriber's
            failure = error
        self._thread.wait()
        if status == "complete" and self._uncounted:
            status = "incomplete (updates not counted)"
        if self._closing is None:
            status = "interrupted (recording failed)" if self._thread.failures else status
            self._closing = Call(self._store.close, status)
        self._thread.put(self._closing)
        self._thread.close()
        self.ended = True
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
        self.closed = True
        self._snapshots.close()
        self._thread.close()
        self._store.release()
        self.ended = True

    def _begin(
        self,
        step: int,
        rate: float | Tensor | None = None,
        skipped: Tensor | None = None,
        *,
        rounds: int | None = None,
        measured: bool = False,
        late: bool = False,
    ) -> _Update:
        watched = self.lr.rate, self.lr.fall
        return _Update(step, self.rounds if rounds is None else rounds, rate, skipped, late, measured, watched)

    def _log(self, step: int, scalars: Mapping[str, float | Tensor]) -> None:
        if self._rows.silent:
            return
        for name, value in scalars.items():
            try:
                if self._rows.log(step, name, value) == BLOCK:
                    self._report_repeated(name)
            except Exception as error:
                if self._options.on_error == "raise" or is_raised_by_handler(error):
                    raise
                if name not in self._refused:
                    self._refused.add(name)
                    sentence = (
                        str(error) if isinstance(error, UltraslowError) else f"log({name}=...): {first_line(error)}"
                    )
                    warnings.warn(f"{sentence}; it is left out", RuntimeWarning, stacklevel=4)

    def _record(self, update: _Update) -> None:
        self._thread.raise_failures()
        observables = self._observables
        if observables is None or self.closed or (self._thread.given_up and not self._session.ranks.sharded):
            return
        if self.step < update.step:
            self._measure(update, observables)
            self._count(update)
        self._watch_rate(update)
        if update.step % BLOCK == 0:
            self._send(wait=False)
        self._take_copies(update, observables)

    def _send(self, *, wait: bool) -> None:
        if wait:
            self._snapshots.wait()
        if wait and self._session.ranks.sharded:
            self._thread.wait()  # so that the ranks count the shards written until now
        self._rows.flush()
        self._rows.dispatch(wait=wait)
        if wait or self._synced is None or self._synced.done:  # a slow store gets fewer and larger pieces
            durable = wait or self._options.durable
            self._synced = self._thread.call(partial(self._store.sync, durable=durable))
        if wait:
            self._thread.wait()

    def _give_up(self, error: Exception) -> None:
        """Raise an error, or warn of it and end the recording, as `on_error` says."""
        if self._options.on_error == "raise" or is_raised_by_handler(error):
            raise error
        self._thread.failures.append(error)
        self._thread.raise_failures()

    def _measure(self, update: _Update, observables: Observables) -> None:
        """Put the row of an update into the ring, if it has one and that was not done."""
        if update.measured:
            return
        again, update.begun = update.begun, True
        keep = update.step + 1 in self._schedule
        if update.step in self._schedule:
            self._rows.measure(observables, keep=keep, again=again)
            gone = {"update_norm": again, "grad_norm": update.late}  # the first attempt may have kept these weights
            update.lost = [name for name in self._options.quantities if gone.get(name)]
            for name in update.lost:
                self._rows.forget(name)
        elif keep:
            observables.keep()
        update.measured = True

    def _count(self, update: _Update) -> None:
        """Do the host's part of an update whose row, if it has one, is in the ring."""
        if update.skipped is not None and not self._rows.silent:
            self._rows.note_skipped(update.step, update.skipped)
        if update.step in self._schedule:
            if update.rate is not None:
                self._log(update.step, {RATE: update.rate})
            self._rows.add_step(update.step)
        self.step = update.step

    def _watch_rate(self, update: _Update) -> None:
        """File a drop of the learning rate, and what an interrupt left unknown."""
        if self._rows.silent:
            return
        before, calls = update.step - 1, update.events
        if update.rate is not None and LR_DROP not in calls:
            self.lr.rate, self.lr.fall = update.watched
            if drop := self.lr.observe(update.rate, before):
                calls[LR_DROP] = Call(self._store.append_event, Event(before, LR_DROP, dict(drop)))
        if update.lost and _INTERRUPTED not in calls:
            event = Event(update.step, _INTERRUPTED, {"unknown": update.lost})
            calls[_INTERRUPTED] = Call(self._store.append_event, event)
            warnings.warn(
                f"{self._session.path}: an interrupt came while update {update.step} was measured, so that its"
                f" {' and '.join(update.lost)} cannot be known; NaN takes the place",
                RuntimeWarning,
                stacklevel=5,
            )
        for call in calls.values():
            self._thread.put(call)

    def _take_copies(self, update: _Update, observables: Observables) -> None:
        """Copy the weights as they are now, where an origin, a snapshot or a sketch is due."""
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

    def _report_repeated(self, name: str) -> None:
        self.report(
            _REPEATED_LOG,
            f"log({name}=...) was called {BLOCK} times at t = {self.step}, and each value replaced the one before; if"
            " weights were updated meanwhile, have the updates counted, by follow(optimizer) or update()",
            {"metric": name},
        )

    def _append_sketch(self, step: int, values: HostCopy) -> None:
        self._store.append_sketch(step, values.wait().numpy())
