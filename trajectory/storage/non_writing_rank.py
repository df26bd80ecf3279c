"""The writer of a rank that writes no rows."""

# ruff: noqa: D102 (`RunWriter` says what the methods do)

from collections.abc import Mapping, Sequence

import numpy as np

from trajectory.schema.layout import Event, shard_array
from trajectory.storage.backend import Backend
from trajectory.storage.root import read_root
from trajectory.storage.run_writer import RunWriter
from trajectory.storage.shard_writer import ShardWriter
from trajectory.storage.snapshot_reader import read_origins


class NonWritingRank(RunWriter):
    """Writes this rank's shards alone; rows, scalars and events are the first rank's to write.

    Args:
        backend: where the store lies.
        rank: this rank.
        origin_norm: ‖w_0‖ over the measured parameters.
    """

    id: str | None = None
    events: tuple[Event, ...] = ()
    metric_arrays: Mapping[str, str] = {}

    def __init__(self, backend: Backend, rank: int, origin_norm: float):
        self._backend, self._rank, self._origin_norm = backend, rank, origin_norm
        self._snapshots, self._origins = (ShardWriter(backend, rank, group) for group in ("snapshots", "origins"))

    @property
    def origin_norm(self) -> float:
        return self._origin_norm

    @property
    def written(self) -> tuple[int, int]:
        return self._snapshots.written, self._origins.written

    def append_rows(self, rows: np.ndarray) -> None:
        pass

    def append_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        pass

    def append_event(self, event: Event) -> None:
        pass

    def append_sketch(self, step: int, values: np.ndarray) -> None:
        pass

    def append_snapshot(self, step: int, weights: np.ndarray, buffers: np.ndarray) -> None:
        self._snapshots.write(self._snapshots.begin(), weights)

    def append_origin(self, step: int, weights: np.ndarray) -> None:
        self._origins.write(self._origins.begin(), weights)

    def commit_shards(self, snapshots: int, origins: int) -> None:
        pass

    def check_step(self, step: int, events: int | None = None) -> None:
        pass

    def cut(self, step: int, events: int | None = None) -> None:
        """Go on behind what the first rank's cut has left.

        Args:
            step: the last step that stays.
            events: how many events stay.
        """
        commit = read_root(self._backend).commit
        self._snapshots = ShardWriter(self._backend, self._rank, "snapshots", commit.snapshots)
        self._origins = ShardWriter(self._backend, self._rank, "origins", commit.origins)

    def origins(self, last: int) -> dict[int, np.ndarray]:
        return read_origins(self._backend, shard_array(self._rank), last)

    def scalars(self, step: int) -> dict[str, float]:
        return {}

    def sync(self, *, durable: bool = False) -> None:
        if durable:
            self._backend.sync()

    def close(self, status: str) -> None:
        self._backend.sync()

    def release(self) -> None:
        pass
