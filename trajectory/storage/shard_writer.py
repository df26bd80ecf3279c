"""A rank's shards of the weights, each copy of them a row of the rank's own array."""

from functools import cached_property

import numpy as np
import zarr

from trajectory.errors import StoreError
from trajectory.schema.layout import shard_array
from trajectory.storage.array_writer import ArrayWriter
from trajectory.storage.backend import Backend


class ShardWriter:
    """Writes one rank's shards of every copy of the weights in a group.

    They are not visible before the first rank commits the copy, when every rank has written its shards.

    Args:
        backend: where the store lies.
        rank: the rank.
        group: `snapshots` or `origins`.
        written: how many copies are there, from the first one on without a gap.
    """

    def __init__(self, backend: Backend, rank: int, group: str, written: int = 0):
        self.written = written
        self._backend, self._rank, self._group = backend, rank, group
        self._begun = written

    def begin(self) -> int:
        """Return the number of the next copy; every rank counts them alike, also one that then fails."""
        self._begun += 1
        return self._begun - 1

    def write(self, k: int, weights: np.ndarray) -> None:
        """Write the shards of a copy.

        Args:
            k: the copy's number, from `begin`.
            weights: the rank's shards, one after the other, flat (n,).

        Raises:
            StoreError: the store is not to be seen from here.
        """
        name = shard_array(self._rank)
        if len(weights) and self._group == "snapshots":
            self._arrays.extend_snapshot(k, {name: weights})
        elif len(weights):
            self._arrays.extend(f"origins/{name}", k, weights[None])
        if self.written == k:
            self.written = k + 1

    @cached_property
    def _arrays(self) -> ArrayWriter:
        try:
            group = zarr.open_group(self._backend.writable, mode="r+", use_consolidated=False)
        except OSError as error:
            raise StoreError(
                f"{self._backend.path}: rank {self._rank} does not see the run that the first rank made there;"
                " expected a place that every rank can write to, since each writes its shards of a snapshot"
            ) from error
        return ArrayWriter(self._backend, group)
