"""The arrays of a store over steps, open for writing, and the metadata that a commit publishes of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import zarr

from trajectory.schema.commit import Commit, table_of
from trajectory.schema.layout import RowColumns, metric_array, metric_name
from trajectory.storage.array_writer import ArrayWriter
from trajectory.storage.arrays import chunk_length, column_node, create_column, read_rows
from trajectory.storage.backend import Backend
from trajectory.storage.compaction import replaced_chunks
from trajectory.storage.node_files import read_node, write_node

_BATCH = 8192  # rows


class TableWriter:
    """Writes rows and scalars behind the committed ones, which it does not change.

    Attributes:
        group: the store's Zarr group.
        arrays: writes to its arrays.
        nodes: the metadata of every array and group, by path, as of the last commit.

    Args:
        backend: where the store lies.
        group: its Zarr group, with the shapes that the arrays have, committed or not.
        columns: the columns of a row.
        nodes: the metadata of the arrays and groups that are committed.
    """

    def __init__(
        self,
        backend: Backend,
        group: zarr.Group,
        columns: RowColumns,
        nodes: Mapping[str, dict[str, Any]] | None = None,
    ):
        self.group, self.arrays, self.nodes = group, ArrayWriter(backend, group), dict(nodes or {})
        self._backend, self._columns = backend, columns
        arrays = [name.removeprefix("metrics/") for name in self.nodes if name.startswith("metrics/")]
        self._metrics = {metric_name(array): array for array in arrays if array != "step"}

    def batch(self, table: str) -> int:
        """Return how many rows are written at once.

        Chunks of a run that was closed may be large: they are written on in part, and replaced at each batch.

        Args:
            table: the key of `committed` that counts the rows.

        Returns:
            The rows: a whole chunk, unless that takes much memory.
        """
        chunks = [chunk_length(node) for name, node in self.nodes.items() if table_of(name, node) == table]
        return min(*chunks, _BATCH)

    def whole_batches(self, table: str, stored: int, more: int) -> int:
        """Return how many of some rows to write, so that the last batch is full.

        Args:
            table: the key of `committed` that counts the rows.
            stored: how many are written.
            more: how many others there are.

        Returns:
            How many of these to write behind the others.
        """
        return max(more - (stored + more) % self.batch(table), 0)

    def write_rows(self, start: int, rows: np.ndarray) -> list[str]:
        """Write recorded steps.

        Args:
            start: the number of the first row to write.
            rows: float64 (n, width).

        Returns:
            The paths of the arrays written to.
        """
        if len(rows) == 0:
            return []
        columns = self._columns.split(rows)
        for name, values in columns.items():
            self.arrays.extend(name, start, values)
        return list(columns)

    def write_metrics(self, start: int, entries: Sequence[tuple[int, Mapping[str, float]]]) -> list[str]:
        """Write scalars; the first appearance of a name makes its array.

        Args:
            start: the number of the first row to write.
            entries: (step, scalars by name) of each row.

        Returns:
            The paths of the arrays written to.
        """
        if len(entries) == 0:
            return []
        chunk = chunk_length(self.nodes["metrics/step"])
        for name, array in self.metric_arrays(name for _, scalars in entries for name in scalars).items():
            if name not in self._metrics:
                node = column_node(f"metrics/{array}", "float64", ["step"], length=start, chunk=chunk)
                create_column(self.group, f"metrics/{array}", node)
                self._metrics[name] = array
        arrays = {
            array: np.array([scalars.get(name, np.nan) for _, scalars in entries])
            for name, array in self._metrics.items()
        }
        arrays["step"] = np.array([step for step, _ in entries])
        for name, values in arrays.items():
            self.arrays.extend(f"metrics/{name}", start, values)
        return [f"metrics/{name}" for name in arrays]

    def metric_arrays(self, names: Iterable[str] = ()) -> dict[str, str]:
        """Return the arrays of metrics by the metric's name.

        Args:
            names: further metrics, whose arrays are to be made.
        """
        arrays = dict(self._metrics)
        for name in names:
            if name not in arrays:
                arrays[name] = metric_array(name, arrays.values())
        return arrays

    def count(self, steps: str, committed: int, last: int) -> int:
        """Count the committed rows up to a step.

        Args:
            steps: the path of the array that holds the rows' steps.
            committed: how many rows are committed.
            last: the step.

        Returns:
            How many rows are of a step up to `last`.
        """
        if committed == 0:
            return 0
        return int(np.searchsorted(read_rows(self.group, steps, committed), last, side="right"))

    def scalars(self, step: int, committed: int) -> dict[str, float]:
        """Read what the arrays hold of a step.

        Args:
            step: the number of updates made.
            committed: how many rows of scalars are committed.

        Returns:
            The scalars by name.
        """
        row = self.count("metrics/step", committed, step) - 1
        if row < 0 or read_rows(self.group, "metrics/step", row + 1, row)[0] != step:
            return {}
        values = {
            name: float(read_rows(self.group, f"metrics/{array}", row + 1, row)[0])
            for name, array in self._metrics.items()
        }
        return {name: value for name, value in values.items() if not np.isnan(value)}

    def nodes_at(self, commit: Commit) -> dict[str, dict[str, Any]]:
        """Return the metadata of every array that has a row for each step, at a commit's lengths.

        Args:
            commit: the commit.

        Returns:
            The metadata by path.
        """
        lengths = commit.to_json()["committed"]
        tables = {name: table_of(name, node) for name, node in self.nodes.items()}
        return {
            name: self.nodes[name] | {"shape": [lengths[table], *self.nodes[name]["shape"][1:]]}
            for name, table in tables.items()
            if table
        }

    def read_nodes(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Read the metadata of arrays and groups as they stand, committed or not.

        Args:
            names: their paths.

        Returns:
            The metadata by path.
        """
        return {name: read_node(self._backend, name) for name in names}

    def trim(self) -> None:
        """Take the arrays back to the commit: their lengths, their chunks, and metadata that a power cut damaged."""
        for name, node in self.nodes.items():
            try:
                own = read_node(self._backend, name)
            except (FileNotFoundError, ValueError):
                own = {}
            if own != node and table_of(name, node) and own == node | {"shape": own.get("shape")}:
                cast(zarr.Array, self.group[name]).resize(node["shape"])
            elif own != node:
                write_node(self._backend, name, node)
        self.arrays.forget()
        self._backend.remove(replaced_chunks(self._backend.names(), self.nodes))
