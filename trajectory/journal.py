"""The append-only tail of a store: rows that do not fill a Zarr chunk yet.

A record is `kind (1 byte), length (uint32), crc32 of kind and payload (uint32), payload`, little-endian.
A killed process can leave its last record torn: reading stops at the first record whose length or
checksum does not hold, so whole records are returned and nothing else.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROWS, METRICS, EVENT = b"R", b"M", b"E"
_HEADER = struct.Struct("<cII")


class Journal:
    """A journal file open for writing, new unless `append`.

    Each record is one unbuffered write: once `append` returned, it outlives the process.
    """

    def __init__(self, path: Path, *, append: bool = False):
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if append else os.O_TRUNC), 0o666)
        self._size = os.fstat(self._fd).st_size

    def append(self, kind: bytes, payload: bytes) -> None:
        """Adds one record. Raises OSError, leaving no part of the record, when the disk is full."""
        record = _HEADER.pack(kind, len(payload), zlib.crc32(kind + payload)) + payload
        if os.write(self._fd, record) < len(record):  # a disk that fills up takes the first part only
            os.ftruncate(self._fd, self._size)
            raise OSError(28, "No space left on device", str(self.path))
        self._size += len(record)

    def append_rows(self, rows: np.ndarray) -> None:
        """Adds a record of float64 rows."""
        self.append(ROWS, np.ascontiguousarray(rows, dtype="<f8").tobytes())

    def append_json(self, kind: bytes, value: Any) -> None:
        """Adds a record that holds `value` as JSON."""
        self.append(kind, json.dumps(value).encode())

    def close(self) -> None:
        """Closes the file; its records stay."""
        os.close(self._fd)


def read(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The whole records of a journal in the order they were appended, as (kind, payload)."""
    data = path.read_bytes()
    at = 0
    while at + _HEADER.size <= len(data):
        kind, length, checksum = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        if len(payload) < length or zlib.crc32(kind + payload) != checksum:
            return
        yield kind, payload
        at += _HEADER.size + length


def decode(payload: bytes) -> Any:
    """The value that `append_json` wrote."""
    return json.loads(payload)
