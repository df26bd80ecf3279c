"""Check that a store is intact, and repair what a kill has left."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.commit import table_of
from trajectory.schema.layout import hash_array
from trajectory.schema.schedules import find_gap
from trajectory.storage.array_reader import ArrayReader
from trajectory.storage.arrays import hash_of
from trajectory.storage.backend import Backend
from trajectory.storage.compaction import replaced_chunks
from trajectory.storage.location import StoreLike, open_backend
from trajectory.storage.reader import UncommittedRows, read_store
from trajectory.storage.repair import differing_nodes, leftover_keys, repair_store
from trajectory.storage.root import Root
from trajectory.storage.snapshot_reader import missing_copies


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
    """Check that a store is intact; every stored chunk is read.

    Args:
        path: a folder, a URL or a Zarr store, as for `Run`.
        repair: move the journal of a killed run into the arrays, mark the run as interrupted, and remove what the
            kill left half-written. Of a damaged journal the intact records are kept, and the file is set aside as
            `journal.<n>.damaged`; arrays' own metadata are written anew from the root's. Damaged chunks cannot be
            repaired; they are named, and stay.

    Returns:
        What is wrong, or was before the repair; empty if the store is intact.

    Raises:
        StoreError: `path` is no run, or its root is damaged; or, for a repair, a recorder is writing there, the store
            holds a symbolic link, or rows would have to be written behind a damaged chunk.

    Examples:
        >>> import torch
        >>> from trajectory import Recorder, verify
        >>> model = torch.nn.Linear(2, 1)
        >>> Recorder("checked.zarr", model, torch.optim.SGD(model.parameters())).close()
        >>> verify("checked.zarr")
        []
    """
    backend = open_backend(path)
    root, uncommitted = read_store(backend, skip_damaged=True)
    check = _Check(backend, root, uncommitted)
    problems = list(check.problems())
    if repair:
        repair_store(backend)
    return problems


@dataclass(frozen=True)
class _Check:
    """A check of one store."""

    backend: Backend
    root: Root
    uncommitted: UncommittedRows

    @property
    def arrays(self) -> ArrayReader:
        return ArrayReader(self.backend, self.root)

    def problems(self) -> Iterator[Problem]:
        for check in (self.journal, self.files, self.counts, self.steps, self.copies, self.chunks, self.hashes):
            yield from check()

    def journal(self) -> Iterator[Problem]:
        if self.root.commit.journal is not None:
            yield Problem(f"not closed: {len(self.uncommitted.rows)} recorded steps are in the journal alone", True)
        if self.uncommitted.damage:
            yield Problem(self.uncommitted.damage, True)
        if self.uncommitted.torn:
            yield Problem(f"journal.{self.root.commit.journal} ends in a part of a record", True)

    def files(self) -> Iterator[Problem]:
        keys = leftover_keys(self.backend, self.root)
        if keys:
            yield Problem(f"{len(keys)} files of interrupted writes, such as {keys[0]}", True)
        if replaced_chunks(keys, self.root.nodes):
            return  # of a kill while rows moved to larger chunks: the arrays' own metadata were to follow
        for name in differing_nodes(self.backend, self.root):
            yield Problem(f"{name}/zarr.json is not what the root says of {name}", True)

    def counts(self) -> Iterator[Problem]:
        lengths = self.root.commit.to_json()["committed"]
        for name, array in self.root.arrays.items():
            table = table_of(name, self.root.nodes[name])
            if table in lengths and array.shape[0] > lengths[table] and name.rpartition("/")[2] == "step":
                yield Problem(f"{name} has {array.shape[0]} rows, and {lengths[table]} are committed", False)

    def steps(self) -> Iterator[Problem]:
        committed = self.rows("step", self.root.commit.steps)
        if committed is not None:
            steps = np.concatenate([committed, self.uncommitted.rows[:, 0]])
            if np.any(np.diff(steps) <= 0) or np.any(steps < 1):
                yield Problem("recorded steps do not increase from 1 on", False)
            elif gap := find_gap(steps, self.root.metadata.schedules, int(max(steps, default=0))):
                yield Problem(f"rows are missing: after step {gap[0]}, the next one was to be {gap[1]}", False)
        for group, count in self.groups():
            found = self.rows(f"{group}/step", count)
            if found is not None and (np.any(np.diff(found) <= 0) or np.any(found < 0)):
                yield Problem(f"{group}/step: the steps do not increase from 0 on", False)

    def groups(self) -> Iterator[tuple[str, int]]:
        """Yield the groups that hold something, and how many rows of it."""
        for group, count in self.root.commit.to_json()["committed"].items():
            if group != "step" and count:  # the first stores had no group `origins`
                yield group, count

    def rows(self, name: str, stop: int, start: int = 0) -> np.ndarray | None:
        """Read rows; None where they are damaged, which `chunks` names."""
        try:
            return self.arrays.read(name, stop, start)
        except StoreError:
            return None

    def copies(self) -> Iterator[Problem]:
        """Find snapshots and origins that have lost their weights."""
        words = {"snapshots": "snapshot", "origins": "copy of the weights measured from"}
        for group, count in self.groups():
            steps = self.rows(f"{group}/step", count) if group in words else None
            for k, step in enumerate(() if steps is None else steps):
                for whose in missing_copies(self.backend, self.root, k, group).values():
                    yield Problem(f"{whose}the {words[group]} at step {step} is missing", False)

    def chunks(self) -> Iterator[Problem]:
        """Read every chunk that carries a checksum."""
        for name in self.root.arrays:
            if hash_array(name) in self.root.arrays:
                continue
            for bad in self.arrays.damage(name):
                if not (name.startswith("origins/weights") and bad.reason == "is missing"):  # as `copies` says
                    yield Problem(f"{bad.message}: rows {bad.start} to {bad.stop - 1} of {name} are lost", False)

    def hashes(self) -> Iterator[Problem]:
        """Read every chunk whose hash is stored."""
        count = self.root.commit.snapshots
        steps = self.rows("snapshots/step", count) if count else None
        hashed = [name for name in self.root.arrays if hash_array(name) in self.root.arrays]
        for k, step in enumerate(() if steps is None else steps):
            lost = {f"snapshots/{name}" for name in missing_copies(self.backend, self.root, k)}
            for name in sorted(set(hashed) - lost):
                row, saved = self.rows(name, k + 1, k), self.rows(hash_array(name), k + 1, k)
                if saved is not None and (row is None or not np.array_equal(hash_of(row[0]), saved[0])):
                    yield Problem(f"{name}: the snapshot at step {step} is not the one whose hash was saved", False)
