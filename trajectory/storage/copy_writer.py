"""Write stored copies of the weights, and sketches of them: each is a commit of its own."""

import threading
from dataclasses import replace

import numpy as np

from trajectory.schema.layout import shard_array
from trajectory.storage.backend import Backend
from trajectory.storage.commit_writer import CommitWriter
from trajectory.storage.lock import RunLock, in_place
from trajectory.storage.shard_writer import ShardWriter
from trajectory.storage.snapshot_reader import read_origins


class CopyWriter:
    """Writes snapshots, the weights that distances are measured from, and sketches, behind the committed ones.

    The large writes happen outside the lock, so that rows never wait for them; one thread at a time may append
    snapshots and origins.

    Args:
        backend: where the store lies.
        run_lock: the lock held on it, if there is one.
        commits: writes its root.
        lock: is held while a commit is made.
    """

    def __init__(self, backend: Backend, run_lock: RunLock | None, commits: CommitWriter, lock: threading.Lock):
        self._backend, self._run_lock, self._commits, self._lock = backend, run_lock, commits, lock
        self._shards: dict[str, ShardWriter] = {}  # of this rank, where a model is sharded: by group
        self.open_shards()

    def open_shards(self) -> None:
        """Write this rank's shards behind those committed from now on."""
        last = self._commits.last
        if self._commits.metadata.ranks:
            counts = {"snapshots": last.snapshots, "origins": last.origins}
            self._shards = {group: ShardWriter(self._backend, 0, group, count) for group, count in counts.items()}

    @property
    def written(self) -> tuple[int, int]:
        """How many snapshots, and how many origins' weights, this rank has written its share of."""
        if not self._shards:
            return self._commits.last.snapshots, self._commits.last.origins
        return self._shards["snapshots"].written, self._shards["origins"].written

    def origins(self, last: int) -> dict[int, np.ndarray]:
        """Read the weights that distances are measured from.

        Args:
            last: the last step to read.

        Returns:
            This rank's weights by step.
        """
        return read_origins(self._backend, shard_array(0) if self._shards else "weights", last)

    def append_snapshot(self, step: int, weights: np.ndarray, buffers: np.ndarray) -> None:
        """Add a snapshot.

        Args:
            step: the number of updates made.
            weights: all weights, or this rank's shards of them, flat (n,).
            buffers: all buffers' bytes, uint8 (n,).
        """
        shards, arrays = self._shards.get("snapshots"), self._commits.tables.arrays
        k = shards.begin() if shards else self._commits.last.snapshots
        rows = {"buffers": buffers, "step": np.array(step)}
        with in_place(self._run_lock):
            if shards:
                arrays.extend_snapshot(k, rows)
                shards.write(k, weights)
            else:
                arrays.extend_snapshot(k, {"weights": weights, **rows})
                self.commit(k + 1, 0)

    def append_origin(self, step: int, weights: np.ndarray) -> None:
        """Save the weights that distances are measured from; in order of step.

        Args:
            step: the origin.
            weights: all weights, or this rank's shards of them, flat (n,).
        """
        shards, arrays = self._shards.get("origins"), self._commits.tables.arrays
        k = shards.begin() if shards else self._commits.last.origins
        with in_place(self._run_lock):
            arrays.extend("origins/step", k, np.array([step]))
            if shards:
                shards.write(k, weights)
            else:
                arrays.extend("origins/weights", k, weights[None])
                self.commit(0, k + 1)

    def append_sketch(self, step: int, values: np.ndarray) -> None:
        """Add a sketch, from the thread of rows.

        Args:
            step: the number of updates made.
            values: (layer, bucket).
        """
        tables = self._commits.tables
        with self._lock, in_place(self._run_lock):
            k = self._commits.last.sketches
            tables.arrays.extend("sketches/values", k, values[None].astype("float32"))
            tables.arrays.extend("sketches/step", k, np.array([step]))
            nodes = tables.read_nodes(["sketches/values", "sketches/step"])
            self._commits.publish(replace(self._commits.last, sketches=k + 1), nodes, durable=False)

    def commit(self, snapshots: int, origins: int) -> None:
        """Make the first snapshots and origins visible, which every rank has written its shards of.

        Args:
            snapshots: how many snapshots.
            origins: how many origins.
        """
        with self._lock:
            before = self._commits.last
            commit = replace(before, snapshots=max(snapshots, before.snapshots), origins=max(origins, before.origins))
            if commit != before:  # a faster rank may have lengthened the arrays further
                self._commits.publish(commit, self._commits.tables.nodes_at(commit), durable=False)
