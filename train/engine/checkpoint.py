"""A training's checkpoint: one file beside the run, from which an interrupted training is resumed bit for bit."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from types import UnionType
from typing import Any

from torch import Tensor

from train.configs.config import TrainConfig
from train.configs.toml import as_config
from train.engine.state_file import path_beside, read_state, write_state
from train.errors import ConfigError
from trajectory import Run
from trajectory.recording.resume import is_resumed
from trajectory.storage.location import StoreLike, open_backend

CHECKPOINT = ".checkpoint.pt"  # what its name ends with, behind the run's
CHECKPOINT_ENTRIES: dict[str, type | UnionType] = {  # of `Trainer.state_dict()`
    "processes": int,
    "device": str,
    "t": int,
    "last": int,
    "model": dict,
    "optimizer": dict,
    "recorder": dict,
    "matched": dict | None,
    "noise": Tensor,
    "random": list,
    "losses": Tensor,
    "wrong": Tensor,
    "wall_time": float,
}


class Checkpoint:
    """The checkpoint of a run: RUN.checkpoint.pt for a run in a local folder; other runs have none.

    Args:
        out: the run's store.
        every: seconds between two checkpoints; None for none. Results do not depend on it.

    Attributes:
        run: path or URL of the run.
        path: path of the checkpoint; None for a run that is in no local folder.
    """

    def __init__(self, out: StoreLike, every: float | None):
        self._out, self._every = out, every
        self.run = open_backend(out).path
        self.path = path_beside(self.run, CHECKPOINT) if isinstance(self.run, Path) else None
        self._written = float("-inf")

    def is_due(self) -> bool:
        """Return whether it is time to write the checkpoint."""
        return self.is_kept and perf_counter() - self._written >= (self._every or 0)

    @property
    def is_kept(self) -> bool:
        """Whether this run has checkpoints."""
        return self.path is not None and self._every is not None

    def write(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by a newer one, whole or not at all, even if the machine fails.

        Args:
            state: `Trainer.state_dict()`.

        Raises:
            ConfigError: if the checkpoint cannot be written.
        """
        assert self.path is not None
        write_state(self.path, state)
        self._written = perf_counter()

    def read(self, config: TrainConfig) -> dict[str, Any] | None:
        """Read the state to resume from.

        Args:
            config: the configuration to resume with.

        Returns:
            The state, on the host; None if nothing was recorded yet, or if the run is complete.

        Raises:
            ConfigError: if the run was trained with another configuration (the first field that differs is named), if
                rows were recorded but the checkpoint is missing, or if the checkpoint cannot be read.
        """
        if not _is_run(self._out):
            return None
        _check_settings(Run(self._out), config)
        if is_complete(self._out):
            return None
        if self.path is None or not self.path.exists():
            if len(Run(self._out).distance) == 0:
                return None
            where = self.path or "of a run that is in no local folder"
            raise ConfigError(f"{self.run}: there is no checkpoint {where} to resume from; overwrite the run")
        return read_state(self.path, CHECKPOINT_ENTRIES, "remove it, and overwrite the run")

    def remove(self) -> None:
        """Remove the checkpoint if there is one: the run is complete, or begins again."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def is_complete(out: StoreLike) -> bool:
    """Return whether a store holds a run that was trained to its end.

    Args:
        out: the store.
    """
    return _is_run(out) and Run(out).status == "complete"


def _check_settings(run: Run, config: TrainConfig) -> None:
    if "settings" not in run.config:
        raise ConfigError(f"{run.path}: was not recorded by train; expected a run of train to resume")
    there, here = asdict(as_config(run.config["settings"], str(run.path))), asdict(config)
    for name in here:
        if there[name] != here[name]:
            raise ConfigError(
                f"{run.path}: was trained with {name} {there[name]!r}, not {here[name]!r}; resume it with the"
                " settings it was begun with, or train to another path"
            )


def _is_run(out: StoreLike) -> bool:
    return is_resumed(open_backend(out), "allow", None)


@contextmanager
def finishing_the_update(*, alone: bool) -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait until the update is made. Pressed a second time, it interrupts at once.

    Ctrl-C keeps its meaning in a thread, where the caller handles it differently, and where other processes train as
    well, since these may be at another update.

    Args:
        alone: whether this process trains alone.

    Yields:
        A function that returns whether Ctrl-C was pressed.

    Raises:
        KeyboardInterrupt: at the end, if it was pressed.
    """
    pressed = threading.Event()

    def note(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pressed.set()

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (alone and ours and threading.current_thread() is threading.main_thread()):
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed.is_set():
        raise KeyboardInterrupt
