"""A training's checkpoint: one file beside the run, from which an interrupted training is resumed bit for bit."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from blake3 import blake3

from train.configs.config import TrainConfig
from train.configs.toml import as_config
from train.errors import ConfigError
from trajectory import Run
from trajectory.errors import first_line
from trajectory.recording.resume import is_resumed
from trajectory.storage.backend import StoreLike, open_backend

VERSION = 1  # of the file's content
_KEYS = frozenset(
    {
        *("processes", "device", "t", "last", "model", "optimizer", "recorder", "matched"),
        *("noise", "random", "losses", "wrong", "wall_time"),
    }
)


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
        self.path = self.run.with_name(f"{self.run.name}.checkpoint.pt") if isinstance(self.run, Path) else None
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
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            with partial.open("wb") as file:
                torch.save({**state, "version": VERSION, "blake3": _digest(state)}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the latter where a disk is full
            reason = getattr(error, "strerror", None) or first_line(error)
            raise ConfigError(
                f"{self.path}: the checkpoint cannot be written ({reason}); make room for it"
            ) from error
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
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # zip, pickle and torch each raise their own
            raise ConfigError(
                f"{self.path}: cannot be read as a checkpoint ({type(error).__name__}); overwrite the run"
            ) from error
        return self._checked(state)

    def _checked(self, state: Any) -> dict[str, Any]:
        """Return a state without its version and its hash, which have to be those of a training's."""
        version = state.pop("version", VERSION) if isinstance(state, dict) else None
        if version is not None and (not isinstance(version, int) or version > VERSION):
            raise ConfigError(
                f"{self.path}: written in version {str(version)[:20]}, this ultraslow reads up to {VERSION};"
                " upgrade ultraslow to resume from it"
            )
        lacking = sorted(_KEYS - state.keys()) if isinstance(state, dict) else ["all that a checkpoint holds"]
        if lacking:
            raise ConfigError(
                f"{self.path}: is no checkpoint of a training: it lacks {lacking[0]}; overwrite the run"
            )
        digest = state.pop("blake3", None)  # the first checkpoints held none
        if digest is not None and digest != _digest(state):
            raise ConfigError(f"{self.path}: is damaged: its hash is another; restore it, or overwrite the run")
        return state

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


def _digest(value: Any) -> str:
    """Return the BLAKE3 hash of nested containers, their numbers and texts, and the bytes of their tensors."""
    hashed = blake3()
    _feed(hashed, value)
    return hashed.hexdigest()


def _feed(hashed: blake3, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        hashed.update(f"{value.dtype}{tuple(value.shape)}".encode())
        hashed.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, Mapping):
        _feed(hashed, [item for pair in value.items() for item in pair])
    elif isinstance(value, (list, tuple)):
        hashed.update(f"{len(value)}(".encode())
        for item in value:
            _feed(hashed, item)
    else:
        hashed.update(f"{value!r},".encode())


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
