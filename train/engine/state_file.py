"""States of a training on the disk: one file each, replaced whole or not at all, with a hash of its content."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

import torch
from blake3 import blake3

from train.errors import ConfigError
from trajectory.errors import first_line

VERSION = 1  # of a file's content


def path_beside(run: Path, ending: str) -> Path:
    """Return the path of what lies beside a run in a local folder.

    Args:
        run: the run's folder, which may be the present one, as in `.`.
        ending: what the path's name has behind the run's.

    Raises:
        ConfigError: if the folder is a file system's root.
    """
    run = run.resolve() if run.name in ("", "..") else run
    if not run.name:
        raise ConfigError(f"{run}: nothing can lie beside it; expected a folder that a run can be in")
    return run.with_name(f"{run.name}{ending}")


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace a state's file by a newer one, whole or not at all, even if the machine fails.

    Args:
        path: the file.
        state: numbers, texts and tensors in containers.

    Raises:
        ConfigError: if the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save({**state, "version": VERSION, "blake3": _digest(state)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter where a disk is full
        reason = getattr(error, "strerror", None) or first_line(error)
        raise ConfigError(f"{path}: the checkpoint cannot be written ({reason}); make room for it") from error


def read_state(path: Path, kinds: Mapping[str, type | UnionType], advice: str) -> dict[str, Any]:
    """Read a state's file.

    Args:
        path: the file.
        kinds: what the state must hold: the type of each entry.
        advice: what to do if the file is of no use, for the message.

    Returns:
        The state, on the host.

    Raises:
        ConfigError: if the file cannot be read, is damaged, or holds something else.
    """
    try:
        state = torch.load(os.path.expanduser(path), map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each raise their own
        raise ConfigError(f"{path}: cannot be read as a checkpoint ({type(error).__name__}); {advice}") from error
    state = state if isinstance(state, dict) else {}
    version, digest = state.pop("version", None), state.pop("blake3", None)  # the first checkpoints had neither
    if not (version is None or (type(version) is int and 1 <= version <= VERSION)):
        raise ConfigError(
            f"{path}: written in version {str(version)[:20]}, this ultraslow reads up to {VERSION};"
            " upgrade ultraslow to resume from it"
        )
    if lacking := sorted(kinds.keys() - state.keys()):
        raise ConfigError(f"{path}: is no checkpoint of a training: it lacks {lacking[0]}; {advice}")
    if (version or digest) and not _has_digest(state, digest):
        raise ConfigError(f"{path}: is damaged: its hash is another; restore it, or {advice}")
    for key, kind in kinds.items():
        if not isinstance(state[key], kind):
            found = type(state[key]).__name__
            raise ConfigError(f"{path}: is no checkpoint of a training: {key} is a {found}; {advice}")
    return state


def _has_digest(state: Mapping[str, Any], digest: object) -> bool:
    try:
        return _digest(state) == digest
    except (RecursionError, RuntimeError, TypeError):  # such as a list that holds itself, or a tensor without values
        return False


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
