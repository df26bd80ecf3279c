"""What a rank writes that is not the first: its parts of snapshots, and nothing else."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import zarr

from trajectory.errors import StoreError
from trajectory.layout import Event, part_array
from trajectory.place import Place


class PartWriter:
    """Writes one rank's part of every snapshot to its own array in the store at `place`.

    written: how many are there, from the first one on without a gap. They are not visible before the first rank
    commits the snapshot, when every rank has written its part.
    """

    def __init__(self, place: Place, rank: int):
        self.written = 0
        self._place, self._rank = place, rank
        self._begun = 0

    def begin(self) -> int:
        """The next snapshot's place; every rank counts them alike, also one that then fails."""
        self._begun += 1
        return self._begun - 1

    def write(self, k: int, weights: np.ndarray) -> None:
        """Writes the k-th snapshot's part. Raises StoreError if the store is not to be seen from here."""
        if len(weights):
            array = self._array
            array.resize((k + 1, *array.shape[1:]))
            array[k] = weights
        if self.written == k:
            self.written = k + 1

    @cached_property
    def _array(self) -> zarr.Array:
        # a part of zeros is written as well: a chunk that is not there is a part that is missing
        config: Any = {"write_empty_chunks": True}
        try:
            name = f"snapshots/{part_array(self._rank)}"
            return zarr.open_array(self._place.root, path=name, mode="r+", config=config)
        except OSError as error:
            raise StoreError(
                f"{self._place.path}: rank {self._rank} does not see the run that the first rank made there; expected"
                " a place that every rank can write to, since each writes its part of a snapshot"
            ) from error


class Bystander:
    """Stands in for a `Store` on a rank that does not write rows; writes this rank's parts of snapshots."""

    events: tuple[Event, ...] = ()

    def __init__(self, place: Place, rank: int, origin_norm: float):
        self.facts = {"id": None, "origin_norm": origin_norm}
        self._part = PartWriter(place, rank)

    @property
    def written(self) -> int:
        """How many snapshots this rank has written its part of."""
        return self._part.written

    def append_rows(self, rows: np.ndarray) -> None:
        """The first rank writes rows."""

    def append_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """The first rank's scalars are the run's."""

    def append_event(self, event: Event) -> None:
        """The first rank's events are the run's."""

    def append_sketch(self, step: int, values: np.ndarray) -> None:
        """The first rank writes sketches."""

    def append_snapshot(self, step: int, weights: np.ndarray, buffers: np.ndarray) -> None:
        """Writes this rank's part of the weights; the buffers are the first rank's."""
        self._part.write(self._part.begin(), weights)

    def commit_snapshots(self, complete: int) -> None:
        """The first rank commits."""

    def sync(self) -> None:
        """Nothing is buffered."""

    def close(self, status: str) -> None:
        """Nothing is open."""
