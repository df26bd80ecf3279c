"""Which chunk lies where: the root lists the checksum of every committed chunk.

A chunk's own checksum says that it is intact, and not that it belongs in its place: the chunk of other rows, of
another run, or of rows that were taken back is as intact. Its checksum is in its last four bytes: the list costs no
pass over the data. While a run is recorded, a chunk that is not full is written again before a commit says so: of its
committed rows, which stay, the root holds a checksum.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from trajectory.errors import StoreError
from trajectory.schema import entries
from trajectory.schema.entries import Kind
from trajectory.schema.nodes import ArrayNode
from trajectory.storage.backend import Backend
from trajectory.storage.zstd_frame import HEADER, content_size

Checksums = Mapping[str, bytes]
"""By an array's path: of each chunk in order the last four bytes, zeros where it has no file."""

Ends = Mapping[str, int]
"""By an array's path: the crc32 of the committed rows in its last chunk, which is not full."""

_MOST_TEXT = 2**28  # bytes: more than the names of all parameters take
_SIZE = 4  # bytes of a crc32c
_NO_FILE = bytes(_SIZE)


def to_json(checksums: Checksums) -> dict[str, str]:
    """Return checksums as the root holds them.

    Args:
        checksums: by array.

    Returns:
        By array, in base64.
    """
    return {name: b64encode(packed).decode() for name, packed in checksums.items() if packed}


def _parse(value: Any) -> Checksums:
    listed = {name: b64decode(packed, validate=True) for name, packed in entries.names(value).items()}
    if any(len(packed) % _SIZE for packed in listed.values()):
        raise ValueError
    return listed


from_json = Kind[Checksums]("an object of base64 strings, four bytes for each chunk", _parse)


ends_from_json = Kind[Ends](
    "an object of numbers", lambda value: {name: entries.count(end) for name, end in entries.mapping(value).items()}
)


def list_checksums(
    backend: Backend, arrays: Iterable[ArrayNode], before: Mapping[str, ArrayNode], known: Checksums, *, closed: bool
) -> Checksums:
    """Return the checksums of all chunks that a commit makes part of the run, from the files that are new.

    Args:
        backend: where the store lies.
        arrays: the arrays, as the commit has them.
        before: the same by path, as the commit before had them.
        known: the checksums of that one.
        closed: whether the run ends; otherwise a chunk that is not full is left out.

    Returns:
        The checksums by path.
    """
    listed, new = {}, dict[str, list[str]]()
    for array in arrays:
        if not array.ends_in_checksum:
            continue
        full = array.shape[0] // array.chunk_shape[0]
        stop = len(array.chunks(0, array.shape[0])) if closed else full
        stays = _unchanged(array, before.get(array.name), known.get(array.name, b""))[: stop * _SIZE]
        listed[array.name] = stays
        if keys := [key for chunk in range(len(stays) // _SIZE, stop) for key in array.keys(chunk)]:
            new[array.name] = keys
    ends = iter(backend.ends([key for keys in new.values() for key in keys], _SIZE))
    for name, keys in new.items():
        listed[name] += b"".join(next(ends) or _NO_FILE for _ in keys)
    return listed


def _unchanged(array: ArrayNode, before: ArrayNode | None, known: bytes) -> bytes:
    """Return the checksums of the chunks that were full before: no rows have joined them."""
    if before is None:  # rows before the first one of a metric have no chunks
        return _NO_FILE * ((array.first_row or 0) // array.chunk_shape[0])
    if (before.chunk_shape, before.separator) != (array.chunk_shape, array.separator):
        return b""
    return known[: before.shape[0] // array.chunk_shape[0] * _SIZE]


def list_ends(
    arrays: Iterable[ArrayNode],
    before: Mapping[str, ArrayNode],
    known: Ends,
    read: Callable[[str, int, int], np.ndarray],
) -> Ends:
    """Return the checksums of the rows in chunks that are not full, as a commit of a run that goes on has them.

    Args:
        arrays: the arrays, as the commit has them.
        before: the same by path, as the commit before had them.
        known: the checksums of that one.
        read: reads rows of an array, from one up to another.

    Returns:
        The checksums by path.
    """
    ends = {}
    for array in arrays:
        start, stop = array.end
        if start == stop or not array.ends_in_checksum or array.dtype == "string":
            continue
        if array.name in known and before.get(array.name) == array:
            ends[array.name] = known[array.name]
        else:
            with suppress(StoreError):  # damaged already: `verify` names it by its own checksum
                ends[array.name] = checksum_of(read(array.name, start, stop))
    return ends


def checksum_of(rows: np.ndarray) -> int:
    """Return the crc32 of rows.

    Args:
        rows: numbers, as they are stored.

    Returns:
        The checksum.
    """
    return zlib.crc32(rows.astype(rows.dtype.newbyteorder("<"), copy=False).tobytes())


class ListedChunks(WrapperStore[Store]):
    """A store that gives the chunks of one array, each of which has to be the one that the root lists.

    Args:
        store: the store.
        array: the array.
        checksums: those of its chunks, as far as they are listed.
    """

    def __init__(self, store: Store, array: ArrayNode, checksums: bytes):
        super().__init__(store)
        self._array, self._checksums = array, checksums

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a chunk.

        Args:
            key: its key.
            prototype: what to read it into.
            byte_range: which bytes of it; None: all.

        Returns:
            The bytes, or None where there is no such file.

        Raises:
            ValueError: it is another chunk than the one listed, or would unpack to more than its rows take.
        """
        found = await super().get(key, prototype, byte_range)
        if found is not None and byte_range is None:
            if self._array.compressed and not self._fits(found[:HEADER].to_bytes()):
                raise ValueError("it unpacks to another number of bytes than its rows take")
            chunk = self._array.chunk_of(key)
            listed = self._checksums[chunk * _SIZE : (chunk + 1) * _SIZE]
            if listed and listed != found[-_SIZE:].to_bytes():
                raise ValueError("it is not the chunk that was committed there")
        return found

    def _fits(self, frame: bytes) -> bool:
        size = content_size(frame)
        if self._array.dtype == "string":
            return size is not None and size <= _MOST_TEXT
        return size == self._array.chunk_bytes
