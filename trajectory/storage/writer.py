"""The write side of a run's Zarr store: create, append, commit, close. Format: docs/format.md.

Rows go to the journal as they arrive and to the arrays in whole chunks. Everything the arrays hold
becomes visible in one step, the atomic rewrite of the root's metadata; the order is always data
first, then that commit, then the old journal is removed. A process killed between any two of these
leaves a store that opens with every row the journal took. Going back to an earlier step is a commit
of smaller counts.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
import zarr

from trajectory.errors import StoreError
from trajectory.schema.commit import RECORDING, Commit, table_of
from trajectory.schema.layout import (
    FORMAT,
    ROWS_PER_CHUNK,
    Event,
    RowColumns,
    TensorSpec,
    is_begun,
    metric_array,
    metric_name,
    part_array,
    read_node,
    read_root,
    write_root,
)
from trajectory.schema.shards import Part, part_sizes
from trajectory.storage import journal
from trajectory.storage import reader as tail
from trajectory.storage.arrays import create_arrays, create_column, extend, extend_snapshot
from trajectory.storage.backend import Place, first_line
from trajectory.storage.journal import Journal
from trajectory.storage.lock import Claim, given_back_on_error
from trajectory.storage.shard_writer import PartWriter, stored_origins


class Store:
    """A store open for writing by one process; made by `create` or `reopen`.

    Its methods may be called from several threads.
    """

    def __init__(self, place: Place, claim: Claim | None, attributes: Mapping[str, Any]):
        self.place = place
        self._claim = claim
        self._attributes = attributes
        self._columns = RowColumns.of(attributes)
        self._lock = threading.Lock()
        self._rows: list[np.ndarray] = []
        self._metrics: dict[int, dict[str, float]] = {}
        self._metric_names: list[str] = []
        self._events: list[Event] = []
        self._nodes: dict[str, dict[str, Any]] = {}
        self._committed = Commit()
        self._parts: dict[str, PartWriter] = {}  # of this rank, where a model is sharded: by group
        self._journal: Journal
        self._group: zarr.Group

    @classmethod
    def create(
        cls,
        place: Place,
        parameters: Sequence[TensorSpec],
        buffers: Sequence[TensorSpec],
        *,
        parts: Sequence[Part] = (),
        origins: Sequence[int] = (),
        weight_dtype: str,
        buffer_bytes: int,
        attributes: Mapping[str, Any],
        overwrite: bool,
    ) -> Self:
        """A new, empty store at `place`.

        parameters, buffers: the tensors a snapshot holds, in order; weight_dtype: how snapshots keep weights.
        parts: which rank writes which part of the parameters, where they are sharded; this process is rank 0.
        origins: steps other than 0 that distances are also measured from.
        attributes: JSON-able facts about the run, kept in the root's `ultraslow` attribute.
        Raises StoreError if a store is there and `overwrite` is False, if another recorder is writing there,
        or if the place cannot be written.
        """
        facts = {
            "format": FORMAT,
            **attributes,
            "origins": list(origins),
            "parameters": [spec.to_json() for spec in parameters],
            "buffers": [spec.to_json() for spec in buffers],
            "ranks": list(part_sizes(parts)),
        }
        try:
            _make_way(place, overwrite)
            claim = place.claim()
            with given_back_on_error(claim):
                store = cls(place, claim, facts)
                store._journal = place.journal(0)
                store._journal.sync()
                store._group = zarr.open_group(place.root, mode="a", zarr_format=3)
                made = create_arrays(store._group, facts, parameters, parts, weight_dtype, buffer_bytes)
                store._write_parts()
                store._publish(Commit(), store._read_nodes(made))
        except StoreError:
            raise
        except Exception as error:  # a remote store's own kinds
            reason = error.strerror if isinstance(error, OSError) else first_line(error)
            raise StoreError(
                f"{place.path}: cannot write a run there ({reason}); choose a place that can be written"
            ) from error
        return store

    @classmethod
    def reopen(cls, place: Place) -> Self:
        """The store at `place`, with the rows of its journal if its process was killed.

        A killed run's store can be closed as it is; any store goes on after `cut`. Raises StoreError if it is
        no run, or if a recorder is writing there.
        """
        read_root(place)
        claim = place.claim()
        with given_back_on_error(claim):
            return cls._reopen(place, claim)

    @classmethod
    def _reopen(cls, place: Place, claim: Claim | None) -> Self:
        facts, newest = tail.read(place)
        store = cls(place, claim, {key: value for key, value in facts.items() if key not in Commit().to_json()})
        store._group = zarr.open_group(place.root, mode="r+", use_consolidated=False)
        store._nodes = read_root(place)["consolidated_metadata"]["metadata"]
        store._committed = Commit.from_json(facts)
        store._rows, store._metrics = [newest.rows], newest.metrics
        store._events = [*store._committed.events, *newest.events]
        columns = [name.removeprefix("metrics/") for name in store._nodes if name.startswith("metrics/")]
        store._metric_names = [metric_name(column) for column in columns if column != "step"]
        store._journal = place.journal(store._committed.generation, append=facts["journal"] is not None)
        store._trim()
        store._write_parts()
        return store

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `create` was told, as the root keeps it."""
        return self._attributes

    @property
    def events(self) -> Sequence[Event]:
        """All events so far, in order."""
        return tuple(self._events)

    def scalars(self, step: int) -> dict[str, float]:
        """What was logged at `step`, if that is the newest step anything was logged at."""
        with self._lock:
            return dict(self._metrics.get(step, {}))

    def origins(self, last: int) -> dict[int, np.ndarray]:
        """The weights at w_0 and the origins up to step `last`, by step, flat as `append_origin` got them.

        Raises StoreError if stored bytes are damaged.
        """
        return stored_origins(self.place, part_array(0) if self._parts else "weights", last)

    def append_rows(self, rows: np.ndarray) -> None:
        """Adds recorded steps: float64 (n, width), columns as in `RowColumns`."""
        with self._lock:
            self._journal.append_rows(rows)
            self._rows.append(rows)
            if sum(map(len, self._rows)) >= ROWS_PER_CHUNK:
                self._commit()

    def append_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Adds scalars; several entries of one step end up in one row."""
        with self._lock:
            self._journal.append_json(journal.METRICS, entries)
            for step, scalars in entries:
                self._metrics.setdefault(step, {}).update(scalars)
            if len(self._metrics) > ROWS_PER_CHUNK:
                self._commit()

    def append_event(self, event: Event) -> None:
        """Adds an event; it joins the root's attributes at the next commit of rows."""
        with self._lock:
            self._journal.append_json(journal.EVENT, [event.step, event.name, event.details])
            self._events.append(event)

    def append_snapshot(self, step: int, weights: np.ndarray, buffers: np.ndarray) -> None:
        """Adds a snapshot: all weights flattened, and the buffers' bytes.

        The large write happens outside the lock, so that rows never wait for it; one thread at a time
        may append snapshots.
        """
        parts = self._parts.get("snapshots")
        k = parts.begin() if parts else self._committed.snapshots
        rows = {"buffers": buffers, "step": np.array(step)}
        if parts:
            extend_snapshot(self._group, k, rows)
            parts.write(k, weights)
        else:
            extend_snapshot(self._group, k, {"weights": weights, **rows})
            self.commit_parts(k + 1, 0)

    @property
    def written(self) -> tuple[int, int]:
        """How many snapshots and origins this process has written its part of."""
        if not self._parts:
            return self._committed.snapshots, self._committed.origins
        return self._parts["snapshots"].written, self._parts["origins"].written

    def commit_parts(self, snapshots: int, origins: int) -> None:
        """Makes the first snapshots and origins visible: every rank has written its part of so many."""
        with self._lock:
            before = self._committed
            commit = replace(before, snapshots=max(snapshots, before.snapshots), origins=max(origins, before.origins))
            if commit != before:
                self._publish(commit, self._cut_nodes(commit))  # a faster rank may be further

    def append_origin(self, step: int, weights: np.ndarray) -> None:
        """Keeps the weights that distances are measured from; in order of step, from the thread of snapshots."""
        parts = self._parts.get("origins")
        k = parts.begin() if parts else self._committed.origins
        extend(self._group, "origins/step", k, np.array([step]))
        if parts:
            parts.write(k, weights)
            return
        extend(self._group, "origins/weights", k, weights[None])
        self.commit_parts(0, k + 1)

    def append_sketch(self, step: int, values: np.ndarray) -> None:
        """Adds a sketch, (layer, bucket), from the thread of rows."""
        with self._lock:
            k = self._committed.sketches
            extend(self._group, "sketches/values", k, values[None].astype("float32"))
            extend(self._group, "sketches/step", k, np.array([step]))
            commit = replace(self._committed, sketches=k + 1)
            self._publish(commit, self._read_nodes(["sketches/values", "sketches/step"]))

    def cut(self, step: int, events: int | None = None) -> None:
        """Takes back what was recorded after `step` updates; the store then goes on from there.

        events: how many of them stay, since the last may be of `step` too and yet be filed again; default: all up
        to `step`. One commit takes it all back: a process killed before it leaves the store as it was, one
        killed after it leaves it cut.
        """
        with self._lock:
            before = self._committed
            scalars = self._metrics.get(step) or self._stored_scalars(step)
            rows = np.concatenate([np.empty((0, self._columns.width)), *self._rows])
            rows = rows[rows[:, 0] <= step]
            metrics = {at: values for at, values in self._metrics.items() if at < step}
            metrics |= {step: scalars} if scalars else {}  # may still be logged to
            kept = [event for event in self._events if event.step <= step][:events]
            commit = replace(
                before,
                status=RECORDING,
                steps=self._count("step", before.steps, step),
                metrics=self._count("metrics/step", before.metrics, step - 1),
                snapshots=self._count("snapshots/step", before.snapshots, step),
                origins=self._count("origins/step", before.origins, step),
                sketches=self._count("sketches/step", before.sketches, step),
                generation=before.generation + 1,
                events=tuple(kept),
            )
            self._attributes = {**self._attributes, "resumed": [*self._attributes.get("resumed", ()), step]}
            self._turn_over(commit, self._cut_nodes(commit), rows, metrics)
            self._events = kept
            self._trim()
            self._write_parts()

    def sync(self) -> None:
        """Waits until everything appended so far outlives the process."""
        with self._lock:
            self._journal.sync()

    def close(self, status: str) -> None:
        """Moves the journal's rows into the arrays and marks how the run ended: "complete" or why not."""
        with self._lock:
            self._journal.sync()  # if the commit fails, the last rows are kept all the same
            self._commit(status)
            self._journal.remove()
        self._give_free()

    def release(self) -> None:
        """Leaves the store as it is."""
        if self._committed.status == RECORDING:
            self._journal.close()
        else:
            self._journal.remove()
        self._give_free()

    def _write_parts(self) -> None:
        """Goes on writing this rank's parts behind those committed."""
        if self._attributes.get("ranks"):
            counts = {"snapshots": self._committed.snapshots, "origins": self._committed.origins}
            self._parts = {group: PartWriter(self.place, 0, group, count) for group, count in counts.items()}

    def _give_free(self) -> None:
        if self._claim is not None:
            self._claim.close()

    def _commit(self, status: str = RECORDING) -> None:
        """Moves rows from the journal to the arrays: as many as fill whole chunks, or all if the run ends.

        An error on the way leaves the store, and this object, at the commit before.
        """
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, self._columns.width))
        metrics = list(self._metrics.items())
        before = self._committed
        if status == RECORDING:
            n_rows = _whole_chunks(before.steps, len(rows))
            # The last step may still be logged to, so it stays in the journal until the run moves on.
            n_metrics = _whole_chunks(before.metrics, len(metrics) - 1)
        else:
            n_rows, n_metrics = len(rows), len(metrics)
        written = self._write_rows(rows[:n_rows]) + self._write_metrics(metrics[:n_metrics])
        commit = replace(
            before,
            status=status,
            steps=before.steps + n_rows,
            metrics=before.metrics + n_metrics,
            generation=before.generation + 1,
            events=tuple(self._events),
        )
        self._turn_over(commit, self._read_nodes(written), rows[n_rows:], dict(metrics[n_metrics:]))

    def _turn_over(
        self,
        commit: Commit,
        nodes: Mapping[str, dict[str, Any]],
        rows: np.ndarray,
        metrics: dict[int, dict[str, float]],
    ) -> None:
        """Publishes a commit together with a new journal, of the rows that the arrays do not hold."""
        fresh = self.place.journal(commit.generation)
        try:
            fresh.append_rows(rows)
            fresh.append_json(journal.METRICS, list(metrics.items()))
            fresh.sync()
            self._publish(commit, nodes)
        except Exception:
            fresh.close()
            raise
        old, self._journal = self._journal, fresh
        self._rows, self._metrics = [rows], metrics
        old.remove()

    def _write_rows(self, rows: np.ndarray) -> list[str]:
        """Writes behind the committed rows; returns the arrays written to."""
        if len(rows) == 0:
            return []
        columns = self._columns.split(rows)
        for name, values in columns.items():
            extend(self._group, name, self._committed.steps, values)
        return list(columns)

    def _write_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> list[str]:
        """Likewise; a scalar's first appearance makes its array."""
        if len(entries) == 0:
            return []
        start = self._committed.metrics
        for name in dict.fromkeys(name for _, scalars in entries for name in scalars):
            if name not in self._metric_names:
                create_column(self._group, f"metrics/{metric_array(name)}", "float64", ["step"], length=start)
                self._metric_names.append(name)
        columns = {
            metric_array(name): np.array([scalars.get(name, np.nan) for _, scalars in entries])
            for name in self._metric_names
        }
        columns["step"] = np.array([step for step, _ in entries])
        for array, values in columns.items():
            extend(self._group, f"metrics/{array}", start, values)
        return [f"metrics/{array}" for array in columns]

    def _count(self, steps: str, committed: int, last: int) -> int:
        """How many of the committed rows are of a step up to `last`."""
        if committed == 0:
            return 0
        stored = np.asarray(cast(zarr.Array, self._group[steps])[:committed])
        return int(np.searchsorted(stored, last, side="right"))

    def _stored_scalars(self, step: int) -> dict[str, float]:
        """What the arrays hold of `step`."""
        row = self._count("metrics/step", self._committed.metrics, step) - 1
        group = cast(zarr.Group, self._group["metrics"])
        if row < 0 or np.asarray(cast(zarr.Array, group["step"])[row]) != step:
            return {}
        values = {
            name: float(np.asarray(cast(zarr.Array, group[metric_array(name)])[row])) for name in self._metric_names
        }
        return {name: value for name, value in values.items() if not np.isnan(value)}

    def _cut_nodes(self, commit: Commit) -> dict[str, dict[str, Any]]:
        """The metadata of every array that has a row for each step, at the commit's lengths."""
        lengths = commit.to_json()["committed"]
        tables = {name: table_of(name, node) for name, node in self._nodes.items()}
        return {
            name: self._nodes[name] | {"shape": [lengths[table], *self._nodes[name]["shape"][1:]]}
            for name, table in tables.items()
            if table
        }

    def _trim(self) -> None:
        """Removes what lies in the arrays beyond the commit."""
        for name, node in self._nodes.items():
            if table_of(name, node) and read_node(self.place, name)["shape"] != node["shape"]:
                cast(zarr.Array, self._group[name]).resize(node["shape"])

    def _read_nodes(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {name: read_node(self.place, name) for name in names}

    def _publish(self, commit: Commit, changed: Mapping[str, dict[str, Any]]) -> None:
        """Makes a commit visible, with the metadata of the nodes it changed."""
        nodes = {**self._nodes, **changed}
        write_root(self.place, {"ultraslow": {**self._attributes, **commit.to_json()}}, nodes)
        self._nodes, self._committed = nodes, commit


def _whole_chunks(stored: int, more: int) -> int:
    """How many of `more` rows to store behind those there, so that the last chunk is full."""
    return max(more - (stored + more) % ROWS_PER_CHUNK, 0)


def _make_way(place: Place, overwrite: bool) -> None:
    """Room for a new store. Only a run is ever removed, never something else."""
    if not place.is_free():
        begun = is_begun(place)
        if not (overwrite or begun):
            raise StoreError(
                f"{place.path}: already exists; choose another path, or overwrite=True to replace the run there"
            )
        if not begun:
            read_root(place)
        claim = place.claim()
        if claim is not None:
            claim.close()
    place.clear()
