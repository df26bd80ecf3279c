"""The append-only part of a store: rows that do not fill a Zarr chunk yet.

A record is `kind (1 byte), length (uint32), crc32 of kind and payload (uint32), payload`, little-endian.
A killed process can leave its last record torn, which is no damage: what it held was not saved yet. A record whose
checksum does not hold although it is whole, or although others follow it, is damaged; those that follow are read.
"""

# ruff: noqa: D102 (`Journal` says what the methods of its subclasses do)

import json
import os
import re
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROWS, METRICS, EVENT = b"R", b"M", b"E"
_KINDS = (ROWS, METRICS, EVENT)
_BEGINNING = re.compile(b"[RME]")
_SEARCHED = 16  # times a journal's length: the bytes of possible records that are looked at behind a damaged one
NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
_ZEROS = re.compile(rb"\0{8,}")
_HEADER = struct.Struct("<cII")


class Journal(ABC):
    """A journal open for writing. What was appended when `sync` returned outlives the process, or a power cut too."""

    def append(self, kind: bytes, payload: bytes) -> None:
        """Add one record, or no part of it.

        Args:
            kind: one byte: `ROWS`, `METRICS` or `EVENT`.
            payload: what it holds.

        Raises:
            OSError: the disk is full.
        """
        self._write(_HEADER.pack(kind, len(payload), zlib.crc32(kind + payload)) + payload)

    def append_rows(self, rows: np.ndarray) -> None:
        """Add a record of rows.

        Args:
            rows: float64 (n, width).
        """
        self.append(ROWS, np.ascontiguousarray(rows, dtype="<f8").tobytes())

    def append_json(self, kind: bytes, value: Any) -> None:
        """Add a record that holds a value as JSON.

        Args:
            kind: as for `append`.
            value: whatever JSON can hold.
        """
        self.append(kind, json.dumps(value).encode())

    @abstractmethod
    def _write(self, record: bytes) -> None: ...

    @abstractmethod
    def sync(self, *, durable: bool = False) -> None:
        """Wait until every record is saved.

        Args:
            durable: whether it is to survive a power cut as well, in a journal whose name does.
        """

    @abstractmethod
    def close(self) -> None:
        """End the writing; what was saved stays."""

    @abstractmethod
    def remove(self) -> None:
        """Close the journal and remove it."""


class FileJournal(Journal):
    """A journal in a file. Each record is one unbuffered write, and is saved once `append` returned.

    Args:
        path: the file.
        append: write behind the last intact record of the existing file, instead of beginning a new one.
    """

    def __init__(self, path: Path, *, append: bool = False):
        self.path = path
        self._size = 0
        if append and path.exists():  # behind the last intact record: what a kill tore would be taken for damage
            self._size = read(path.read_bytes()).end
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK
        self._fd = os.open(path, flags | (0 if append else os.O_TRUNC), 0o666)
        if append:
            os.ftruncate(self._fd, self._size)

    def _write(self, record: bytes) -> None:
        if os.write(self._fd, record) < len(record):  # a disk that fills up takes the first part only
            os.ftruncate(self._fd, self._size)
            raise OSError(28, "No space left on device", str(self.path))
        self._size += len(record)

    def sync(self, *, durable: bool = False) -> None:
        if durable:
            os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)


class ObjectJournal(Journal):
    """A journal in objects `folder/000000`, `folder/000001`, ...: each holds the records between two calls of `sync`.

    Args:
        folder: what the objects' keys begin with.
        first: how many objects are there.
        put: writes an object in one step.
        delete: removes objects.
    """

    def __init__(
        self, folder: str, first: int, put: Callable[[str, bytes], None], delete: Callable[[Iterable[str]], None]
    ):
        self._folder, self._count, self._put, self._delete = folder, first, put, delete
        self._records: list[bytes] = []

    @staticmethod
    def key(folder: str, n: int) -> str:
        """Return the key of one of a journal's objects.

        Args:
            folder: what its key begins with.
            n: its number, from 0.

        Returns:
            The key.
        """
        return f"{folder}/{n:06d}"

    def _write(self, record: bytes) -> None:
        self._records.append(record)

    def sync(self, *, durable: bool = False) -> None:
        """Put the new records, if there are any; a new journal begins with an object even if it is empty.

        Args:
            durable: of no effect: an object that was put is durable.
        """
        if self._records or self._count == 0:
            self._put(self.key(self._folder, self._count), b"".join(self._records))
            self._count += 1
            self._records = []

    def close(self) -> None:
        self.sync()

    def remove(self) -> None:
        self._delete(self.key(self._folder, n) for n in range(self._count))


