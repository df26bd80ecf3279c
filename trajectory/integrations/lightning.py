"""Recording in Lightning: a callback that keeps a `Recorder` for as long as `Trainer.fit` trains."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trajectory.errors import RecordingError
from trajectory.integrations.successive_trainings import SuccessiveTrainings
from trajectory.recording.recorder import Recorder
from trajectory.storage.location import StoreLike

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError(
        "trajectory.integrations.lightning needs Lightning; pip install 'ultraslow[lightning]'"
    ) from error


class RecorderCallback(Callback):
    """Records every update of a module, and the metrics that it logs.

    w_0 is the module when training starts. t counts the optimizer's steps, so that batches whose gradients accumulate
    make one t. The values of `self.log` are filed under Lightning's names, tensors as they are: nothing waits for
    the device, whatever `log_every_n_steps` is. An exception leaves the run readable, with the status
    `interrupted (...)`.

    Lightning's checkpoints hold the state of the recording: with resume="allow" or "must", `fit(ckpt_path=...)`
    resumes the run from there, and the first `fit` without a checkpoint begins it anew. A further `fit` of the same
    module without a checkpoint goes on with the run and its t, with the event "training_restarted". Another module is
    recorded beside the first, to `run-2.zarr` and so on, with a warning.

    In several processes each has a recorder, of which the first writes.

    Args:
        path: Where `Recorder` writes.
        optimizer: The number of the module's optimizer whose steps are counted. None for all: t then counts rounds,
            which end with the step of the last one that `configure_optimizers` returns. Distances are over all
            trainable parameters in any case.
        **recording: Other arguments of `Recorder`, such as `schedule` and `snapshots`; `config` is the module's
            hyperparameters unless given.
    """

    def __init__(self, path: StoreLike, *, optimizer: int | None = None, **recording: Any):
        self._chosen = optimizer
        self._recording = recording
        self._trainings = SuccessiveTrainings(path)
        self._checkpoint: Mapping[str, Any] = {}
        self._last_state: dict[str, Any] = {}  # of the training before
        self._filed: dict[str, Tensor] = {}
        self._filed_at = 0

    @property
    def path(self) -> StoreLike:
        """Where the present run is written."""
        return self._trainings.path

    @property
    def recorder(self) -> Recorder:
        """The recorder while the module trains, for other callbacks to log, file events or subscribe.

        Raises:
            RecordingError: Training has not begun, or has ended.
        """
        if self._trainings.recorder is None:
            raise RecordingError(f"{self.path}: no recorder here; there is one between on_train_start and on_fit_end")
        return self._trainings.recorder

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the recording, for Lightning's checkpoint."""
        recorder = self._trainings.recorder
        return self._last_state if recorder is None else recorder.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume from a checkpoint when training starts.

        Args:
            state_dict: What `state_dict()` returned when the checkpoint was made.
        """
        self._checkpoint = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the recorder: the weights are on their device and the optimizers are made.

        Args:
            trainer: The trainer.
            pl_module: The module that is trained.

        Raises:
            RecordingError: The module has no optimizers, or not the chosen one.
        """
        count = len(trainer.optimizers)
        if not count or not -count <= (self._chosen or 0) < count:
            raise RecordingError(
                f"{type(pl_module).__name__} has {count} optimizers, expected one at least whose steps are counted,"
                f" and optimizer={self._chosen} to be the number of one, from 0"
            )
        optimizer = trainer.optimizers if self._chosen is None else trainer.optimizers[self._chosen]
        recording = {"config": dict(pl_module.hparams), **self._recording}
        resumes = recording.get("resume", "never") != "never"
        state, self._checkpoint = self._checkpoint, {}
        if resumes and not state:
            recording["step"] = 0
        recorder = self._trainings.begin(pl_module, optimizer, recording, from_checkpoint=bool(state))
        if resumes and state:
            recorder.load_state_dict(state)
        self._filed, self._filed_at = {}, recorder.step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """File what `training_step` logged, if its batch ended an update.

        Args:
            trainer: The trainer.
            *args: The module, its outputs, the batch and its number.
        """
        recorder = self._trainings.recorder
        if recorder is not None and recorder.step > self._filed_at:
            self._filed_at = recorder.step
            self._file(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """File what validation logged.

        Args:
            trainer: The trainer.
            pl_module: The module that is trained.
        """
        self._file(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """File the means over the epoch before, which Lightning has taken by now.

        Args:
            trainer: The trainer.
            pl_module: The module that is trained.
        """
        self._file(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """File the means over the last epoch.

        Args:
            trainer: The trainer.
            pl_module: The module that is trained.
        """
        self._file(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the run, after the last checkpoint was saved.

        Args:
            trainer: The trainer.
            pl_module: The module that is trained.
        """
        if (recorder := self._trainings.recorder) is not None:
            self._last_state = recorder.state_dict()
        self._trainings.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the run as interrupted.

        Args:
            trainer: The trainer.
            pl_module: The module that is trained.
            exception: What interrupted the training.
        """
        self._trainings.fail(exception)

    def _file(self, trainer: Trainer) -> None:
        """File what was logged since the last call; Lightning shows every metric's last value for good."""
        if (recorder := self._trainings.recorder) is None:
            return
        shown = {name: value for name, value in trainer.logged_metrics.items() if name != "step"}
        # the values held in _filed stay allocated, so that a new value has another address
        fresh = {n: v for n, v in shown.items() if n not in self._filed or self._filed[n].data_ptr() != v.data_ptr()}
        recorder.log(**fresh)
        self._filed |= fresh
