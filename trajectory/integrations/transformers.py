"""Recording in the Hugging Face Trainer: a callback that keeps a `Recorder` for as long as `train` trains."""

from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.optim import Optimizer

from trajectory.errors import RecordingError
from trajectory.integrations.successive_trainings import SuccessiveTrainings
from trajectory.recording.recorder import Recorder
from trajectory.storage.location import StoreLike

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError(
        "trajectory.integrations.transformers needs Transformers; pip install 'ultraslow[transformers]'"
    ) from error


class RecorderCallback(TrainerCallback):
    """Records every update of a model, and the numbers that the Trainer logs.

    w_0 is the model when training starts. t counts the optimizer's steps, as `state.global_step` does, so that
    batches whose gradients accumulate make one t. The Trainer's numbers keep their names (`loss`, `eval_loss`, ...);
    `learning_rate` is the one that the update was made with. The Trainer reports no exception to its callbacks. As a
    context manager around `train`, the callback closes the run as `interrupted (...)`; otherwise an exception leaves
    the run as a killed process does.

        with RecorderCallback("run.zarr") as callback:
            Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

    With resume="allow" or "must", `train(resume_from_checkpoint=...)` resumes the run from the checkpoint's step,
    and the first `train()` without a checkpoint begins it anew.

    A further `train()` of the same model, and a retry of `auto_find_batch_size`, go on with the run and its t, with
    the event "training_restarted". Another model (`hyperparameter_search`) is recorded beside the first, to
    `run-2.zarr` and so on, with a warning.

    In several processes each has a recorder, of which the first writes.

    Args:
        path: Where `Recorder` writes.
        **recording: Other arguments of `Recorder`, such as `schedule` and `snapshots`; `seed` is the Trainer's unless
            given.
    """

    def __init__(self, path: StoreLike, **recording: Any):
        self._recording = recording
        self._trainings = SuccessiveTrainings(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._trainings.end()
        else:
            self._trainings.fail(error)

    @property
    def path(self) -> StoreLike:
        """Where the present run is written."""
        return self._trainings.path

    @property
    def recorder(self) -> Recorder:
        """The recorder while the model trains, for other callbacks to log, file events or subscribe.

        Raises:
            RecordingError: Training has not begun, or has ended.
        """
        if self._trainings.recorder is None:
            raise RecordingError(
                f"{self.path}: no recorder here; there is one between on_train_begin and on_train_end"
            )
        return self._trainings.recorder

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        **kwargs: Any,
    ) -> None:
        """Make the recorder: the weights are on their device and the optimizer is made.

        Args:
            args: The Trainer's settings.
            state: The Trainer's counters.
            control: The Trainer's switches.
            model: The model that is trained.
            optimizer: The optimizer whose steps are counted.
            **kwargs: What else the Trainer passes to its callbacks.
        """
        recording = {"seed": args.seed, **self._recording}
        if recording.get("resume", "never") != "never":
            recording["step"] = state.global_step
        self._trainings.begin(model, optimizer, recording, from_checkpoint=state.global_step > 0)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """File what the Trainer logs while it trains.

        Args:
            args: The Trainer's settings.
            state: The Trainer's counters.
            control: The Trainer's switches.
            logs: What is logged, by name.
            **kwargs: What else the Trainer passes to its callbacks.
        """
        if (recorder := self._trainings.recorder) is not None:
            numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
            numbers.pop("learning_rate", None)  # in earlier versions the next update's; the recorder files its own
            recorder.log(**numbers)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Wait until what was recorded up to the checkpoint would outlive this process.

        Args:
            args: The Trainer's settings.
            state: The Trainer's counters.
            control: The Trainer's switches.
            **kwargs: What else the Trainer passes to its callbacks.
        """
        if (recorder := self._trainings.recorder) is not None:
            recorder.flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the run.

        Args:
            args: The Trainer's settings.
            state: The Trainer's counters.
            control: The Trainer's switches.
            **kwargs: What else the Trainer passes to its callbacks.
        """
        self.__exit__(None, None, None)
