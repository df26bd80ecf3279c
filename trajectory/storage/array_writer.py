"""Write rows to the Zarr arrays of a store, each of which is opened once: its metadata are read, and parsed, then."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import numpy as np
import zarr

from trajectory.schema.layout import hash_array
from trajectory.storage.arrays import hash_of
from trajectory.storage.backend import Backend


class ArrayWriter:
    """Writes rows behind those that are there. Different arrays may be written by different threads.

    Args:
        backend: where the store lies.
        group: the store's Zarr group.
    """

    def __init__(self, backend: Backend, group: zarr.Group):
        self._backend, self._group = backend, group
        self._open: dict[str, zarr.Array] = {}

    def extend(self, name: str, start: int, values: np.ndarray) -> None:
        """Write rows to an array, and drop the rows behind them.

        Zeros are written like any other numbers: looking for them is a pass of its own, and a chunk that is not there
        is one that was lost.

        Args:
            name: the array's path.
            start: the number of the first row to write.
            values: the rows (n, ...).
        """
        if name not in self._open:
            self._open[name] = cast(zarr.Array, self._group[name]).with_config({"write_empty_chunks": True})
        array = self._open[name]
        array.resize((start + len(values), *array.shape[1:]))
        array[start:] = values

    def extend_snapshot(self, k: int, rows: Mapping[str, np.ndarray]) -> None:
        """Write a row to arrays of `snapshots`, and its hash to those that have one.

        The first is written in one thread, the hashes and the rest beside it in another, which also syncs what the
        commit would wait for. Rows without bytes are left out.

        Args:
            k: the row's number.
            rows: the rows by the array's name within the group; all but `step` have a hash.
        """
        rows = {f"snapshots/{name}": row for name, row in rows.items() if row.nbytes}
        hashed = rows.keys() - {"snapshots/step"}
        calls: list[Callable[[], object]] = [partial(self.extend, name, k, row[None]) for name, row in rows.items()]
        calls += [self._backend.sync_names, *(partial(self._extend_hash, name, k, rows[name]) for name in hashed)]
        with ThreadPoolExecutor(2) as threads:
            for written in [threads.submit(call) for call in calls]:
                written.result()

    def forget(self) -> None:
        """Open every array anew when it is written next, since its metadata were changed."""
        self._open.clear()

    def _extend_hash(self, name: str, k: int, row: np.ndarray) -> None:
        self.extend(hash_array(name), k, hash_of(row)[None])