@dataclass(frozen=True)
class Records:
    """What a journal holds.

    Attributes:
        intact: (kind, payload) of each intact record, in the order they were appended.
        damaged: where bytes lie that are no intact record, although intact ones follow or a whole one was written:
            (first byte, byte behind the last) of each stretch.
        end: the byte behind the last intact record; what is behind it is torn, unless it is damaged.
    """

    intact: list[tuple[bytes, bytes]]
    damaged: list[tuple[int, int]]
    end: int


def read(data: bytes) -> Records:
    """Read a journal's records.

    Args:
        data: its bytes, the last record of which may be torn.

    Returns:
        The intact records, and where others are damaged.
    """
    intact, damaged, at = [], list[tuple[int, int]](), 0
    while at < len(data):
        record = _record(data, at)
        if record is None:
            following = _following(data, at + 1)
            if following is None:
                if not (_is_torn(data, at) or _is_hole(data[at:])):
                    damaged.append((at, len(data)))
                break
            if _is_hole(data[at:following]):
                break  # what a power cut left behind it is no continuation
            damaged.append((at, following))
            at = following
            continue
        intact.append(record)
        at += _HEADER.size + len(record[1])
    return Records(intact, damaged, min(at, len(data)))


def _record(data: bytes, at: int) -> tuple[bytes, bytes] | None:
    """Return the intact record that begins at a byte, if one does."""
    if at + _HEADER.size > len(data):
        return None
    kind, length, checksum = _HEADER.unpack_from(data, at)
    payload = data[at + _HEADER.size : at + _HEADER.size + length]
    whole = len(payload) == length and kind in _KINDS and zlib.crc32(kind + payload) == checksum
    return (kind, payload) if whole else None


def _following(data: bytes, start: int) -> int | None:
    """Return where the next intact record begins, if one does; bytes that could be many are not searched for ever."""
    budget = _SEARCHED * len(data)
    for match in _BEGINNING.finditer(data, start):
        if match.start() + _HEADER.size > len(data):
            return None
        _, length, _ = _HEADER.unpack_from(data, match.start())
        if length > len(data) - match.start() - _HEADER.size:
            continue
        budget -= length
        if budget < 0:
            return None
        if _record(data, match.start()):
            return match.start()
    return None


def _is_hole(stretch: bytes) -> bool:
    """Return whether zeros lie where a power cut kept writes from the disk: a header, half of the bytes, or a sector.

    A record that was damaged otherwise holds zeros too, but hardly as many.
    """
    if not stretch[: _HEADER.size].strip(b"\0"):
        return True
    zeros = sum(map(len, _ZEROS.findall(stretch)))
    return 2 * zeros >= len(stretch) or bytes(512) in stretch


def _is_torn(data: bytes, at: int) -> bool:
    """Return whether what is behind the last intact record is the beginning of one, as a kill leaves it.

    A power failure leaves zeros in place of what was not written.
    """
    rest = data[at:]
    if not rest.rstrip(b"\0"):
        return True
    if len(rest) < _HEADER.size:
        return True
    kind, length, checksum = _HEADER.unpack_from(rest)
    payload = rest[_HEADER.size :]
    if zlib.crc32(kind + payload) == checksum:  # whole, and its length is not the one that was written
        return False
    return kind in _KINDS and (len(payload) < length or not payload[length - 8 : length].strip(b"\0"))


def decode(payload: bytes) -> Any:
    """Return the value that `append_json` wrote.

    Args:
        payload: the record's.

    Returns:
        The value.
    """
    return json.loads(payload)
