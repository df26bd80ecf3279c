"""What a recorder does with an update: it measures the weights, and hands on rows, scalars and copies."""

import torch
from torch import Tensor, nn

from trajectory.errors import RecordingError
from trajectory.measure.host_copy import is_capturing
from trajectory.measure.observables import Observables
from trajectory.recording.delivery import Delivery
from trajectory.recording.lr_watcher import LRWatcher
from trajectory.recording.measured_model import MeasuredModel
from trajectory.recording.options import RecordingOptions
from trajectory.recording.reports import Reports
from trajectory.recording.rows import BLOCK, EARLY, NON_FINITE, RATE
from trajectory.recording.session import Session
from trajectory.recording.unclosed import STATUS
from trajectory.recording.update import Update
from trajectory.recording.warned import Warned
from trajectory.recording.weight_copies import WeightCopies
from trajectory.recording.worker import Call
from trajectory.schema.layout import LR_DROP, Event
from trajectory.signals import is_raised_by_handler

_INTERRUPTED = "interrupted_update"  # the event of an update that an interrupt kept from being measured whole


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
        delivery: Brings what was recorded to the store.
        reports: Files scalars and events.
        measured_model: What is measured of the model.
        started: Whether it is known which update comes next.
        closed: Whether `close` was called.
    """

    def __init__(self, session: Session, model: nn.Module, options: RecordingOptions):
        self.step, self.rounds = 0, 0
        self.lr, self.started, self.closed = LRWatcher(), not session.resumes, False
        self._session, self._options, self._schedule = session, options, options.schedule
        self._observables, self._store = session.observables, session.store
        self.delivery = delivery = Delivery(session, model, options)
        self._thread, self._rows, self._snapshots = delivery.thread, delivery.rows, delivery.snapshots
        self._copies = WeightCopies(session, options, delivery)
        self.reports = Reports(session, self._rows, self._thread, self.lr, on_error=options.on_error)
        self.measured_model = MeasuredModel(session, self._rows, capturable=options.capturable)
        self._current: Update | None = None
        self._warned = Warned()  # of interrupts, by update

    @property
    def closing(self) -> bool:
        """Whether `close` is at work, which tells subscribers of the last rows, or was interrupted."""
        return self.closed and not self.delivery.ended

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

    def start(self) -> None:
        """Take the copies that are due before the first update: those of w_0."""
        if self._observables is not None:
            self._copies.take(Update(0, self.rounds), self._observables)

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
        rounds: int,
        measured: bool = False,
        late: bool = False,
    ) -> None:
        """Record the update just made, once `finish` has recorded the one before it.

        Args:
            rate: The learning rate that it was made with; None if it is unknown.
            skipped: A number on the device, other than 0 if the update changed nothing; None if it did for certain.
            rounds: The rounds of the optimizers and of reported updates, this one included.
            measured: Whether its row is in the ring already.
            late: Whether its gradient may be gone.

        Raises:
            RecordingError: Recording has failed.
        """
        watched = self.lr.rate, self.lr.fall
        self._current = Update(self.step + 1, rounds, rate, skipped, late, measured, watched)
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
        try:  # by a call into C each way: an interrupt amid `no_grad()` or `set_grad_enabled()` leaves gradients off
            torch._C._set_grad_enabled(False)
            self._record(update)
        except Exception as error:
            self.delivery.give_up(error)
        finally:
            torch._C._set_grad_enabled(differentiates)
        self.step, self.rounds = update.step, update.round
        self._current = None

    def drop(self, rounds: int) -> None:
        """Count the update whose recording has begun, without a row.

        Args:
            rounds: The rounds of the optimizers that were made.
        """
        self.step, self.rounds, self._current = self.made(rounds), rounds, None

    def rewind(self, step: int, *, events: int | None = None) -> None:
        """Continue from an earlier step; what was recorded after it is taken back.

        Args:
            step: The number of updates made until then.
            events: How many events had been filed by then; None for all up to that step.
        """
        self._session.rewind(step, events)
        if self._observables is not None:
            self._rows.ring.fit(self._observables)
        filed = self._store.events
        self._rows.metric_arrays = dict(self._store.metric_arrays)
        self._rows.finite = all(event.name != NON_FINITE for event in filed)
        self.lr.resume(self._store.scalars(step).get(RATE), filed)
        self._current = None
        self.step = step

    def close(self, status: str, *, collective: bool = False) -> None:
        """Write what is on its way, and mark how the run ended; if nothing was recorded, leave the store as it is.

        Args:
            status: How the run ended.
            collective: Whether all ranks close. Otherwise rows that are not flushed yet are lost where a model is
                sharded.

        Raises:
            RecordingError: Recording has failed.
        """
        if self.delivery.ended:
            return
        if not self.started:
            self.abandon()
            return
        failure: Exception | None = None
        try:
            if not self.closed:
                self.finish(late=True)
        except Exception as error:
            if is_raised_by_handler(error):
                raise
            failure = error
        self.closed = True
        if status == "complete" and self.reports.uncounted:
            status = "incomplete (updates not counted)"
        self.delivery.close(status, failure, collective=collective)

    def abandon(self) -> None:
        """Record nothing more, and leave the store as it is."""
        self.closed = True
        if not self.delivery.ended:
            self.delivery.abandon()

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

    def _record(self, update: Update) -> None:
        self._thread.raise_failures()
        observables = self._observables
        if observables is None or self.closed or (self._thread.given_up and not self._session.ranks.sharded):
            return
        if self.step < update.step:
            update.recorded = update.step in self._schedule
            self._measure(update, observables)
            self._count(update)
        self._watch_rate(update)
        if update.step % BLOCK == 0 or update.step in EARLY:
            self.delivery.send(wait=False)
        self._copies.take(update, observables)

    def _measure(self, update: Update, observables: Observables) -> None:
        """Put the row of an update into the ring, if it has one and that was not done."""
        if update.measured:
            return
        again, update.begun = update.begun, True
        keep = observables.keeps and update.step + 1 in self._schedule
        if update.recorded:
            self._rows.measure(observables, keep=keep, again=again)
            if again or update.late:  # the first attempt may have kept these weights
                gone = {"update_norm": again, "grad_norm": update.late}
                update.lost = [name for name in self._options.quantities if gone.get(name)]
                for name in update.lost:
                    self._rows.forget(name)
        elif keep:
            observables.keep()
        update.measured = True

    def _count(self, update: Update) -> None:
        """Do the host's part of an update whose row, if it has one, is in the ring."""
        if update.skipped is not None and not self._rows.silent:
            self._rows.note_skipped(update.step, update.skipped)
        if update.recorded:
            if type(update.rate) is float:  # what it nearly always is
                self._rows.file(update.step, RATE, update.rate)
            elif update.rate is not None:
                self.reports.log(update.step, {RATE: update.rate})
            self._rows.add_step(update.step)
        self.step = update.step

    def _watch_rate(self, update: Update) -> None:
        """File a drop of the learning rate, and what an interrupt left unknown."""
        if type(update.rate) is float and update.rate == update.watched[0] and not update.lost:
            return  # as nearly always
        if self._rows.silent:
            return
        before, calls = update.step - 1, update.events
        if update.rate is not None and LR_DROP not in calls:
            self.lr.rate, self.lr.fall = update.watched
            if drop := self.lr.observe(update.rate, before):
                calls[LR_DROP] = Call(self._store.append_event, Event(before, LR_DROP, dict(drop)))
        if update.lost and _INTERRUPTED not in calls:
            event = Event(update.step, _INTERRUPTED, {"unknown": update.lost})
            self._warned.warn(
                update.step,
                f"{self._session.path}: an interrupt came while update {update.step} was measured, so that its"
                f" {' and '.join(update.lost)} cannot be known; NaN takes the place",
                stacklevel=5,
            )
            calls[_INTERRUPTED] = Call(self._store.append_event, event)
        for call in calls.values():
            self._thread.put(call)
