"""The write side of a run's Zarr store: create, append, commit, close. Format: docs/format.md.

Rows go to the journal as they arrive and to the arrays in whole chunks: first the data are written, then a commit
makes them visible, then the old journal is removed. A process killed between any two of these leaves a store that
opens with every row the journal took. Going back to an earlier step is a commit of smaller counts.
"""

# ruff: noqa: D102 (`RunWriter` says what the methods without docstrings do)

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trajectory.schedule import Schedule
from trajectory.schema.commit import RECORDING, Commit
from trajectory.schema.layout import Event
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.schedules import add_period
from trajectory.storage.arrays import read_rows
from trajectory.storage.backend import Backend, writing_on
from trajectory.storage.commit_writer import CommitWriter
from trajectory.storage.continuation import check_continues, check_events
from trajectory.storage.copy_writer import CopyWriter
from trajectory.storage.journal import Journal
from trajectory.storage.journal_records import EVENT, METRICS
from trajectory.storage.lock import RunLock, in_place
from trajectory.storage.reader import UncommittedRows
from trajectory.storage.run_writer import RunWriter


class StoreWriter(RunWriter):
    """Writes a store that is open for writing by one process; made by `create_store` or `reopen_store`.

    Its methods may be called from several threads.

    Args:
        backend: where the store lies.
        lock: the lock held on it, if there is one.
        commits: writes its root.
        journal: the journal that continues the arrays, open for writing.
        uncommitted: what that holds.
        schedule: the steps that will be recorded after `cut`; None if that is not known.
    """

    def __init__(
        self,
        backend: Backend,
        lock: RunLock | None,
        commits: CommitWriter,
        journal: Journal,
        uncommitted: UncommittedRows,
        schedule: Schedule | None = None,
    ):
        self.backend, self._run_lock, self._journal = backend, lock, journal
        self._commits, self._tables, self._schedule = commits, commits.tables, schedule
        self._lock = threading.Lock()
        self._rows, self._metrics = [uncommitted.rows], uncommitted.metrics
        self._events = [*commits.last.events, *uncommitted.events]
        self._copies = CopyWriter(backend, lock, commits, self._lock)

    @property
    def metadata(self) -> RunMetadata:
        """What the root says of the run."""
        return self._commits.metadata

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

    @property
    def metric_arrays(self) -> Mapping[str, str]:
        with self._lock:
            return self._tables.metric_arrays(name for scalars in self._metrics.values() for name in scalars)

    def scalars(self, step: int) -> dict[str, float]:
        with self._lock:
            return dict(self._metrics.get(step, {}))

    def origins(self, last: int) -> dict[int, np.ndarray]:
        return self._copies.origins(last)

    def append_rows(self, rows: np.ndarray) -> None:
        with self._lock:
            self._journal.append_rows(rows)
            self._rows.append(rows)
            if sum(map(len, self._rows)) >= self._tables.batch("step"):
                with in_place(self._run_lock):
                    self._commit()

    def append_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        with self._lock:
            self._journal.append_json(METRICS, entries)
            for step, scalars in entries:
                self._metrics.setdefault(step, {}).update(scalars)
            # A chunk of scalars fills one step behind that of the rows, and moves with the next commit of rows.
            if len(self._metrics) > 2 * self._tables.batch("metrics"):
                with in_place(self._run_lock):
                    self._commit()

    def append_event(self, event: Event) -> None:
        """Add an event; it joins the root's attributes at the next commit of rows.

        Args:
            event: what happened.
        """
        with self._lock:
            self._journal.append_json(EVENT, [event.step, event.name, event.details])
            self._events.append(event)

    def append_snapshot(self, step: int, weights: np.ndarray, buffers: np.ndarray) -> None:
        self._copies.append_snapshot(step, weights, buffers)

    @property
    def written(self) -> tuple[int, int]:
        return self._copies.written

    def commit_shards(self, snapshots: int, origins: int) -> None:
        self._copies.commit(snapshots, origins)

    def append_origin(self, step: int, weights: np.ndarray) -> None:
        self._copies.append_origin(step, weights)

    def append_sketch(self, step: int, values: np.ndarray) -> None:
        self._copies.append_sketch(step, values)

    def check_step(self, step: int, events: int | None = None) -> None:
        with self._lock:
            committed = read_rows(self._tables.group, "step", self._commits.last.steps)
            steps = np.concatenate([committed, *(rows[:, 0] for rows in self._rows)])
        check_continues(self.backend.path, steps, self.metadata.schedules, self._schedule, step)
        check_events(self.backend.path, len(self._events), events, step)

    def cut(self, step: int, events: int | None = None) -> None:
        """Take back what was recorded after a step; the run then resumes from there.

        One commit takes it all back: a process killed before it leaves the store as it was, one killed after it
        leaves it cut.

        Args:
            step: the last step that stays.
            events: how many events stay, since the last may be of `step` too and yet be filed again; None: all up to
                `step`.

        Raises:
            StoreError: the disk is full, or a chunk that rows would join is damaged.
        """
        with self._lock, writing_on(self.backend):
            scalars = self._metrics.get(step) or self._tables.scalars(step, self._commits.last.metrics)
            rows = np.concatenate(self._rows)
            rows = rows[rows[:, 0] <= step]
            metrics = {at: values for at, values in self._metrics.items() if at < step}
            metrics |= {step: scalars} if scalars else {}  # may still be logged to
            stay = [event for event in self._events if event.step <= step][:events]
            commit = self._commits.cut_back(step, tuple(stay))
            self._commits.metadata = replace(
                self.metadata,
                resumed=(*self.metadata.resumed, step),
                schedules=add_period(self.metadata.schedules, step, self._schedule),
            )
            self._turn_over(commit, self._tables.nodes_at(commit), rows, metrics)
            self._events = stay
            self._tables.trim()
            self._copies.open_shards()

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
                with in_place(self._run_lock):
                    self._commit(status)
                    self._commits.compact()
                    self.backend.sync()
        finally:
            self.release()

    def release(self) -> None:
        try:
            if self._commits.last.status == RECORDING:
                self._journal.close()
            else:
                self._journal.remove()
        finally:
            if self._run_lock is not None:
                self._run_lock.release()

    def _commit(self, status: str = RECORDING) -> None:
        """Move rows from the journal to the arrays: as many as fill whole chunks, or all if the run ends.

        An error on the way leaves the store, and this object, at the commit before.
        """
        rows, metrics, before = np.concatenate(self._rows), list(self._metrics.items()), self._commits.last
        if status == RECORDING:
            n_rows = self._tables.whole_batches("step", before.steps, len(rows))
            # The last step may still be logged to, so it stays in the journal until the run moves on.
            n_metrics = self._tables.whole_batches("metrics", before.metrics, len(metrics) - 1)
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

    def _turn_over(
        self,
        commit: Commit,
        nodes: Mapping[str, dict[str, Any]],
        rows: np.ndarray,
        metrics: dict[int, dict[str, float]],
    ) -> None:
        """Publish a commit together with a new journal, of the rows that the arrays do not hold.

        Where that fails, the journal that the root names is the one written on. A power cut may bring the former root
        back if it fails late, and so the former journal stays.
        """
        fresh, before = self.backend.journal(commit.generation), self._journal
        try:
            fresh.begin(self.metadata.id, commit.generation)
            fresh.append_rows(rows)
            fresh.append_json(METRICS, list(metrics.items()))
            fresh.sync(durable=True)
            self._commits.publish(commit, nodes)
        except Exception:
            (before if self._commits.last == commit else fresh).close()
            raise
        else:
            before.remove()
        finally:
            if self._commits.last == commit:
                self._journal, self._rows, self._metrics = fresh, [rows], metrics
