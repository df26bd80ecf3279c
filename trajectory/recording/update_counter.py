"""What a recorder counts as an update, and what it looks at before and after one."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from trajectory.errors import RecordingError
from trajectory.recording.model_watcher import ModelWatcher
from trajectory.recording.optimizers import Optimizers, check_common, unwrap_optimizers
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.session import Session
from trajectory.recording.step_hooks import StepHooks


class UpdateCounter:
    """Counts rounds of optimizers' steps, or what the loop reports, and hands each update to the pipeline.

    Args:
        model: The model.
        optimizers: Its optimizers, in the order in which they step; none if the loop reports its updates.
        session: The recording.
        pipeline: Records the updates.
        owner: What is to live as long as the optimizers, which hold their hooks.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        session: Session,
        pipeline: Pipeline,
        owner: object,
    ):
        self._model, self._path, self._pipeline, self._owner = model, session.path, pipeline, owner
        self._watcher = watcher = ModelWatcher(model, session, pipeline)
        self._resumes = False  # whether the next update is the first one after an interruption
        self._hooks = StepHooks(
            optimizers, self._before_step, self._after_round, watcher.report_order, watcher.report_unknown
        )

    @property
    def rounds(self) -> int:
        """The number of the optimizers' rounds."""
        return self._hooks.rounds

    def begin(self) -> None:
        """Start a new run."""
        self._watcher.follow(self._hooks.optimizers)
        self._watch_next()

    def resume(self) -> None:
        """Go on after an interruption, once it is known at which step."""
        self._pipeline.rounds = self._hooks.rounds  # none of them is left to be recorded
        self._watcher.forget_unfrozen()
        self._watcher.follow(self._hooks.optimizers)
        self._resumes = True
        self._watch_next()

    def await_step(self) -> None:
        """Refuse updates until `resume` is called."""
        self._hooks.before_first = self._pipeline.check_open

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
        self._hooks.follow(optimizers)
        if not self._pipeline.started:
            self.await_step()
            return
        self._watcher.follow(optimizers)
        self._watch_next()

    def count_reported(self, rate: float | Tensor | None) -> None:
        """Count an update that the loop reports.

        Args:
            rate: The learning rate that it was made with; None if it is unknown.

        Raises:
            RecordingError: The steps of optimizers are counted, or recording has failed.
        """
        if self._hooks.optimizers:
            raise RecordingError(
                f"{self._path}: update() where an optimizer's steps are counted; leave the optimizer out, as in"
                " Recorder(path, model), and report every update"
            )
        self._watcher.look_for_unfrozen()
        self._pipeline.update(rate)
        self._finish()

    def rate(self) -> float | Tensor | None:
        """Return the learning rate of the first optimizer's first group."""
        optimizers = self._hooks.optimizers
        return optimizers[0].param_groups[0].get("lr") if optimizers else None

    def catch_up(self) -> None:
        """Record the update whose recording was ended by an interrupt, if there is one, from the weights it left."""
        self._pipeline.finish(late=True)
        if self._pipeline.rounds < self._hooks.rounds:
            self._pipeline.update(None, rounds=self._hooks.rounds, late=True)
            self._finish()

    def at_end(self) -> None:
        """Look at the model once more, and report what was not counted."""
        if self._pipeline.started and not self._pipeline.closed:
            self._watcher.at_end()

    def remove(self) -> None:
        """Count no more updates."""
        self._hooks.remove()

    def _before_step(self) -> None:
        try:
            self.catch_up()
        except Exception:  # twice told: it is not to keep the training from going on
            self._pipeline.drop(self._hooks.rounds)
            raise

    def _before_update(self) -> None:
        if self._resumes:
            self._pipeline.before_resumed()
        self._watcher.before_update()

    def _after_round(self) -> None:
        if self._pipeline.capture():
            self._pipeline.rounds = self._hooks.rounds
            return
        self._pipeline.finish()
        rounds = self._hooks.rounds
        if self._pipeline.rounds < rounds:
            # a GradScaler sets found_inf while a fused optimizer steps
            found_inf = getattr(self._hooks.optimizers[-1], "found_inf", None)
            skipped = found_inf if isinstance(found_inf, Tensor) else None
            self._pipeline.update(self.rate(), skipped, rounds=rounds)
            self._finish()

    def _finish(self) -> None:
        self._resumes = False
        self._watcher.after_update()
        self._watch_next()

    def _watch_next(self) -> None:
        """Look before the next update where there is something to look at."""
        looks = self._resumes or self._watcher.looks_before
        self._hooks.before_first = self._before_update if looks else None
