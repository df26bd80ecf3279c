"""The write side of a run's Zarr store: create, append, commit, close. Format: docs/format.md.

Rows go to the journal as they arrive and to the arrays in whole chunks. Everything the arrays hold
becomes visible in one step, the atomic rewrite of the root's metadata; the order is always data
first, then that commit, then the old journal is removed. A process killed between any two of these
leaves a store that opens with every row the journal took. Going back to an earlier step is a commit
of smaller counts.
"""

# ruff: noqa: D102 (`RunWriter` says what the methods without docstrings do)

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import zarr

from trajectory.errors import StoreError, first_line
from trajectory.schedule import Schedule
from trajectory.schema.commit import RECORDING, Commit
from trajectory.schema.layout import Event, shard_array
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.schedules import add_period, find_gap
from trajectory.schema.shards import Shard, shard_sizes
from trajectory.storage import journal
from trajectory.storage.arrays import create_arrays, extend, extend_snapshot, read_rows
from trajectory.storage.backend import Backend
from trajectory.storage.compaction import larger_chunks, write_chunks
from trajectory.storage.journal import Journal
from trajectory.storage.lock import RunLock, released_on_error
from trajectory.storage.moment import Moment
from trajectory.storage.reader import read_store
from trajectory.storage.root import Root, is_begun, read_root, write_root
from trajectory.storage.run_writer import RunWriter
from trajectory.storage.shard_writer import ShardWriter
from trajectory.storage.snapshot_reader import read_origins
from trajectory.storage.table_writer import TableWriter


