"""The write side of a run's Zarr store: create, append, commit, close. Format: docs/format.md.

Rows go to the journal as they arrive and to the arrays in whole chunks. Everything the arrays hold
becomes visible in one step, the atomic rewrite of the root's metadata; the order is always data
first, then that commit, then the old journal is removed. A process killed between any two of these
leaves a store that opens with every row the journal took.
"""

import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from trajectory import journal
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
    read_node,
    read_root,
    write_root,
)

_STREAM = (ZstdCodec(level=1), Crc32cCodec())
_RAW = (Crc32cCodec(),)  # weights hardly compress: zstd makes a snapshot 7 % smaller and 2.6 times slower


class Store:
    """A new store at `path`, open for writing by one process. Its methods may be called from several threads.

    parameters, buffers: the tensors a snapshot holds, in order; weight_dtype: how snapshots keep weights.
    origins: steps other than 0 that distances are also measured from.
    attributes: JSON-able facts about the run, kept in the root's `ultraslow` attribute.
    Raises StoreError if a store is there and `overwrite` is False, or if the path cannot be written.
    """

    def __init__(
        self,
        path: Path,
        parameters: Sequence[TensorSpec],
        buffers: Sequence[TensorSpec],
        *,
        origins: Sequence[int] = (),
        weight_dtype: str,
        buffer_bytes: int,
        attributes: Mapping[str, Any],
        overwrite: bool,
    ):
        self.path = path
        self._lock = threading.Lock()
        self._columns = RowColumns(len(parameters), len(origins))
        self._rows: list[np.ndarray] = []
        self._metrics: dict[int, dict[str, float]] = {}
        self._metric_names: list[str] = []
        self._events: list[Event] = []
        self._committed_events: list[Event] = []
        self._counts = {"step": 0, "metrics": 0, "snapshots": 0}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._status = "recording"
        self._generation = 0
        self._attributes = {
            "format": FORMAT,
            **attributes,
            "origins": list(origins),
            "parameters": [spec.to_json() for spec in parameters],
            "buffers": [spec.to_json() for spec in buffers],
        }
        n_weights = sum(spec.size for spec in parameters)
        try:
            _make_way(path, overwrite)
            self._create_arrays([spec.name for spec in parameters], origins, n_weights, weight_dtype, buffer_bytes)
            self._journal = Journal(journal_path(path, 0))
            self._write_root()
        except OSError as error:
            raise StoreError(
                f"{path}: cannot write a run there ({error.strerror}); choose a folder that can be written"
            ) from error

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
        k = self._counts["snapshots"]
        columns = {"weights": weights[None], "buffers": buffers[None], "step": np.array([step])}
        for name, values in columns.items():
            self._extend(f"snapshots/{name}", k, values)
        with self._lock:
            self._publish([f"snapshots/{name}" for name in columns])
            self._counts["snapshots"] = k + 1
            self._write_root()

    def close(self, status: str) -> None:
        """Moves the journal's rows into the arrays and marks how the run ended: "complete" or why not."""
        with self._lock:
            self._status = status
            self._commit(whole_chunks=False)
            self._journal.close()
            self._journal.path.unlink()

    def _create_arrays(
        self, names: Sequence[str], origins: Sequence[int], n_weights: int, weight_dtype: str, n_bytes: int
    ) -> None:
        self._group = root = zarr.open_group(self.path, mode="w-", zarr_format=3)
        parameter = root.create_array("parameter", shape=(len(names),), dtype=str, dimension_names=["parameter"])
        parameter[:] = np.array(names, dtype=object)
        root.create_group("metrics")
        root.create_group("snapshots")
        self._publish(["parameter", "metrics", "snapshots"])
        if origins:
            origin = root.create_array("origin", shape=(len(origins),), dtype="int64", dimension_names=["origin"])
            origin[:] = np.array(origins)
            self._publish(["origin"])
        sizes = {"origin": len(origins), "parameter": len(names)}
        for name, values in self._columns.split(np.empty((0, self._columns.width))).items():
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
            self._publish([f"snapshots/{name}"])

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
        self._publish([name])

    def _extend(self, name: str, start: int, values: np.ndarray) -> None:
        array = cast(zarr.Array, self._group[name])
        array.resize((start + len(values), *array.shape[1:]))
        array[start:] = values

    def _commit(self, whole_chunks: bool = True) -> None:
        """Moves rows from the journal to the arrays: all of them, or as many as fill whole chunks."""
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, self._columns.width))
        metrics = list(self._metrics.items())
        if whole_chunks:
            n_rows = len(rows) - len(rows) % ROWS_PER_CHUNK
            # The last step may still be logged to, so it stays in the journal until the run moves on.
            n_metrics = (len(metrics) - 1) // ROWS_PER_CHUNK * ROWS_PER_CHUNK if metrics else 0
        else:
            n_rows, n_metrics = len(rows), len(metrics)
        self._write_rows(rows[:n_rows])
        self._write_metrics(metrics[:n_metrics])

        self._generation += 1
        old, self._journal = self._journal, Journal(journal_path(self.path, self._generation))
        self._rows, self._metrics = [rows[n_rows:]], dict(metrics[n_metrics:])
        self._journal.append_rows(rows[n_rows:])
        self._journal.append_json(journal.METRICS, metrics[n_metrics:])
        self._counts["step"] += n_rows
        self._counts["metrics"] += n_metrics
        self._committed_events = list(self._events)
        self._write_root()
        old.close()
        old.path.unlink()

    def _write_rows(self, rows: np.ndarray) -> None:
        if len(rows) == 0:
            return
        columns = self._columns.split(rows)
        for name, values in columns.items():
            self._extend(name, self._counts["step"], values)
        self._publish(columns)

    def _write_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        if len(entries) == 0:
            return
        start = self._counts["metrics"]
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
        self._publish([f"metrics/{array}" for array in columns])

    def _publish(self, names: Iterable[str]) -> None:
        """Takes the metadata of these nodes as they stand into the next commit."""
        for name in names:
            self._nodes[name] = read_node(self.path, name)

    def _write_root(self) -> None:
        state = {
            "status": self._status,
            "committed": self._counts,
            "journal": self._generation if self._status == "recording" else None,
            "events": [[event.step, event.name, event.details] for event in self._committed_events],
        }
        write_root(self.path, {"ultraslow": {**self._attributes, **state}}, self._nodes)


def _make_way(path: Path, overwrite: bool) -> None:
    """An empty place for a new store. Only a run is ever removed, never a folder of something else."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not overwrite:
            raise StoreError(
                f"{path}: already exists; choose another path, or overwrite=True to replace the run there"
            )
        read_root(path)
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
