"""Write the append-only part of a store: rows that do not fill a Zarr chunk yet."""

# ruff: noqa: D102 (`Journal` says what the methods of its subclasses do)

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from trajectory.storage.journal_records import METRICS, ROWS, SYNCED, label, pack, read

NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # for somebody to read from a pipe in the journal's place


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
        self._write(pack(kind, payload))

    def begin(self, run: str | None, generation: int) -> None:
        """Say in the first record whose the others are.

        Args:
            run: the run's id; None, in stores of early versions, says nothing.
            generation: the journal's number.
        """
        if run is not None:
            self.append(METRICS, label(run, generation))

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
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK | _NO_WAIT
        self._fd = os.open(path, flags | (0 if append else os.O_TRUNC), 0o666)
        if append:
            os.ftruncate(self._fd, self._size)
        self._synced = self._size  # what is there needs no mark of its own

    def _write(self, record: bytes) -> None:
        if os.write(self._fd, record) < len(record):  # a disk that fills up takes the first part only
            os.ftruncate(self._fd, self._size)
            raise OSError(28, "No space left on device", str(self.path))
        self._size += len(record)

    def sync(self, *, durable: bool = False) -> None:
        if not durable:
            return
        os.fsync(self._fd)
        if self._size > self._synced:
            with suppress(OSError):  # a full disk: all that was to be saved is
                self.append(METRICS, SYNCED)
            self._synced = self._size

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