class StoreWriter(RunWriter):
    """Writes a store that is open for writing by one process; made by `create` or `reopen`.

    Its methods may be called from several threads.

    Args:
        backend: where the store lies.
        lock: the lock held on it, if there is one.
        metadata: the run's.
    """

    def __init__(self, backend: Backend, lock: RunLock | None, metadata: RunMetadata):
        self.backend, self.metadata = backend, metadata
        self._run_lock = lock
        self._lock = threading.Lock()
        self._rows: list[np.ndarray] = []
        self._metrics: dict[int, dict[str, float]] = {}
        self._events: list[Event] = []
        self._committed = Commit()
        self._shards: dict[str, ShardWriter] = {}  # of this rank, where a model is sharded: by group
        self._schedule: Schedule | None = None  # of the rows after the next `cut`
        self._journal: Journal
        self._tables: TableWriter

    @classmethod
    def create(
        cls,
        backend: Backend,
        metadata: RunMetadata,
        *,
        shards: Sequence[Shard] = (),
        weight_dtype: str,
        buffer_bytes: int,
        overwrite: bool,
    ) -> Self:
        """Make a new, empty store.

        Args:
            backend: where it is to lie.
            metadata: the run's; its `ranks` are those of `shards`.
            shards: which rank stores which shards of the parameters, where they are sharded; this process is rank 0.
            weight_dtype: the type that holds all weights exactly.
            buffer_bytes: the size of all buffers together.
            overwrite: replace an existing run.

        Returns:
            The store, open for writing.

        Raises:
            StoreError: a store is there and `overwrite` is False, another recorder is writing there, the place cannot
                be written, or the metadata could not be read again.
        """
        metadata = replace(metadata, ranks=tuple(shard_sizes(shards)))
        RunMetadata.from_json(metadata.to_json(), backend.path)
        try:
            _refuse_taken(backend, overwrite)
            backend.make()
            lock = backend.lock()
            with released_on_error(lock):
                _refuse_taken(backend, overwrite)  # another recorder may have been faster
                backend.clear()
                store = cls(backend, lock, metadata)
                store._journal = backend.journal(0)
                store.sync(durable=True)  # without its journal, an empty group is no store being made
                group = zarr.open_group(backend.writable, mode="a", zarr_format=3)
                made = create_arrays(group, metadata, shards, weight_dtype, buffer_bytes)
                store._tables = TableWriter(backend, group, metadata.columns)
                store._open_shards()
                store._publish(Commit(), store._tables.read_nodes(made))
        except StoreError:
            raise
        except Exception as error:  # a remote store's own kinds
            reason = error.strerror if isinstance(error, OSError) else first_line(error)
            raise StoreError(
                f"{backend.path}: cannot write a run there ({reason}); choose a place that can be written"
            ) from error
        return store

    @classmethod
    def reopen(cls, backend: Backend, schedule: Schedule | None = None) -> Self:
        """Open an existing store, with the rows of its journal if its process was killed.

        A killed run's store can be closed as it is; any store can be written on after `cut`.

        Args:
            backend: where it lies.
            schedule: the steps that will be recorded after `cut`; None if that is not known.

        Returns:
            The store, open for writing.

        Raises:
            StoreError: there is no run, a recorder is writing there, or the store holds a symbolic link.
        """
        read_root(backend)
        backend.refuse_links()
        lock = backend.lock()
        with released_on_error(lock):
            store = cls._reopen(backend, lock)
        store._schedule = schedule
        return store

    @classmethod
    def _reopen(cls, backend: Backend, lock: RunLock | None) -> Self:
        root, uncommitted = read_store(backend)
        store = cls(backend, lock, root.metadata)
        group = zarr.open_group(backend.writable, mode="r+", use_consolidated=False)
        store._tables = TableWriter(backend, group, root.metadata.columns, root.nodes)
        store._committed = root.commit
        store._rows, store._metrics = [uncommitted.rows], uncommitted.metrics
        store._events = [*root.commit.events, *uncommitted.events]
        store._journal = backend.journal(root.commit.generation, append=root.commit.journal is not None)
        store._tables.trim()
        store._open_shards()
        return store

    @property
    def id(self) -> str | None:
        """The run's id."""
        return self.metadata.id

    @property
    def origin_norm(self) -> float:
        """‖w_0‖ over the measured parameters."""
        return self.metadata.origin_norm

    @property
    def events(self) -> Sequence[Event]:
        """All events so far, in order."""
        return tuple(self._events)

    def scalars(self, step: int) -> dict[str, float]:
        with self._lock:
            return dict(self._metrics.get(step, {}))

    def origins(self, last: int) -> dict[int, np.ndarray]:
        return read_origins(self.backend, shard_array(0) if self._shards else "weights", last)

    def append_rows(self, rows: np.ndarray) -> None:
        with self._lock:
            self._journal.append_rows(rows)
            self._rows.append(rows)
            if sum(map(len, self._rows)) >= self._tables.batch("step"):
                self._commit()

    def append_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        with self._lock:
            self._journal.append_json(journal.METRICS, entries)
            for step, scalars in entries:
                self._metrics.setdefault(step, {}).update(scalars)
            if len(self._metrics) > self._tables.batch("metrics"):
                self._commit()

    def append_event(self, event: Event) -> None:
        """Add an event; it joins the root's attributes at the next commit of rows.

        Args:
            event: what happened.
        """
        with self._lock:
            self._journal.append_json(journal.EVENT, [event.step, event.name, event.details])
            self._events.append(event)

    def append_snapshot(self, step: int, weights: np.ndarray, buffers: np.ndarray) -> None:
        """Add a snapshot.

        The large write happens outside the lock, so that rows never wait for it; one thread at a time
        may append snapshots.

        Args:
            step: the number of updates made.
            weights: all weights, or this rank's shards of them, flat (n,).
            buffers: all buffers' bytes, uint8 (n,).
        """
        shards = self._shards.get("snapshots")
        k = shards.begin() if shards else self._committed.snapshots
        rows = {"buffers": buffers, "step": np.array(step)}
        if shards:
            extend_snapshot(self._tables.group, k, rows)
            shards.write(k, weights)
        else:
            extend_snapshot(self._tables.group, k, {"weights": weights, **rows})
            self.commit_shards(k + 1, 0)

    @property
    def written(self) -> tuple[int, int]:
        if not self._shards:
            return self._committed.snapshots, self._committed.origins
        return self._shards["snapshots"].written, self._shards["origins"].written

    def commit_shards(self, snapshots: int, origins: int) -> None:
        with self._lock:
            before = self._committed
            commit = replace(before, snapshots=max(snapshots, before.snapshots), origins=max(origins, before.origins))
            if commit != before:
                self._publish(commit, self._tables.nodes_at(commit))  # a faster rank may be further

    def append_origin(self, step: int, weights: np.ndarray) -> None:
        """Save the weights that distances are measured from; in order of step, from the thread of snapshots.

        Args:
            step: the origin.
            weights: all weights, or this rank's shards of them, flat (n,).
        """
        shards = self._shards.get("origins")
        k = shards.begin() if shards else self._committed.origins
        extend(self._tables.group, "origins/step", k, np.array([step]))
        if shards:
            shards.write(k, weights)
            return
        extend(self._tables.group, "origins/weights", k, weights[None])
        self.commit_shards(0, k + 1)

    def append_sketch(self, step: int, values: np.ndarray) -> None:
        """Add a sketch, from the thread of rows.

        Args:
            step: the number of updates made.
            values: (layer, bucket).
        """
        with self._lock:
            k = self._committed.sketches
            extend(self._tables.group, "sketches/values", k, values[None].astype("float32"))
            extend(self._tables.group, "sketches/step", k, np.array([step]))
            commit = replace(self._committed, sketches=k + 1)
            self._publish(commit, self._tables.read_nodes(["sketches/values", "sketches/step"]))

    def check_step(self, step: int, events: int | None = None) -> None:
        with self._lock:
            committed = read_rows(self._tables.group, "step", self._committed.steps)
            steps = np.concatenate([committed, *(rows[:, 0] for rows in self._rows)])
        periods = self.metadata.schedules
        if not periods and find_gap(steps, ((0, self._schedule),), int(max(steps, default=0))) is None:
            periods = ((0, self._schedule),)  # an earlier version's store, recorded by the schedule of now
        if gap := find_gap(steps, periods, step):
            before, missing = gap
            raise StoreError(
                f"{self.backend.path}: holds no row of step {missing}, the next one after {before}, and so cannot be"
                f" resumed after {step} updates; resume from a checkpoint of step {before} or before, or record to"
                " another path"
            )
        if events is not None and events > len(self._events):
            raise StoreError(
                f"{self.backend.path}: holds {len(self._events)} of the {events} events that were filed until step"
                f" {step}; resume from an earlier checkpoint, or record to another path"
            )

    def cut(self, step: int, events: int | None = None) -> None:
        """Take back what was recorded after a step; the run then resumes from there.

        One commit takes it all back: a process killed before it leaves the store as it was, one killed after it
        leaves it cut.

        Args:
            step: the last step that stays.
            events: how many events stay, since the last may be of `step` too and yet be filed again; None: all up to
                `step`.
        """
        with self._lock:
            before = self._committed
            scalars = self._metrics.get(step) or self._tables.scalars(step, before.metrics)
            rows = np.concatenate([np.empty((0, self.metadata.columns.width)), *self._rows])
            rows = rows[rows[:, 0] <= step]
            metrics = {at: values for at, values in self._metrics.items() if at < step}
            metrics |= {step: scalars} if scalars else {}  # may still be logged to
            stay = [event for event in self._events if event.step <= step][:events]
            commit = replace(
                before,
                status=RECORDING,
                steps=self._tables.count("step", before.steps, step),
                metrics=self._tables.count("metrics/step", before.metrics, step - 1),
                snapshots=self._tables.count("snapshots/step", before.snapshots, step),
                origins=self._tables.count("origins/step", before.origins, step),
                sketches=self._tables.count("sketches/step", before.sketches, step),
                generation=before.generation + 1,
                events=tuple(stay),
            )
            self.metadata = replace(
                self.metadata,
                resumed=(*self.metadata.resumed, step),
                schedules=add_period(self.metadata.schedules, step, self._schedule),
            )
            self._turn_over(commit, self._tables.nodes_at(commit), rows, metrics)
            self._events = stay
            self._tables.trim()
            self._open_shards()

    def sync(self, *, durable: bool = False) -> None:
        with self._lock:
            self._journal.sync(durable=durable)
            if durable:
                self.backend.sync()
        if self._run_lock is not None:
            self._run_lock.check()  # a file that is open takes rows, wherever its folder has gone

    def close(self, status: str) -> None:
        """Move the journal's rows into the arrays and mark how the run ended; if that fails, the journal stays.

        Args:
            status: `complete`, or why it ended.
        """
        try:
            with self._lock:
                self._journal.sync(durable=True)  # if the commit fails, the last rows are saved all the same
                self._commit(status)
                self._compact()
                self.backend.sync()
        finally:
            self.release()

    def release(self) -> None:
        try:
            if self._committed.status == RECORDING:
                self._journal.close()
            else:
                self._journal.remove()
        finally:
            self._unlock()

    def _open_shards(self) -> None:
        """Write this rank's shards behind those committed from now on."""
        if self.metadata.ranks:
            counts = {"snapshots": self._committed.snapshots, "origins": self._committed.origins}
            self._shards = {group: ShardWriter(self.backend, 0, group, count) for group, count in counts.items()}

    def _unlock(self) -> None:
        if self._run_lock is not None:
            self._run_lock.release()

    def _commit(self, status: str = RECORDING) -> None:
        """Move rows from the journal to the arrays: as many as fill whole chunks, or all if the run ends.

        An error on the way leaves the store, and this object, at the commit before.
        """
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, self.metadata.columns.width))
        metrics = list(self._metrics.items())
        before = self._committed
        if status == RECORDING:
            n_rows = _whole_batches(before.steps, len(rows), self._tables.batch("step"))
            # The last step may still be logged to, so it stays in the journal until the run moves on.
            n_metrics = _whole_batches(before.metrics, len(metrics) - 1, self._tables.batch("metrics"))
        else:
            n_rows, n_metrics = len(rows), len(metrics)
        written = self._tables.write_rows(before.steps, rows[:n_rows])
        written += self._tables.write_metrics(before.metrics, metrics[:n_metrics])
        commit = replace(
            before,
            status=status,
            steps=before.steps + n_rows,
            metrics=before.metrics + n_metrics,
            generation=before.generation + 1,
            events=tuple(self._events),
        )
        self._turn_over(commit, self._tables.read_nodes(written), rows[n_rows:], dict(metrics[n_metrics:]))

    def _compact(self) -> None:
        """Put the rows into larger chunks; if that fails, as on a full disk, the run stays whole as it is."""
        nodes = larger_chunks(self._tables.nodes)
        if not nodes:
            return
        try:
            write_chunks(Moment.now(self.backend), self._tables.group.store, nodes)
        except (StoreError, OSError):
            nodes = {}
        self._publish(self._committed, nodes)
        self._tables.trim()

    def _turn_over(
        self,
        commit: Commit,
        nodes: Mapping[str, dict[str, Any]],
        rows: np.ndarray,
        metrics: dict[int, dict[str, float]],
    ) -> None:
        """Publish a commit together with a new journal, of the rows that the arrays do not hold."""
        fresh = self.backend.journal(commit.generation)
        try:
            fresh.append_rows(rows)
            fresh.append_json(journal.METRICS, list(metrics.items()))
            fresh.sync(durable=True)
            self._publish(commit, nodes)
        except Exception:
            fresh.close()
            raise
        old, self._journal = self._journal, fresh
        self._rows, self._metrics = [rows], metrics
        old.remove()

    def _publish(self, commit: Commit, changed: Mapping[str, dict[str, Any]]) -> None:
        """Make a commit visible, with the metadata of the nodes that it changed."""
        nodes = {**self._tables.nodes, **changed}
        write_root(self.backend, Root(self.metadata, commit, nodes))
        self._tables.nodes, self._committed = nodes, commit


def _whole_batches(stored: int, more: int, batch: int) -> int:
    """Return how many of `more` rows to store behind those there, so that the last batch is full."""
    return max(more - (stored + more) % batch, 0)


def _refuse_taken(backend: Backend, overwrite: bool) -> None:
    """Check that a new store may be made there. Only a run is ever removed, never something else."""
    if backend.is_free():
        return
    begun = is_begun(backend)
    if not (overwrite or begun):
        raise StoreError(
            f"{backend.path}: already exists; choose another path, or overwrite=True to replace the run there"
        )
    if not begun:
        read_root(backend)
