"""Read a store's arrays as of the moment at which its root was read, although a recorder may write on there.

Committed rows change only if the run is resumed, which cuts it back first, or replaced. The root says so before the
arrays change: if it still speaks of the same run after a read, what was read is of the moment. When a run is closed,
its rows may move to larger chunks: the root lists these before the former ones go, and the rows are read again.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trajectory.errors import StoreError
from trajectory.storage.array_reader import ArrayReader, Damage
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
        return cls(backend, *read_store(backend, skip_damaged=True), stamp)

    @cached_property
    def _arrays(self) -> ArrayReader:
        return ArrayReader(self.backend, self.root)

    def names(self, group: str) -> list[str]:
        """List the arrays of a group.

        Args:
            group: the group's name.

        Returns:
            Their names within the group, as the root lists them.
        """
        prefix = f"{group}/"
        return [name.removeprefix(prefix) for name in self.root.arrays if name.startswith(prefix)]

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
            StoreError: a chunk of these rows is damaged or missing; the message names its file.
        """
        try:
            values = self._arrays.read(name, stop, start)
        except StoreError:
            if self._moved(name, self.check()):
                return self.read(name, stop, start)
            raise
        return self.read(name, stop, start) if self._moved(name, self.check()) else values

    def _moved(self, name: str, root: Root) -> bool:
        """Return whether a root lists other chunks of an array than those read here; if it does, read those."""
        before, now = self._arrays.root.arrays.get(name), root.arrays.get(name)
        if root is self.root or before is None or now is None or before.chunk_shape == now.chunk_shape:
            return False
        self.__dict__["_arrays"] = ArrayReader(self.backend, root)
        return True

    def read_intact(self, name: str, stop: int) -> tuple[np.ndarray, list[Damage]]:
        """Read the rows of an array that can be read.

        Args:
            name: the array's path.
            stop: the number of the first row that is not read.

        Returns:
            The rows (n, ...), NaN or -1 where they cannot be read; and the chunks that cannot.

        Raises:
            RewrittenError: the run was cut back or replaced since.
        """
        values, damage = self._arrays.read_intact(name, stop)
        return self.read_intact(name, stop) if self._moved(name, self.check()) else (values, damage)

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
