"""Stored copies of the weights: snapshots, and the weights that distances are measured from."""

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from trajectory.errors import StoreError, first_line
from trajectory.schema.layout import BUFFERS_CHANGED, TensorSpec, hash_array, shard_array
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.shards import assemble, check_cover, from_table
from trajectory.storage.array_reader import ArrayReader
from trajectory.storage.arrays import hash_of
from trajectory.storage.backend import Backend
from trajectory.storage.moment import Moment
from trajectory.storage.root import Root, read_root

if TYPE_CHECKING:
    import pandas as pd
    import torch


class SnapshotReader:
    """Reads the snapshots of a store.

    Args:
        moment: the store as it stood when it was opened.
    """

    def __init__(self, moment: Moment):
        self._moment, self._backend, self._count = moment, moment.backend, moment.root.commit.snapshots
        self._metadata: RunMetadata = moment.root.metadata

    @cached_property
    def steps(self) -> list[int]:
        """The steps that hold weights, in order."""
        return self._moment.read("snapshots/step", self._count).tolist()

    def state_dict(self, step: int) -> "dict[str, torch.Tensor]":
        """Read weights and buffers.

        Args:
            step: a step that holds a snapshot.

        Returns:
            Tensors by name, tied ones under each of their names; in their own types, on the CPU. Buffers that are
            gone or had another shape by then are left out.

        Raises:
            StoreError: no snapshot was taken at that step, or its stored bytes are damaged or missing.
        """
        import torch

        if step not in self.steps:
            raise StoreError(f"{self._backend.path}: no snapshot at step {step}; snapshots are at {self.steps}")
        k = self.steps.index(step)
        try:
            raw, weights = self._row("snapshots/buffers", k), self._weights(k)
        except StoreError:
            raise
        except (ValueError, RuntimeError, KeyError) as error:
            raise StoreError(
                f"{self._backend.path}: the snapshot at step {step} is damaged ({first_line(error)}); use another"
            ) from error
        tensors = {}
        for spec, values in zip(self._metadata.parameters, weights, strict=True):
            tensors[spec.name] = torch.from_numpy(values).to(self._type(spec))
        missing = self._missing_buffers(step)
        for spec in self._metadata.buffers:
            if spec.name in missing:
                continue
            dtype = self._type(spec)
            end = spec.offset + spec.size * dtype.itemsize
            if end > len(raw):
                raise StoreError(
                    f"{self._backend.path}: zarr.json says that the buffer {spec.name!r} ends at byte {end}, and"
                    f" snapshots/buffers holds {len(raw)}; restore them as they were written"
                )
            tensors[spec.name] = torch.from_numpy(raw[spec.offset : end]).clone().view(dtype).reshape(spec.shape)
        return tensors | {name: tensors[source] for name, source in self._metadata.tied.items()}

    def _type(self, spec: TensorSpec) -> "torch.dtype":
        import torch

        dtype = getattr(torch, spec.dtype, None)
        if not isinstance(dtype, torch.dtype):
            raise StoreError(
                f"{self._backend.path}: {spec.name!r} is of the type {spec.dtype}, which this torch"
                f" ({torch.__version__}) does not know; read it with the one that recorded it"
            )
        return dtype

    def layer_displacement(self, origin: int) -> "pd.DataFrame":
        """Compute how far the weights have moved since a snapshot, at each later one.

        Args:
            origin: a step that holds a snapshot.

        Returns:
            ‖w_t − w_{origin}‖ over each group of parameters: step × name.
        """
        import pandas as pd

        groups = self._metadata.groups
        start = {name: weight.double() for name, weight in self.state_dict(origin).items()}
        later = [step for step in self.steps if step > origin]
        rows = []
        for step in later:
            weights = self.state_dict(step)
            squares = {
                name: float((weights[name].double() - start[name]).square().sum()) for name in groups.parameters
            }
            rows.append([math.sqrt(sum(squares[name] for name in members)) for members in groups.members])
        return pd.DataFrame(rows, pd.Index(later, name="step"), list(groups.names), dtype=float)

    def _missing_buffers(self, step: int) -> set[str]:
        """Return the names of the buffers that a snapshot has zeros for, as the last event until it says."""
        events = (*self._moment.root.commit.events, *self._moment.uncommitted.events)
        changes = [e.details for e in events if e.name == BUFFERS_CHANGED and e.step <= step]
        names = changes[-1].get("missing") if changes else None
        return {str(name) for name in names} if isinstance(names, list) else set()

    def _row(self, name: str, k: int) -> np.ndarray:
        """Read a row of an array of `snapshots`. Raises ValueError unless it has the hash that was saved, if any."""
        row, hashes = self._moment.read(name, k + 1, k)[0], hash_array(name)
        if hashes in self._moment.root.nodes and not np.array_equal(
            hash_of(row), self._moment.read(hashes, k + 1, k)[0]
        ):
            raise ValueError("its bytes are not those whose hash was saved")
        return row

    def _weights(self, k: int) -> list[np.ndarray]:
        """Read the k-th snapshot's parameters; put together from the ranks' shards where the model was sharded."""
        parameters, ranks = self._metadata.parameters, self._metadata.ranks
        for whose in missing_copies(self._backend, self._moment.root, k).values():
            self._moment.check()
            raise StoreError(
                f"{self._backend.path}: {whose}the snapshot at step {self.steps[k]} is missing;"
                " restore the folder as it was written, or use another snapshot"
            )
        if not ranks:
            flat = self._widened(self._row("snapshots/weights", k))
            return [flat[spec.offset : spec.offset + spec.size].reshape(spec.shape) for spec in parameters]
        shards = from_table(self._moment.read("part", None), parameters)
        check_cover(parameters, shards)
        stored = {rank: self._row(f"snapshots/{shard_array(rank)}", k) for rank in ranks}
        return assemble(parameters, shards, {rank: self._widened(row) for rank, row in stored.items()})

    def _widened(self, row: np.ndarray) -> np.ndarray:
        """Return weights as numbers: bfloat16 are stored as their bits, the upper half of a float32's."""
        if self._metadata.snapshot.dtype != "bfloat16":
            return row
        return (row.astype("uint32") << 16).view("float32")


