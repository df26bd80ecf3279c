"""Where a run's store lies: a folder, or whatever Zarr can write to, by object or URL.

A commit replaces the root's metadata in one step. A folder does so by renaming a file; object stores put an
object as a whole or not at all.
"""

# ruff: noqa: D102 (what `Folder` and `Remote` do is said at `Place`)

import errno
import os
import shutil
from abc import ABC, abstractmethod
from asyncio import gather
from collections.abc import Coroutine, Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zarr.abc.store import Store as ZarrStore
from zarr.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from trajectory.errors import StoreError
from trajectory.storage.journal import FileJournal, Journal, ObjectJournal
from trajectory.storage.lock import Claim

Where = str | Path | ZarrStore


class Place(ABC):
    """A place for one store. Keys are paths within it, with `/`; `path` names it to people."""

    path: Path | str
    root: Path | ZarrStore  # what zarr opens

    @abstractmethod
    def exists(self) -> bool:
        """Whether anything is there, an empty folder included."""

    @abstractmethod
    def is_free(self) -> bool:
        """Whether a store can be made there without removing anything."""

    @abstractmethod
    def names(self) -> list[str]:
        """Everything that is there."""

    @abstractmethod
    def holds(self, key: str) -> bool:
        """Whether there is a file or object of this key."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Raises FileNotFoundError, or another OSError."""

    @abstractmethod
    def replace(self, key: str, data: bytes) -> None:
        """Writes a whole file or object in one step: readers see the old one or the new one."""

    @abstractmethod
    def remove(self, keys: Iterable[str]) -> None:
        """Removes files or objects."""

    @abstractmethod
    def clear(self) -> None:
        """Removes everything, and makes the place if it is not there."""

    @abstractmethod
    def claim(self) -> Claim | None:
        """Keeps other recorders off, where that can be done. Raises StoreError while another one is there."""

    @abstractmethod
    def journal(self, generation: int, *, append: bool = False) -> Journal:
        """A journal to write to: new, or the one that is there."""

    @abstractmethod
    def read_journal(self, generation: int) -> bytes:
        """Its records, the last of which may be torn. Raises FileNotFoundError."""


class Folder(Place):
    """A folder of the local file system."""

    def __init__(self, path: Path):
        self.path: Path = path
        self.root: Path = path

    def exists(self) -> bool:
        return self.path.exists()

    def is_free(self) -> bool:
        return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    def names(self) -> list[str]:
        return sorted(file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file())

    def holds(self, key: str) -> bool:
        return (self.path / key).is_file()

    def read(self, key: str) -> bytes:
        return (self.path / key).read_bytes()

    def replace(self, key: str, data: bytes) -> None:
        partial = self.path / f".{key}.partial"
        partial.write_bytes(data)
        os.replace(partial, self.path / key)

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            (self.path / key).unlink(missing_ok=True)

    def clear(self) -> None:
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True)

    def claim(self) -> Claim | None:
        return Claim(self.path)

    def journal(self, generation: int, *, append: bool = False) -> Journal:
        return FileJournal(self.path / f"journal.{generation}", append=append)

    def read_journal(self, generation: int) -> bytes:
        return self.read(f"journal.{generation}")


class Remote(Place):
    """Any other Zarr store. Nothing keeps a second recorder off."""

    def __init__(self, store: ZarrStore, path: str):
        self.path: str = path
        self.root: ZarrStore = store

    def exists(self) -> bool:
        return not self.is_free()

    def is_free(self) -> bool:
        return self._wait(self.root.is_empty(""))

    def names(self) -> list[str]:
        return self._list("")

    def holds(self, key: str) -> bool:
        return self._wait(self.root.exists(key))

    def read(self, key: str) -> bytes:
        (data,) = self._read([key])
        return data

    def replace(self, key: str, data: bytes) -> None:
        self._wait(self.root.set(key, cpu.Buffer.from_bytes(data)))

    def remove(self, keys: Iterable[str]) -> None:
        async def delete() -> None:
            await gather(*map(self.root.delete, keys))

        self._wait(delete())

    def clear(self) -> None:
        self.remove(self.names())

    def claim(self) -> None:
        return None

    def journal(self, generation: int, *, append: bool = False) -> Journal:
        folder = f"journal.{generation}"
        there = self._list(f"{folder}/")
        if not append:
            self.remove(there)
        return ObjectJournal(folder, len(there) if append else 0, self.replace, self.remove)

    def read_journal(self, generation: int) -> bytes:
        folder = f"journal.{generation}"
        there = set(self._list(f"{folder}/"))
        if not there:
            raise FileNotFoundError(errno.ENOENT, "No such journal", f"{self.path}/{folder}")
        names = (ObjectJournal.key(folder, n) for n in range(len(there)))
        return b"".join(self._read(list(takewhile(there.__contains__, names))))

    def _list(self, prefix: str) -> list[str]:
        async def collect() -> list[str]:
            return [key async for key in self.root.list_prefix(prefix)]

        return sorted(self._wait(collect()))

    def _read(self, keys: list[str]) -> list[bytes]:
        async def get() -> list[Any]:
            return await gather(*(self.root.get(key, default_buffer_prototype()) for key in keys))

        found = self._wait(get())
        if None in found:
            raise FileNotFoundError(errno.ENOENT, "No such object", f"{self.path}/{keys[found.index(None)]}")
        return [buffer.to_bytes() for buffer in found]

    def _wait(self, operation: Coroutine[Any, Any, Any]) -> Any:
        """Its result; whatever a store raises becomes an OSError that says it in one line."""
        try:
            return sync(operation)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, first_line(error), self.path) from error


def first_line(error: BaseException) -> str:
    """An error in one line: object stores report theirs in many."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def place(where: "Where | Place") -> Place:
    """The place a user means: a path, a URL (`s3://bucket/run.zarr`), or a Zarr store.

    Raises StoreError for a URL of an unknown kind, or one that needs a package which is not installed.
    """
    if isinstance(where, Place):
        return where
    if isinstance(where, LocalStore):
        return Folder(Path(where.root))
    if isinstance(where, ZarrStore):
        return Remote(where, str(where))
    if isinstance(where, str) and "://" in where:
        parts = urlsplit(where)
        return Folder(Path(url2pathname(parts.path))) if parts.scheme == "file" else Remote(_open(where), where)
    return Folder(Path(where))


def _open(url: str) -> ZarrStore:
    """obstore where it knows the kind of URL and is installed; fsspec otherwise."""
    try:
        if url.partition("://")[0] in ("s3", "s3a", "gs", "az", "abfs", "abfss"):
            try:
                from obstore.store import from_url
            except ImportError:
                pass
            else:
                return ObjectStore(from_url(url))
        return FsspecStore.from_url(url)
    except Exception as error:
        raise StoreError(
            f"{url}: cannot be opened ({first_line(error)}); expected a folder, or a URL that an installed obstore "
            "or fsspec reads (pip install 'ultraslow[remote]')"
        ) from error
