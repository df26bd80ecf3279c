"""The write side of a run's Zarr store: create, append, commit, close. Format: docs/format.md.

Rows go to the journal as they arrive and to the arrays in whole chunks. Everything the arrays hold
becomes visible in one step, the atomic rewrite of the root's metadata; the order is always data
first, then that commit, then the old journal is removed. A process killed between any two of these
leaves a store that opens with every row the journal took.
"""

import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from trajectory import journal, tail
from trajectory.claim import Claim
from trajectory.errors import StoreError
from trajectory.journal import Journal
from trajectory.layout import (
    DIMENSIONS,
    FORMAT,
    ROWS_PER_CHUNK,
    Event,
    RowColumns,
    TensorSpec,
    journal_path,
    metric_array,
    metric_name,
    read_node,
    read_root,
    write_root,
)

RECORDING = "recording"
_STREAM = (ZstdCodec(level=1), Crc32cCodec())
_RAW = (Crc32cCodec(),)  # weights hardly compress


class Store:
    """A store open for writing by one process; made by `create` or `recover`.

    Its methods may be called from several threads.
    """

    def __init__(self, path: Path, claim: Claim, attributes: Mapping[str, Any]):
        self.path = path
        self._claim = claim
        self._attributes = attributes
        self._columns = RowColumns.of(attributes)
        self._lock = threading.Lock()
        self._rows: list[np.ndarray] = []
        self._metrics: dict[int, dict[str, float]] = {}
        self._metric_names: list[str] = []
        self._events: list[Event] = []
        self._nodes: dict[str, dict[str, Any]] = {}
        self._committed = _Commit()
        self._journal: Journal
        self._group: zarr.Group

    @classmethod
    def create(
        cls,
        path: Path,
        parameters: Sequence[TensorSpec],
        buffers: Sequence[TensorSpec],
        *,
        origins: Sequence[int] = (),
        weight_dtype: str,
        buffer_bytes: int,
        attributes: Mapping[str, Any],
        overwrite: bool,
    ) -> Self:
        """A new, empty store at `path`.

        parameters, buffers: the tensors a snapshot holds, in order; weight_dtype: how snapshots keep weights.
        origins: steps other than 0 that distances are also measured from.
        attributes: JSON-able facts about the run, kept in the root's `ultraslow` attribute.
        Raises StoreError if a store is there and `overwrite` is False, if another recorder is writing there,
        or if the path cannot be written.
        """
        facts = {
            "format": FORMAT,
            **attributes,
            "origins": list(origins),
            "parameters": [spec.to_json() for spec in parameters],
            "buffers": [spec.to_json() for spec in buffers],
        }
        try:
            _make_way(path, overwrite)
            store = cls(path, Claim(path), facts)
            store._journal = Journal(journal_path(path, 0))
            store._publish(_Commit(), store._create_arrays(parameters, weight_dtype, buffer_bytes))
        except OSError as error:
            raise StoreError(
                f"{path}: cannot write a run there ({error.strerror}); choose a folder that can be written"
            ) from error
        return store

    @classmethod
    def recover(cls, path: Path) -> Self:
        """The store a killed process left at `path`, with the rows of its journal; close it to commit them.

        Raises StoreError if it is no run, if a recorder is writing there, or if it was closed.
        """
        root = read_root(path)
        claim = Claim(path)
        facts, newest = tail.read(path)
        if facts["journal"] is None:
            claim.close()
            raise StoreError(f"{path}: was closed and needs no recovery; its status is {facts['status']!r}")
        store = cls(path, claim, {key: value for key, value in facts.items() if key not in _Commit().to_json()})
        store._group = zarr.open_group(path, mode="r+", use_consolidated=False)
        store._nodes = root["consolidated_metadata"]["metadata"]
        store._committed = _Commit.from_json(facts)
        store._rows, store._metrics = [newest.rows], newest.metrics
        store._events = [*store._committed.events, *newest.events]
        columns = [name.removeprefix("metrics/") for name in store._nodes if name.startswith("metrics/")]
        store._metric_names = [metric_name(column) for column in columns if column != "step"]
        store._journal = Journal(journal_path(path, facts["journal"]), append=True)
        return store

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
        k = self._committed.snapshots
        columns = {"weights": weights[None], "buffers": buffers[None], "step": np.array([step])}
        for name, values in columns.items():
            self._extend(f"snapshots/{name}", k, values)
        with self._lock:
            self._publish(replace(self._committed, snapshots=k + 1), [f"snapshots/{name}" for name in columns])

    def close(self, status: str) -> None:
        """Moves the journal's rows into the arrays and marks how the run ended: "complete" or why not."""
        with self._lock:
            self._commit(status)
            self._journal.close()
            self._journal.path.unlink()
        self._claim.close()

    def _create_arrays(self, parameters: Sequence[TensorSpec], weight_dtype: str, n_bytes: int) -> list[str]:
        """Makes all arrays but the metrics'; returns the nodes made."""
        names, origins, n_weights = self._columns.layers, self._columns.origins, sum(spec.size for spec in parameters)
        self._group = root = zarr.open_group(self.path, mode="a", zarr_format=3)
        parameter = root.create_array("parameter", shape=(len(names),), dtype=str, dimension_names=["parameter"])
        parameter[:] = np.array(names, dtype=object)
        root.create_group("metrics")
        root.create_group("snapshots")
        if origins:
            origin = root.create_array("origin", shape=(len(origins),), dtype="int64", dimension_names=["origin"])
            origin[:] = np.array(origins)
        sizes = {"origin": len(origins), "parameter": len(names)}
        streams = self._columns.split(np.empty((0, self._columns.width)))
        for name, values in streams.items():
            across = tuple(sizes[dimension] for dimension in DIMENSIONS[name][1:])
            self._create_column(name, str(values.dtype), DIMENSIONS[name], across=across)
        self._create_column("metrics/step", "int64", ["step"])
        self._create_column("snapshots/step", "int64", ["snapshot"])
        for name, dtype, width in (("weights", weight_dtype, n_weights), ("buffers", "uint8", n_bytes)):
            root.create_array(
                f"snapshots/{name}",
                shape=(0, width),
                chunks=(1, max(width, 1)),
                dtype=dtype,
                compressors=_RAW,
                dimension_names=["snapshot", name.removesuffix("s")],
            )
        groups = [
            "metrics",
            "metrics/step",
            "snapshots",
            *(f"snapshots/{name}" for name in ("step", "weights", "buffers")),
        ]
        return ["parameter", *(["origin"] if origins else []), *streams, *groups]

    def _create_column(
        self, name: str, dtype: str, dimensions: Sequence[str], *, length: int = 0, across: tuple[int, ...] = ()
    ) -> None:
        """An array of `length` rows, -1 (integers) or NaN where nothing is written."""
        self._group.create_array(
            name,
            shape=(length, *across),
            chunks=(ROWS_PER_CHUNK, *(max(size, 1) for size in across)),
            dtype=dtype,
            fill_value=-1 if dtype == "int64" else float("nan"),
            compressors=_STREAM,
            dimension_names=dimensions,
        )

    def _extend(self, name: str, start: int, values: np.ndarray) -> None:
        array = cast(zarr.Array, self._group[name])
        array.resize((start + len(values), *array.shape[1:]))
        array[start:] = values

    def _commit(self, status: str = RECORDING) -> None:
        """Moves rows from the journal to the arrays: as many as fill whole chunks, or all if the run ends.

        An error on the way leaves the store, and this object, at the commit before.
        """
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, self._columns.width))
        metrics = list(self._metrics.items())
        if status == RECORDING:
            n_rows = len(rows) - len(rows) % ROWS_PER_CHUNK
            # The last step may still be logged to, so it stays in the journal until the run moves on.
            n_metrics = (len(metrics) - 1) // ROWS_PER_CHUNK * ROWS_PER_CHUNK if metrics else 0
        else:
            n_rows, n_metrics = len(rows), len(metrics)
        written = self._write_rows(rows[:n_rows]) + self._write_metrics(metrics[:n_metrics])
        before = self._committed
        commit = replace(
            before,
            status=status,
            steps=before.steps + n_rows,
            metrics=before.metrics + n_metrics,
            generation=before.generation + 1,
            events=tuple(self._events),
        )
        fresh = Journal(journal_path(self.path, commit.generation))
        try:
            fresh.append_rows(rows[n_rows:])
            fresh.append_json(journal.METRICS, metrics[n_metrics:])
            self._publish(commit, written)
        except OSError:
            fresh.close()
            raise
        old, self._journal = self._journal, fresh
        self._rows, self._metrics = [rows[n_rows:]], dict(metrics[n_metrics:])
        old.close()
        old.path.unlink(missing_ok=True)

    def _write_rows(self, rows: np.ndarray) -> list[str]:
        """Writes behind the committed rows; returns the arrays written to."""
        if len(rows) == 0:
            return []
        columns = self._columns.split(rows)
        for name, values in columns.items():
            self._extend(name, self._committed.steps, values)
        return list(columns)

    def _write_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> list[str]:
        """Likewise; a scalar's first appearance makes its array."""
        if len(entries) == 0:
            return []
        start = self._committed.metrics
        for name in dict.fromkeys(name for _, scalars in entries for name in scalars):
            if name not in self._metric_names:
                self._create_column(f"metrics/{metric_array(name)}", "float64", ["step"], length=start)
                self._metric_names.append(name)
        columns = {
            metric_array(name): np.array([scalars.get(name, np.nan) for _, scalars in entries])
            for name in self._metric_names
        }
        columns["step"] = np.array([step for step, _ in entries])
        for array, values in columns.items():
            self._extend(f"metrics/{array}", start, values)
        return [f"metrics/{array}" for array in columns]

    def _publish(self, commit: "_Commit", changed: Iterable[str]) -> None:
        """Makes a commit visible, with the metadata of the nodes it changed."""
        nodes = self._nodes | {name: read_node(self.path, name) for name in changed}
        write_root(self.path, {"ultraslow": {**self._attributes, **commit.to_json()}}, nodes)
        self._nodes, self._committed = nodes, commit


@dataclass(frozen=True)
class _Commit:
    """What the root says of the store's state."""

    status: str = RECORDING
    steps: int = 0
    metrics: int = 0
    snapshots: int = 0
    generation: int = 0
    events: tuple[Event, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "committed": {"step": self.steps, "metrics": self.metrics, "snapshots": self.snapshots},
            "journal": self.generation if self.status == RECORDING else None,
            "events": [[event.step, event.name, event.details] for event in self.events],
        }

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> "_Commit":
        counts = facts["committed"]
        events = tuple(Event(*entry) for entry in facts["events"])
        return _Commit(
            facts["status"], counts["step"], counts["metrics"], counts["snapshots"], facts["journal"], events
        )


def _make_way(path: Path, overwrite: bool) -> None:
    """An empty folder for a new store. Only a run is ever removed, never a folder of something else."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not overwrite:
            raise StoreError(
                f"{path}: already exists; choose another path, or overwrite=True to replace the run there"
            )
        read_root(path)
        Claim(path).close()
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)
