"""Check that a store is intact, and repair what a kill has left."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import zarr

from trajectory.schema.layout import hash_array
from trajectory.schema.schedules import find_gap
from trajectory.storage.arrays import hash_of, read_rows
from trajectory.storage.backend import Backend, StoreLike, open_backend
from trajectory.storage.compaction import replaced_chunks
from trajectory.storage.reader import read_store
from trajectory.storage.root import read_root
from trajectory.storage.snapshot_reader import missing_copies
from trajectory.storage.writer import StoreWriter


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a store.

    Attributes:
        message: what is wrong, in one sentence.
        repairable: whether `verify(..., repair=True)` repairs it.

    Examples:
        >>> from trajectory import Problem
        >>> print(Problem("not closed: 12 recorded steps are in the journal alone", repairable=True).message)
        not closed: 12 recorded steps are in the journal alone
    """

    message: str
    repairable: bool

    @property
    def sentence(self) -> str:
        """The former name of `message`."""
        warnings.warn("Problem.sentence is now Problem.message", DeprecationWarning, stacklevel=2)
        return self.message

    @property
    def mendable(self) -> bool:
        """The former name of `repairable`."""
        warnings.warn("Problem.mendable is now Problem.repairable", DeprecationWarning, stacklevel=2)
        return self.repairable


def verify(path: StoreLike, *, repair: bool = False) -> list[Problem]:
    """Check that a store is intact; every stored chunk is read once.

    Args:
        path: a folder, a URL or a Zarr store, as for `Run`.
        repair: move the journal of a killed run into the arrays, mark the run as interrupted, and remove what the
            kill left half-written. Damaged chunks cannot be repaired; they are named.

    Returns:
        What is wrong, or was before the repair; empty if the store is intact.

    Raises:
        StoreError: `path` is no run; or, for a repair, a recorder is writing there, or the store holds a symbolic
            link.

    Examples:
        >>> import torch
        >>> from trajectory import Recorder, verify
        >>> model = torch.nn.Linear(2, 1)
        >>> Recorder("checked.zarr", model, torch.optim.SGD(model.parameters())).close()
        >>> verify("checked.zarr")
        []
    """
    backend = open_backend(path)
    checks = (_journal, _leftovers, _rows, _missing, _chunks, _snapshots)
    problems = [problem for check in checks for problem in check(backend)]
    if repair:
        backend.refuse_links()
        if read_root(backend).commit.journal is not None:
            StoreWriter.reopen(backend).close("interrupted (killed)")
        backend.remove(_leftover_keys(backend))
    return problems


def _journal(backend: Backend) -> Iterator[Problem]:
    root, uncommitted = read_store(backend)
    if root.commit.journal is not None:
        yield Problem(f"not closed: {len(uncommitted.rows)} recorded steps are in the journal alone", True)


def _leftover_keys(backend: Backend) -> list[str]:
    """Return journals and chunks of other commits, files that were never renamed, and a closed run's lock."""
    root = read_root(backend)
    current, keys = root.commit.journal, backend.names()
    return replaced_chunks(keys, root.nodes) + [
        key
        for key in keys
        if (key.startswith("journal.") and key.partition("/")[0] != f"journal.{current}")
        or key.endswith(".partial")
        or (key == "lock" and current is None)
    ]


def _leftovers(backend: Backend) -> Iterator[Problem]:
    keys = _leftover_keys(backend)
    if keys:
        yield Problem(f"{len(keys)} files of interrupted writes, such as {keys[0]}", True)


def _rows(backend: Backend) -> Iterator[Problem]:
    root, uncommitted = read_store(backend)
    try:
        committed = read_rows(zarr.open_group(backend.root, mode="r"), "step", root.commit.steps)
    except (ValueError, RuntimeError):
        return  # `_chunks` names it
    steps = np.concatenate([committed, uncommitted.rows[:, 0]])
    if np.any(np.diff(steps) <= 0) or np.any(steps < 1):
        yield Problem("recorded steps do not increase from 1 on", False)
    elif gap := find_gap(steps, root.metadata.schedules, int(max(steps, default=0))):
        yield Problem(f"rows are missing: after step {gap[0]}, the next one was to be {gap[1]}", False)


def _missing(backend: Backend) -> Iterator[Problem]:
    root = read_root(backend)
    group = zarr.open_group(backend.root, mode="r")
    for name, count, what in (
        ("snapshots", root.commit.snapshots, "snapshot"),
        ("origins", root.commit.origins, "copy of the weights measured from"),
    ):
        if not count:  # nothing can be missing; the first stores had no group `origins`
            continue
        for k, step in enumerate(read_rows(group, f"{name}/step", count)):
            for whose in missing_copies(backend, root.metadata.ranks, k, name).values():
                yield Problem(f"{whose}the {what} at step {step} is missing", False)


def _arrays(backend: Backend) -> dict[str, zarr.Array]:
    members = zarr.open_group(backend.root, mode="r").members(None)
    return {name: node for name, node in sorted(members) if isinstance(node, zarr.Array)}


def _chunks(backend: Backend) -> Iterator[Problem]:
    """Read every chunk that carries a checksum."""
    arrays = _arrays(backend)
    for name, array in arrays.items():
        if hash_array(name) in arrays:
            continue
        for start in range(0, array.shape[0], array.chunks[0]):
            try:
                array[start : start + array.chunks[0]]
            except (ValueError, RuntimeError) as error:
                yield Problem(f"{name}: the chunk from row {start} on is damaged ({error})", False)


def _snapshots(backend: Backend) -> Iterator[Problem]:
    """Read every chunk whose hash is stored."""
    arrays, root = _arrays(backend), read_root(backend)
    try:
        steps = np.asarray(arrays["snapshots/step"][: root.commit.snapshots])
        hashes = {name: np.asarray(arrays[hash_array(name)][:]) for name in arrays if hash_array(name) in arrays}
    except (ValueError, RuntimeError):
        return  # `_chunks` names it
    for k, step in enumerate(steps):
        missing = {f"snapshots/{name}" for name in missing_copies(backend, root.metadata.ranks, k)}
        for name in sorted(hashes.keys() - missing):
            try:
                same = np.array_equal(hash_of(np.asarray(arrays[name][k])), hashes[name][k])
            except (ValueError, RuntimeError):  # of a compressed one
                same = False
            if not same:
                yield Problem(f"{name}: the snapshot at step {step} is not the one whose hash was saved", False)
