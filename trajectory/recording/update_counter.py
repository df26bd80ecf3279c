"""What a recorder counts as an update, and what it looks at before and after one."""

from collections.abc import Sequence
from contextlib import suppress
from threading import get_ident
from typing import NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from trajectory.errors import RecordingError
from trajectory.recording.model_watcher import ModelWatcher
from trajectory.recording.optimizers import Optimizers, check_common, unwrap_optimizers
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.session import Session
from trajectory.recording.step_hooks import StepHooks
from trajectory.signals import finish_if_interrupted, is_raised_by_handler


class _Reported(NamedTuple):
    """What the loop has reported.

    Attributes:
        updates: The number of updates.
        rounds: The rounds and reported updates up to the last one.
        rate: The learning rate that it was made with; None if it is unknown.
        measured: Whether its row is in the ring already.
    """

    updates: int = 0
    rounds: int = 0
    rate: float | Tensor | None = None
    measured: bool = False


class UpdateCounter:
    """Counts rounds of optimizers' steps, or what the loop reports, and hands each update to the pipeline.

    Args:
        model: The model.
        session: The recording.
        pipeline: Records the updates.
        owner: What is to live as long as the optimizers, which hold their hooks.
    """

    def __init__(
        self,
        model: nn.Module,
        session: Session,
        pipeline: Pipeline,
        owner: object,
    ):
        self._model, self._path, self._pipeline, self._owner = model, session.path, pipeline, owner
        self._watcher = watcher = ModelWatcher(model, session, pipeline)
        self._thread: int | None = None  # the one that trains
        self._resumes = False  # whether the next update is the first one after an interruption
        self._resumed: Sequence[Optimizer] = ()  # those whose states were to be loaded for it
        self._reported = _Reported()
        self._settled = -1  # the rounds after which nothing is left to be done
        self._hooks = StepHooks(self._before_step, self._after_round, watcher.report_order, watcher.report_unknown)

    @property
    def rounds(self) -> int:
        """The number of the optimizers' rounds, and of the updates that the loop has reported."""
        return self._hooks.rounds + self._reported.updates

    def count(self, optimizers: Sequence[Optimizer]) -> None:
        """Count the steps of a run's optimizers, which hold hooks from here on.

        Args:
            optimizers: They, in the order in which they step; none if the loop reports its updates.
        """
        self._hooks.watch(optimizers)

    def begin(self) -> None:
        """Start a new run."""
        self._watcher.follow(self._hooks.optimizers)
        self._watch_next()

    def resume(self) -> None:
        """Go on after an interruption, once it is known at which step."""
        self._pipeline.rounds = self.rounds  # none of them is left to be recorded
        self._watcher.go_back()
        self._watcher.follow(self._hooks.optimizers)
        self._resumes, self._resumed = True, self._hooks.optimizers
        self._watch_next()  # in the place of what `await_step` has set
        self._pipeline.started = True

    def await_step(self) -> None:
        """Refuse updates until `resume` is called."""
        self._settled = -1
        self._hooks.before_round = self._pipeline.check_open
        self._pipeline.started = False

    def follow(self, optimizer: Optimizers) -> None:
        """Count the steps of other optimizers from now on.

        Args:
            optimizer: One optimizer, or several in the order in which they step.

        Raises:
            RecordingError: They do not train this model, or the loop reports its updates.
        """
        optimizers = unwrap_optimizers(optimizer)
        if not optimizers or not self._hooks.optimizers:
            raise RecordingError(
                f"{self._path}: follow() takes the optimizers whose steps are counted, if the Recorder was made with"
                " one; otherwise report every update by update()"
            )
        check_common(self._model, optimizers)
        self._settled = -1
        self._hooks.follow(optimizers)
        self.catch_up()

    def count_reported(self, rate: float | Tensor | None) -> None:
        """Count an update that the loop reports.

        Args:
            rate: The learning rate that it was made with; None if it is unknown.

        Raises:
            RecordingError: The steps of optimizers are counted, or recording has failed, or is closed.
        """
        if self._hooks.optimizers:
            self._pipeline.check_open()
            raise RecordingError(
                f"{self._path}: update() where an optimizer's steps are counted; leave the optimizer out, as in"
                " Recorder(path, model), and report every update"
            )
        self._count(rate, measured=False)

    def count_replayed(self) -> None:
        """Count the replay of a CUDA graph that holds a step and its measuring.

        Raises:
            RecordingError: Recording has failed, or is closed.
        """
        self._count(self.rate(), measured=True)

    def rate(self) -> float | Tensor | None:
        """Return the learning rate of the first optimizer's first group."""
        optimizers = self._hooks.optimizers
        return optimizers[0].param_groups[0].get("lr") if optimizers else None

    def catch_up(self) -> None:
        """Do what an interrupt has left to be done after the last update, with the weights that it left.

        Another thread than the one that trains has nothing to catch up: there, that one is at work.
        """
        if self.rounds != self._settled and self._thread in (None, get_ident()):
            self._record(late=True)

    def at_end(self) -> None:
        """Look at the model once more, and report what was not counted."""
        if self._pipeline.started and not self._pipeline.closed:
            finish_if_interrupted(self._watcher.at_end)

    def remove(self) -> None:
        """Count no more updates."""
        self._hooks.remove()

    def _before_step(self) -> None:
        self._thread = get_ident()
        try:
            self.catch_up()
        except Exception as error:
            if not is_raised_by_handler(error):  # twice told: it is not to keep the training from going on
                self._pipeline.drop(self.rounds)
            raise

    def _before_update(self) -> None:
        if self._resumes:
            self._pipeline.before_resumed()
            if self._hooks.optimizers is self._resumed:
                self._watcher.before_resumed()
        self._watcher.before_update()

    def _after_round(self) -> None:
        if self._pipeline.capture():
            self._pipeline.rounds = self.rounds
            return
        self._record(late=False)

    def _count(self, rate: float | Tensor | None, *, measured: bool) -> None:
        """Count an update at once, by one assignment, and record it."""
        self._thread = get_ident()
        try:
            if self._pipeline.started and not self._pipeline.closed:
                self._reported = _Reported(self._reported.updates + 1, self.rounds + 1, rate, measured)
            self._record_reported()
        except BaseException:  # as `finish_if_interrupted` does, before whose first line an interrupt can come
            with suppress(Exception):
                self._record_reported()
            raise

    def _record_reported(self) -> None:
        self._pipeline.check_open()
        self._record(late=False)

    def _record(self, *, late: bool) -> None:
        """Record the update made last, and look at what it may have changed, unless that was done.

        Args:
            late: Whether its gradient, and the rate that an optimizer made it with, may be gone.
        """
        pipeline, watcher, rounds = self._pipeline, self._watcher, self.rounds
        pipeline.finish(late=late)
        while pipeline.rounds < rounds:
            self._record_round(pipeline.rounds + 1, is_reported=self._reported.rounds == rounds, late=late)
        if pipeline.started and watcher.optimizers is not self._hooks.optimizers:
            watcher.follow(self._hooks.optimizers)
        if watcher.seen != pipeline.step:
            if self._resumes:
                watcher.after_resumed()
                self._resumes = False
            watcher.after_update()
            self._watch_next()
        self._settled = rounds

    def _record_round(self, rounds: int, *, is_reported: bool, late: bool) -> None:
        if is_reported:
            reported = self._reported
            self._watcher.look_for_unfrozen()
            self._pipeline.update(reported.rate, rounds=rounds, measured=reported.measured, late=late)
        elif late:
            self._pipeline.update(None, rounds=rounds, late=True)
        else:
            # a GradScaler sets found_inf while a fused optimizer steps
            found_inf = getattr(self._hooks.optimizers[-1], "found_inf", None)
            self._pipeline.update(self.rate(), found_inf if isinstance(found_inf, Tensor) else None, rounds=rounds)

    def _watch_next(self) -> None:
        """Look before the next update where there is something to look at."""
        looks = self._resumes or self._watcher.looks_before
        self._hooks.before_round = self._before_update if looks else None
