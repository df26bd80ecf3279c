"""What a rank writes that is not the first: its parts of snapshots and of the weights at origins."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np
import zarr

from trajectory.errors import StoreError
from trajectory.schema.layout import Event, part_array, read_root
from trajectory.storage.arrays import extend, extend_snapshot
from trajectory.storage.backend import Place


class PartWriter:
    """Writes one rank's part of every copy of the weights in `group` to its own array in the store at `place`.

    group: "snapshots" or "origins". written: how many are there, from the first one on without a gap. They are not
    visible before the first rank commits the copy, when every rank has written its part.
    """

    def __init__(self, place: Place, rank: int, group: str, written: int = 0):
        self.written = written
        self._place, self._rank, self._group = place, rank, group
        self._begun = written

    def begin(self) -> int:
        """The next copy's place; every rank counts them alike, also one that then fails."""
        self._begun += 1
        return self._begun - 1

    def write(self, k: int, weights: np.ndarray) -> None:
        """Writes the k-th copy's part. Raises StoreError if the store is not to be seen from here."""
        name = part_array(self._rank)
        if len(weights) and self._group == "snapshots":
            extend_snapshot(self._root, k, {name: weights})
        elif len(weights):
            extend(self._root, f"origins/{name}", k, weights[None])
        if self.written == k:
            self.written = k + 1

    @cached_property
    def _root(self) -> zarr.Group:
        try:
            return zarr.open_group(self._place.root, mode="r+", use_consolidated=False)
        except OSError as error:
            raise StoreError(
                f"{self._place.path}: rank {self._rank} does not see the run that the first rank made there; expected"
                " a place that every rank can write to, since each writes its part of a snapshot"
            ) from error


class Bystander:
    """Stands in for a `Store` on a rank that does not write rows; writes this rank's parts."""

    events: tuple[Event, ...] = ()

    def __init__(self, place: Place, rank: int, origin_norm: float):
        self.facts = {"id": None, "origin_norm": origin_norm}
        self._place, self._rank = place, rank
        self._snapshots, self._origins = (PartWriter(place, rank, group) for group in ("snapshots", "origins"))

    @property
    def written(self) -> tuple[int, int]:
        """How many snapshots and origins this rank has written its part of."""
        return self._snapshots.written, self._origins.written

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
        self._snapshots.write(self._snapshots.begin(), weights)

    def append_origin(self, step: int, weights: np.ndarray) -> None:
        """Writes this rank's part of the weights that distances are measured from."""
        self._origins.write(self._origins.begin(), weights)

    def commit_parts(self, snapshots: int, origins: int) -> None:
        """The first rank commits."""

    def cut(self, step: int, events: int | None = None) -> None:
        """Goes on behind what the first rank's cut has left."""
        counts = read_root(self._place)["attributes"]["ultraslow"]["committed"]
        self._snapshots = PartWriter(self._place, self._rank, "snapshots", counts["snapshots"])
        self._origins = PartWriter(self._place, self._rank, "origins", counts["origins"])

    def origins(self, last: int) -> dict[int, np.ndarray]:
        """This rank's parts of the weights at w_0 and the origins up to step `last`, by step."""
        return stored_origins(self._place, part_array(self._rank), last)

    def scalars(self, step: int) -> dict[str, float]:
        """The first rank's scalars are the run's."""
        return {}

    def sync(self) -> None:
        """Nothing is buffered."""

    def close(self, status: str) -> None:
        """Nothing is open."""

    def release(self) -> None:
        """Nothing is held."""


def stored_origins(place: Place, name: str, last: int) -> dict[int, np.ndarray]:
    """The committed weights of the array `origins/NAME` up to step `last`, by step, flat as they were appended.

    Empty arrays where the rank holds no elements. Raises StoreError if stored bytes are damaged or missing.
    """
    committed = read_root(place)["attributes"]["ultraslow"]["committed"].get("origins", 0)
    group = zarr.open_group(place.root, path="origins", mode="r", use_consolidated=False)
    steps = np.asarray(cast(zarr.Array, group["step"])[:committed])
    wanted = [(k, int(step)) for k, step in enumerate(steps) if step <= last]
    if name not in group:
        return {step: np.empty(0, "float32") for _, step in wanted}
    for k, step in wanted:
        if not place.holds(f"origins/{name}/c/{k}/0"):
            raise StoreError(f"{place.path}: the copy of the weights at step {step} is missing; record a new run")
    try:
        weights = cast(zarr.Array, group[name])
        return {step: np.asarray(weights[k]) for k, step in wanted}
    except (ValueError, RuntimeError) as error:
        raise StoreError(f"{place.path}: an origin's weights are damaged ({error}); record a new run") from error
