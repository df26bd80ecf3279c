"""Recording in the Hugging Face Trainer: a callback that keeps a `Recorder` for as long as `train` trains."""

from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.optim import Optimizer

from trajectory.errors import RecordingError
from trajectory.recording.recorder import Recorder
from trajectory.storage.backend import StoreLike

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError(
        "trajectory.integrations.transformers needs Transformers; pip install 'ultraslow[transformers]'"
    ) from error


class RecorderCallback(TrainerCallback):
    """Records every update of the model, and the numbers the Trainer logs, into a run at `path`.

    w_0 is the model when training starts; t counts the optimizer's steps, as `state.global_step` does, so
    batches whose gradients accumulate make one t. The Trainer's numbers keep their names (`loss`,
    `eval_loss`, ...); `learning_rate` is the one the update was made with. The Trainer tells its callbacks
    nothing of an exception: as a context manager around `train`, the callback closes the run as
    `interrupted (...)`; otherwise such a run is left as by a killed process.

        with RecorderCallback("run.zarr") as callback:
            Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

    With resume="allow" or "must", `train(resume_from_checkpoint=...)` goes on with the run from the checkpoint's
    step, and `train()` without a checkpoint begins it anew.

    In several processes each has a recorder, of which the first writes.

    path: where `Recorder` writes.
    recording: further arguments of `Recorder`, such as `schedule` and `snapshots`; `seed` is the Trainer's
        unless given.
    """

    def __init__(self, path: StoreLike, **recording: Any):
        self.path = path
        self._recording = recording
        self._recorder: Recorder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.__exit__(kind, error, trace)

    @property
    def recorder(self) -> Recorder:
        """The recorder, while the model trains: other callbacks may log, file events, subscribe.

        Raises RecordingError before and after training.
        """
        if self._recorder is None:
            raise RecordingError(
                f"{self.path}: no recorder here; there is one between on_train_begin and on_train_end"
            )
        return self._recorder

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
        """The weights are on their device and the optimizer made: w_0 is now."""
        recording = {"seed": args.seed, **self._recording}
        if recording.get("resume", "never") != "never":
            recording["step"] = state.global_step
        self._recorder = Recorder(self.path, model, optimizer, **recording)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Files what the Trainer logs while it trains."""
        if self._recorder is not None:
            numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
            numbers.pop("learning_rate", None)  # in earlier versions the next update's; the recorder files its own
            self._recorder.log(**numbers)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Waits until what was recorded up to the checkpoint would outlive this process."""
        if self._recorder is not None:
            self._recorder.flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Closes the run."""
        self.__exit__(None, None, None)
