"""Read committed rows of a store's arrays, as its root describes them; name what is damaged or missing.

What the root says is compared with the files before anything as large is made of it: each chunk has to be there, and
to be as long as its rows can be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import LocalStore, StorePath

from trajectory.errors import StoreError
from trajectory.schema.nodes import ArrayNode
from trajectory.storage.backend import Backend
from trajectory.storage.chunk_checksums import ListedChunks, checksum_of
from trajectory.storage.node_files import fault
from trajectory.storage.root import Root

_AT_ONCE = 256  # chunks whose files are looked for
_MOST_DAMAGED = 10_000  # chunks that are named; a store of more missing ones is none that a recorder wrote
_PACKED = 2**16  # bytes that a byte can stand for: zstd's blocks of one repeated byte are 128 KiB in 4 bytes
_LONGER = 2**16  # bytes: far more than headers and checksums add to what does not get shorter when it is packed
_METRICS, _METRIC_STEPS = "metrics/", "metrics/step"


@dataclass(frozen=True)
class Damage:
    """A chunk that cannot be read.

    Attributes:
        key: its file.
        start: the first row that it held.
        stop: the row behind the last.
        reason: "is missing", or "is damaged" or "cannot be read" and why.
    """

    key: str
    start: int
    stop: int
    reason: str

    @property
    def message(self) -> str:
        """What is wrong, in one sentence."""
        return f"{self.key} {self.reason}"


@dataclass(frozen=True)
class ArrayReader:
    """Reads the arrays that a root describes.

    Attributes:
        backend: where the store lies.
        root: its root.
    """

    backend: Backend
    root: Root

    def node(self, name: str) -> ArrayNode:
        """Return what the root says of an array.

        Args:
            name: its path.

        Raises:
            StoreError: there is no such array.
        """
        if name not in self.root.arrays:
            raise StoreError(f"{self.backend.path}: holds no array {name!r}; restore it as it was written")
        return self.root.arrays[name]

    def read(self, name: str, stop: int | None = None, start: int = 0) -> np.ndarray:
        """Read rows of an array.

        Args:
            name: its path.
            stop: the row behind the last; None: the end.
            start: the first row.

        Returns:
            The rows (n, ...).

        Raises:
            StoreError: a chunk of these rows is damaged or missing; the message names its file.
        """
        node = self.node(name)
        stop = node.shape[0] if stop is None else stop
        damage = next(self._absent(node, start, stop), None)
        if damage is None:
            try:
                return self._rows(node, start, stop)
            except Exception as error:  # codecs raise errors of many kinds
                damage = next(self.damage(name, stop, start), None) or Damage(name, start, stop, fault(error))
        raise StoreError(
            f"{self.backend.path}: {damage.message}; restore it as it was written, or leave out its rows"
            f" {damage.start} to {damage.stop - 1} by Run(..., skip_damaged=True)"
        )

    def read_intact(self, name: str, stop: int) -> tuple[np.ndarray, list[Damage]]:
        """Read the rows of an array that can be read.

        Args:
            name: its path.
            stop: the row behind the last.

        Returns:
            The rows (n, ...), NaN or -1 where they cannot be read; and the chunks that cannot.
        """
        node, damage = self.node(name), list(self.damage(name, stop))
        if not damage:
            return self._rows(node, 0, stop), []
        values = np.full((stop, *node.shape[1:]), -1 if node.dtype == "int64" else np.nan, node.dtype)
        lost = {chunk for bad in damage for chunk in node.chunks(bad.start, bad.stop)}
        for chunk in node.chunks(0, stop):
            if chunk not in lost:
                first, last = self._span(node, chunk, 0, stop)
                values[first:last] = self._rows(node, first, last)
        return values, damage

    def damage(self, name: str, stop: int | None = None, start: int = 0) -> Iterator[Damage]:
        """Find the chunks of an array that cannot be read, by reading each.

        Args:
            name: its path.
            stop: the row behind the last; None: the end.
            start: the first row.

        Yields:
            The chunks that are missing, then those that are damaged.

        Raises:
            StoreError: there are very many.
        """
        node = self.node(name)
        stop = node.shape[0] if stop is None else stop
        absent = list(islice(self._absent(node, start, stop), _MOST_DAMAGED + 1))
        yield from absent[:_MOST_DAMAGED]
        if len(absent) > _MOST_DAMAGED:
            raise StoreError(
                f"{self.backend.path}: {len(absent)} chunks of {name} and more are missing or too short; restore"
                " the run as it was written"
            )
        known = {bad.start for bad in absent}
        for chunk in node.chunks(start, stop):
            first, last = self._span(node, chunk, start, stop)
            if first not in known:
                try:
                    self._rows(node, first, last)
                except Exception as error:
                    yield Damage(next(node.keys(chunk)), first, last, fault(error))

    def _absent(self, node: ArrayNode, start: int, stop: int) -> Iterator[Damage]:
        """Find chunks whose file is not there, or is shorter than what it has to hold."""
        chunks, seen = iter(node.chunks(start, stop)), False
        while batch := [(chunk, key) for chunk in islice(chunks, _AT_ONCE) for key in node.keys(chunk)]:
            try:
                sizes = self.backend.sizes([key for _, key in batch])
            except OSError as error:
                yield from (Damage(key, *self._span(node, chunk, start, stop), fault(error)) for chunk, key in batch)
                continue
            for (chunk, key), size in zip(batch, sizes, strict=True):
                seen |= size is not None
                reason = self._why_not(node, chunk, size, seen)
                if reason:
                    yield Damage(key, *self._span(node, chunk, start, stop), reason)

    def _why_not(self, node: ArrayNode, chunk: int, size: int | None, seen: bool) -> str | None:
        if size is None:
            return "is missing" if self._is_wanted(node, chunk, seen) else None
        if node.dtype == "string":
            return None
        if size > 2 * node.chunk_bytes + _LONGER:
            return f"is damaged ({size} bytes, too many for {node.chunk_bytes} unpacked)"
        if node.chunk_bytes > size * (_PACKED if node.compressed else 1):
            return f"is damaged ({size} bytes, too few for {node.chunk_bytes} unpacked)"
        return None

    def _is_wanted(self, node: ArrayNode, chunk: int, seen: bool) -> bool:
        """Return whether a chunk has to have a file. Without one, it reads as fill values."""
        name, length = node.name, node.chunk_shape[0]
        if name.startswith(_METRICS) and name != _METRIC_STEPS:  # a metric that was not logged from the start
            begun = seen if node.first_row is None else chunk >= node.first_row // length
            return begun and self.root.writes_all
        return self.root.writes_all or node.dtype == "int64" or name.endswith("/weights")

    @staticmethod
    def _span(node: ArrayNode, chunk: int, start: int, stop: int) -> tuple[int, int]:
        length = node.chunk_shape[0]
        return max(chunk * length, start), min((chunk + 1) * length, stop)

    def _rows(self, node: ArrayNode, start: int, stop: int) -> np.ndarray:
        """Read rows, and check that those of them in a chunk that is not full are the ones committed there."""
        first, last = node.end
        if node.name in self.root.ends and first < stop:
            end = self._stored(node, first, last)
            if checksum_of(end) != self.root.ends[node.name]:
                raise ValueError("it is not the chunk that was committed there")
        return self._stored(node, start, stop)

    def _stored(self, node: ArrayNode, start: int, stop: int) -> np.ndarray:
        listed = ListedChunks(self._store, node, self.root.chunks.get(node.name, b""))
        array = zarr.Array.from_dict(StorePath(listed, node.name), self.root.nodes[node.name])
        return np.asarray(array[start:stop])

    @cached_property
    def _store(self) -> Store:
        root = self.backend.root
        return LocalStore(root, read_only=True) if isinstance(root, Path) else root
