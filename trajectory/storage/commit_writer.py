"""Make commits visible: one replacement of a store's root publishes all that was written before it.

The order is always data first, then the commit: a process killed between the two leaves the commit before.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trajectory.errors import StoreError
from trajectory.schema.commit import RECORDING, Commit, table_of
from trajectory.schema.layout import Event
from trajectory.schema.nodes import ArrayNode
from trajectory.storage.array_reader import ArrayReader
from trajectory.storage.backend import Backend
from trajectory.storage.chunk_checksums import Ends, list_checksums, list_ends
from trajectory.storage.compaction import larger_chunks, write_chunks
from trajectory.storage.moment import Moment
from trajectory.storage.root import Root, holds_root, write_root
from trajectory.storage.table_writer import TableWriter


class CommitWriter:
    """Writes the root of one store.

    Attributes:
        metadata: the run's, which the next commit writes.
        tables: the arrays, and their metadata as of the last commit.

    Args:
        backend: where the store lies.
        root: its root; of a new store, what it will be.
        tables: its arrays, open for writing.
    """

    def __init__(self, backend: Backend, root: Root, tables: TableWriter):
        self.metadata, self.tables = root.metadata, tables
        self._backend, self._root = backend, root

    @property
    def last(self) -> Commit:
        """The last commit."""
        return self._root.commit

    def publish(self, commit: Commit, changed: Mapping[str, dict[str, Any]], *, durable: bool = True) -> None:
        """Make a commit visible.

        If that fails although readers see it, as where its folder cannot be synced, it is `last` nevertheless.

        Args:
            commit: the commit.
            changed: the metadata of the arrays and groups that it changed, by path.
            durable: whether no power cut can bring the commit before back, so that what only that one speaks of may
                go. Otherwise it is durable with the next commit that is, or the next sync.

        Raises:
            OSError: the disk is full, or has failed.
        """
        nodes = {**self.tables.nodes, **changed}
        before, closed = self._root, commit.status != RECORDING
        arrays = {
            name: before.arrays[name]
            if name in before.arrays and before.nodes[name] == node
            else ArrayNode.from_json(name, node, self._backend.path)
            for name, node in nodes.items()
            if node["node_type"] == "array"
        }
        chunks = list_checksums(self._backend, arrays.values(), before.arrays, before.chunks, closed=closed)
        root = Root(self.metadata, commit, nodes, arrays, chunks=chunks)
        root = root if closed else replace(root, ends=self._ends(root))
        try:
            write_root(self._backend, root, durable=durable)
        except OSError:
            if holds_root(self._backend, root):
                self.tables.nodes, self._root = nodes, root
            raise
        self.tables.nodes, self._root = nodes, root

    def _ends(self, root: Root) -> Ends:
        """Return the checksums of the rows in chunks that others will join, which the root to be written lists."""
        arrays = ArrayReader(self._backend, root)
        return list_ends(
            root.arrays.values(),
            self._root.arrays,
            self._root.ends,
            lambda name, start, stop: arrays.read(name, stop, start),
        )

    def cut_back(self, step: int, events: tuple[Event, ...]) -> Commit:
        """Return the commit that takes back what is of later steps.

        Args:
            step: the last step that stays.
            events: the events that stay.

        Returns:
            The commit, of a run that is recorded on.

        Raises:
            StoreError: rows would join a chunk that is damaged, missing, or not the one that was committed.
        """
        before, count = self.last, self.tables.count
        commit = replace(
            before,
            status=RECORDING,
            steps=count("step", before.steps, step),
            metrics=count("metrics/step", before.metrics, step - 1),
            snapshots=count("snapshots/step", before.snapshots, step),
            origins=count("origins/step", before.origins, step),
            sketches=count("sketches/step", before.sketches, step),
            generation=before.generation + 1,
            events=events,
        )
        self._check_ends(commit)
        return commit

    def _check_ends(self, commit: Commit) -> None:
        """Check the chunks that rows will join: what is written on is listed as the run's own."""
        arrays, lengths = ArrayReader(self._backend, self._root), commit.to_json()["committed"]
        for name, array in self._root.arrays.items():
            stop = lengths.get(table_of(name, self.tables.nodes[name]), 0)
            if joined := stop % array.chunk_shape[0]:
                arrays.read(name, stop, stop - joined)

    def compact(self) -> None:
        """Put the rows of a closed run into larger chunks; if that fails, as on a full disk, it stays as it is."""
        nodes = larger_chunks(self.tables.nodes)
        if not nodes:
            return
        try:
            write_chunks(Moment.now(self._backend), self.tables.group.store, nodes)
        except (StoreError, OSError):
            nodes = {}
        self.publish(self.last, nodes)
        self.tables.trim()
