"""Resuming an interrupted run: its store is reopened if it records the same network in the same way."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
import zarr

from trajectory.errors import RecordingError, StoreError
from trajectory.schema.entries import Kind, optional_text, whole
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.shards import Shard, shard_sizes, to_table
from trajectory.storage.arrays import read_rows
from trajectory.storage.backend import Backend
from trajectory.storage.opening import reopen_store
from trajectory.storage.root import is_run, read_root
from trajectory.storage.writer import StoreWriter

Resume = Literal["never", "allow", "must"]

# The entries that stored rows and snapshots depend on, which the rows and snapshots to come must share.
_WORDS = {
    "parameters": "trainable parameters",
    "buffers": "buffers",
    "tied": "tied parameters",
    "quantities": "quantities",
    "layers": "measured parameters or groups",
    "origins": "origins",
    "sketch": "sketches",
    "snapshot": "form of snapshots",
}

_LARGEST = 2**53  # a row holds its step as a float64


def _count(value: Any) -> int:
    if not 0 <= whole(value) <= _LARGEST:
        raise ValueError(value)
    return whole(value)


_STATE: Mapping[str, Kind[Any]] = {
    "run": optional_text,
    "step": Kind("a number of updates, 0 or more", _count),
    "events": Kind("a number of events, 0 or more", _count),
    "rate": Kind("a learning rate", lambda rate: rate),
}


def plain_step(step: Any) -> Any:
    """Return a step as a plain number, if it is a whole one of numpy's; anything else as it is.

    Args:
        step: What the caller has given.
    """
    return int(step) if isinstance(step, Integral) and not isinstance(step, bool) else step


def is_resumed(backend: Backend, resume: Resume, step: int | None) -> bool:
    """Return whether a recorder resumes a run in the store.

    Args:
        backend: Where the store is or will be.
        resume: "never", "allow" or "must", as `Recorder` takes it.
        step: The number of updates that the model has made; None if it is not known yet, 0 to start over.

    Raises:
        RecordingError: The arguments contradict each other.
        StoreError: There is no run where one must be.
    """
    if resume not in get_args(Resume):
        raise RecordingError(f"resume={resume!r}; expected 'never', 'allow' or 'must'")
    if step is not None and (resume == "never" or type(step) is not int or not 0 <= step <= _LARGEST):
        raise RecordingError(
            f"step={step!r} with resume={resume!r}; expected a number of updates, 0 or more, with 'allow' or 'must'"
        )
    if resume == "must":
        read_root(backend)
    there = resume != "never" and is_run(backend)
    if step and not there:
        raise StoreError(
            f"{backend.path}: no run there to resume after {step} updates; restore it, or begin with step=0"
        )
    return there and step != 0


def recorded_names(backend: Backend) -> list[str]:
    """Return the names of the parameters that a run holds.

    Args:
        backend: Where the store is.

    Raises:
        StoreError: There is no run, or it cannot be read.
    """
    return [spec.name for spec in read_root(backend).metadata.parameters]


def reopen(backend: Backend, metadata: RunMetadata, shards: Sequence[Shard]) -> StoreWriter:
    """Open a store to resume the run in it.

    Args:
        backend: Where the store is.
        metadata: What this recorder would record, without what only the start of a run decides.
        shards: Which rank stores which part of the parameters; none if the model is not sharded.

    Returns:
        The store, with all that was recorded.

    Raises:
        StoreError: The store is of another network, was recorded in another way, or is being written.
    """
    stored = read_root(backend).metadata
    if stored.id is None:
        raise StoreError(f"{backend.path}: holds no weights to measure from; record a new run, to another path")
    there, here = stored.to_json(), metadata.to_json()
    for key, word in _WORDS.items():
        if key in there and there[key] != here[key]:
            raise StoreError(
                f"{backend.path}: other {word} there than here{_difference(there[key], here[key])}; "
                "resume with the network and the settings it was recorded with, or record to another path"
            )
    if shards or stored.ranks:
        group = zarr.open_group(backend.root, mode="r")
        table = read_rows(group, "part", None) if stored.ranks else None
        if table is None or not np.array_equal(table, to_table(shards)):
            raise StoreError(
                f"{backend.path}: the weights lie otherwise on {len(stored.ranks) or 1} ranks there than on"
                f" {len(shard_sizes(shards)) or 1} here; resume on as many ranks, sharded alike, or record to"
                " another path"
            )
    (_, schedule), *_ = metadata.schedules
    return reopen_store(backend, schedule)


def check_state(state: Mapping[str, Any], path: object) -> None:
    """Check that a checkpoint's state of the recording is one that `Recorder.state_dict` returns.

    Args:
        state: The state.
        path: The run's path, for the message.

    Raises:
        RecordingError: An entry is missing, of another type or out of range.
    """
    if not isinstance(state, Mapping):
        raise RecordingError(f"{path}: resumed from a {type(state).__name__}; give what state_dict() returned")
    for key, kind in _STATE.items():
        try:
            kind(state[key])
        except (KeyError, TypeError, ValueError) as error:
            found = "nothing" if isinstance(error, KeyError) else repr(state[key])[:60]
            raise RecordingError(
                f"{path}: the state to resume from has {found} under {key!r}, expected {kind.expected}; give what"
                " state_dict() returned"
            ) from error


def _difference(there: Any, here: Any) -> str:
    """Describe the first entry that differs in a few words."""
    entries = [list(value.items()) if isinstance(value, Mapping) else list(value) for value in (there, here)]
    for k in range(max(map(len, entries))):
        was, now = (side[k] if k < len(side) else "none" for side in entries)
        if was != now:
            return f" ({was} there, {now} here)"
    return ""