def missing_copies(backend: Backend, root: Root, k: int, group: str = "snapshots") -> dict[str, str]:
    """Find the arrays whose copy of the weights is not in the store.

    A chunk that is not there reads as zeros: it has to be looked for.

    Args:
        backend: where the store lies.
        root: its root.
        k: the copy's number.
        group: `snapshots` or `origins`.

    Returns:
        The names of the arrays within the group, and whose shards are missing, in words that precede "the snapshot".
    """
    arrays = {shard_array(rank): f"rank {rank}'s shards of " for rank in root.metadata.ranks} or {"weights": ""}
    return {
        name: whose
        for name, whose in arrays.items()
        if f"{group}/{name}" in root.arrays and not backend.holds(f"{group}/{name}/c/{k}/0")
    }


def read_origins(backend: Backend, name: str, last: int) -> dict[int, np.ndarray]:
    """Read the committed weights that distances are measured from.

    Args:
        backend: where the store lies.
        name: the array within `origins`: `weights`, or a rank's.
        last: the last step to read.

    Returns:
        The weights by step, flat as they were appended; empty arrays where the rank stores no elements.

    Raises:
        StoreError: stored bytes are damaged or missing.
    """
    root = read_root(backend)
    arrays, committed = ArrayReader(backend, root), root.commit.origins
    if not committed:
        return {}
    steps = arrays.read("origins/step", committed)
    wanted = [(k, int(step)) for k, step in enumerate(steps) if step <= last]
    if f"origins/{name}" not in root.arrays:
        return {step: np.empty(0, "float32") for _, step in wanted}
    for k, step in wanted:
        if not backend.holds(f"origins/{name}/c/{k}/0"):
            raise StoreError(f"{backend.path}: the copy of the weights at step {step} is missing; record a new run")
    return {step: arrays.read(f"origins/{name}", k + 1, k)[0] for k, step in wanted}
