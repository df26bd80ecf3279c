"""Read a store's arrays as of the moment at which its root was read, although a recorder may write on there.

Committed rows change only if the run is resumed, which cuts it back first, or replaced. The root says so before the
arrays change: if it still speaks of the same run after a read, what was read is of the moment. When a run
is closed, its rows may move to larger chunks: the root lists these before the former ones go, and is then read again.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import zarr

from trajectory.errors import StoreError, first_line
from trajectory.storage.arrays import chunk_key, chunk_length, read_rows
from trajectory.storage.backend import Backend
from trajectory.storage.reader import UncommittedRows, read_store
from trajectory.storage.root import ROOT, Root, read_root


class RewrittenError(StoreError):
    """What a root spoke of is no longer there."""


@dataclass(frozen=True)
class Moment:
    """A store as it stood when its root and its journal were read.

    Attributes:
        backend: where the store lies.
        root: its root.
        uncommitted: what its journal held.
        stamp: changes if the root is written anew; None where nothing tells that without reading it.
    """

    backend: Backend
    root: Root
    uncommitted: UncommittedRows
    stamp: object

    @classmethod
    def now(cls, backend: Backend) -> "Moment":
        """Read the root and the journal of a store.

        Args:
            backend: where the store lies.

        Returns:
            The store as it stands.

        Raises:
            StoreError: the store is not a run of a known format, or its journal is missing.
        """
        stamp = backend.stamp(ROOT)
        return cls(backend, *read_store(backend), stamp)

    @cached_property
    def group(self) -> zarr.Group:
        """The store's Zarr group, with the shapes of the root or of a later one."""
        return zarr.open_group(self.backend.root, mode="r")

    def names(self, group: str) -> list[str]:
        """List the arrays of a group.

        Args:
            group: the group's name.

        Returns:
            Their names within the group, as the root lists them.
        """
        prefix = f"{group}/"
        return [name.removeprefix(prefix) for name in self.root.nodes if name.startswith(prefix)]

    def read(self, name: str, stop: int | None, start: int = 0) -> np.ndarray:
        """Read rows of an array.

        Args:
            name: the array's path.
            stop: the number of the first row that is not read; None: read to the end.
            start: the number of the first row to read.

        Returns:
            The rows (n, ...).

        Raises:
            RewrittenError: the run was cut back or replaced since.
            StoreError: a chunk of these rows is damaged or missing.
        """
        try:
            values = read_rows(self.group, name, stop, start)
            missing = self._missing(name, values, start)
        except Exception as error:  # codecs raise errors of many kinds
            if self._moved(name, self.check()):
                return self.read(name, stop, start)
            raise StoreError(
                f"{self.backend.path}: {name} is damaged ({first_line(error)}); restore it as it was written"
            ) from error
        if self._moved(name, self.check()):
            return self.read(name, stop, start)
        if missing:
            raise StoreError(f"{self.backend.path}: {missing} is missing; restore it as it was written")
        return values

    def _moved(self, name: str, root: Root) -> bool:
        """Return whether a root lists other chunks of an array than those open here; if it does, open those."""
        if root is self.root or name not in root.nodes:
            return False
        if chunk_length(root.nodes[name]) == cast(zarr.Array, self.group[name]).chunks[0]:
            return False
        del self.__dict__["group"]  # is opened anew
        return True

    def _missing(self, name: str, values: np.ndarray, start: int) -> str | None:
        """Return the key of a chunk that is not there. It reads as fill values: where those are, it is looked for."""
        array = cast(zarr.Array, self.group[name])
        if name.startswith("metrics/") and name != "metrics/step":
            return None  # a metric that was not logged from the start has no chunks there
        if values.dtype.kind == "f" and not self.root.metadata.schedules:
            return None  # the first versions wrote no chunk that was NaN throughout
        length, fill = array.chunks[0], array.fill_value
        for chunk in range(start // length, -(-(start + len(values)) // length) if values.size else 0):
            rows = values[max(chunk * length - start, 0) : (chunk + 1) * length - start]
            if _holds_only(fill, rows[:1]) and _holds_only(fill, rows):
                key = chunk_key(name, array, chunk)
                if not self.backend.holds(key):
                    return key
        return None

    def check(self) -> Root:
        """Check that what the root speaks of is there still.

        Returns:
            The root as it is now.

        Raises:
            RewrittenError: the run was cut back or replaced since.
        """
        if self.stamp is not None and self.backend.stamp(ROOT) == self.stamp:
            return self.root
        root = read_root(self.backend)
        path, then, now = self.backend.path, self.root.metadata, root.metadata
        if (then.id, then.origin_norm) != (now.id, now.origin_norm) or len(then.resumed) > len(now.resumed):
            raise RewrittenError(f"{path}: was replaced by another run since it was opened; open it again")
        if then.resumed != now.resumed:
            raise RewrittenError(f"{path}: was resumed at step {now.resumed[-1]} since it was opened; open it again")
        return root


def _holds_only(value: float, rows: np.ndarray) -> bool:
    return np.array_equal(rows, np.full_like(rows, value), equal_nan=rows.dtype.kind == "f")
