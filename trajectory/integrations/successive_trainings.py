"""Trainings that a framework starts one after the other with one callback: each finds its recorder.

A retry with a smaller batch, or a second call of `train` or `fit`, trains the same model on: its updates are further
ones of the same run, whose t goes on. Another model is another run, which is recorded beside the first one.
"""

import warnings
import weakref
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from torch import nn

from trajectory.errors import RecordingError
from trajectory.recording.optimizers import Optimizers
from trajectory.recording.recorder import Recorder
from trajectory.storage.location import StoreLike, open_backend
from trajectory.storage.root import is_run

RESTARTED = "training_restarted"  # the event of a training that goes on where the one before has ended


class SuccessiveTrainings:
    """Makes the recorders of one callback.

    Args:
        path: Where the first run is written.

    Attributes:
        path: Where the present run is written.
        recorder: The recorder of the present training; None if there is none.
    """

    def __init__(self, path: StoreLike):
        self.path = path
        self.recorder: Recorder | None = None
        self._first, self._step = path, 0
        self._model: weakref.ref[nn.Module] | None = None

    def begin(
        self, model: nn.Module, optimizer: Optimizers, recording: Mapping[str, Any], *, from_checkpoint: bool
    ) -> Recorder:
        """Return the recorder of a training that begins.

        Args:
            model: The model.
            optimizer: Its optimizer, or optimizers.
            recording: Further arguments of `Recorder` for the first training, or for one from a checkpoint.
            from_checkpoint: Whether the weights are those of a checkpoint.

        Returns:
            The recorder, which counts on if this callback has recorded the same model before.

        Raises:
            RecordingError: The model or an argument cannot be recorded.
            StoreError: The path of the first training is taken or cannot be written.
        """
        further, same = self._model is not None, self._model is not None and self._model() is model
        self._model = weakref.ref(model)
        if same and self.recorder is not None:
            self.recorder.follow(optimizer)
            self.recorder.event(RESTARTED)
            return self.recorder
        self.end("interrupted (another training began)")
        if same and not from_checkpoint:
            recording = {**recording, "resume": "must", "step": self._step, "overwrite": False}
        elif further and not (from_checkpoint and recording.get("resume", "never") != "never"):
            self._take_another_path()
            recording = {**recording, "resume": "never", "step": None}
        self.recorder = Recorder(self.path, model, optimizer, **recording)
        if same and not from_checkpoint and self._step:
            self.recorder.follow(optimizer)  # which begins anew
            self.recorder.event(RESTARTED)
        return self.recorder

    def end(self, status: str = "complete") -> None:
        """Close the present recorder, if there is one.

        Args:
            status: How the training ended.
        """
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            self._step = recorder.step
            recorder.close(status)

    def fail(self, error: BaseException) -> None:
        """Close the present recorder as interrupted.

        Args:
            error: What interrupted the training.
        """
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            self._step = recorder.step
            recorder.__exit__(type(error), error, error.__traceback__)

    def _take_another_path(self) -> None:
        if not isinstance(self._first, (str, Path)):
            raise RecordingError(
                "this callback has recorded another model to its store; make a callback for each model"
            )
        name = str(self._first).removesuffix(".zarr")
        self.path = next(path for k in count(2) if not is_run(open_backend(path := f"{name}-{k}.zarr")))
        warnings.warn(
            f"{self._first}: this callback has recorded another training there; this one is recorded to {self.path}",
            RuntimeWarning,
            stacklevel=5,
        )
