"""Where the bytes of a run's store lie: a local folder, or whatever Zarr can write to, by object or URL.

A commit replaces the root's metadata in one step. A folder does so by renaming a file, once all that the new metadata
speak of is on the disk; object stores put an object as a whole or not at all.
"""

# ruff: noqa: D102 (`Backend` says what the methods of its subclasses do)

import errno
import os
import shutil
import stat
from abc import ABC, abstractmethod
from asyncio import gather
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zarr.abc.store import Store
from zarr.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from trajectory.errors import RunNotFoundError, StoreError, first_line
from trajectory.storage.disk import Disk, DurableStore
from trajectory.storage.journal import FileJournal, Journal, ObjectJournal
from trajectory.storage.lock import LOCK, RunLock

StoreLike = str | Path | Store
"""A run's store as users name it: a folder, a URL (`s3://bucket/run.zarr`), or a Zarr store."""


class Backend(ABC):
    """The files or objects of one store. A key is a path within it, with `/`.

    Attributes:
        path: names the store to people, as it was given.
        root: what Zarr opens; a folder's whole path, which a change of the working directory leaves as it is.
    """

    path: Path | str
    root: Path | Store

    @property
    @abstractmethod
    def writable(self) -> Store:
        """What Zarr writes to."""

    @property
    def location(self) -> Path | str:
        """What opens the store again: a folder's whole path; otherwise `path`."""
        return self.root if isinstance(self.root, Path) else self.path

    @abstractmethod
    def exists(self) -> bool:
        """Return whether anything is there, an empty folder included."""

    @abstractmethod
    def is_free(self) -> bool:
        """Return whether a store can be made there without removing anything."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the keys of all files or objects."""

    @abstractmethod
    def holds(self, key: str) -> bool:
        """Return whether there is a file or object.

        Args:
            key: its key.

        Returns:
            True if it is there.
        """

    @abstractmethod
    def sizes(self, keys: Sequence[str]) -> list[int | None]:
        """Return how long files or objects are.

        Args:
            keys: their keys.

        Returns:
            The bytes of each, None where there is no such file or object.
        """

    @abstractmethod
    def stamp(self, key: str) -> object:
        """Return what changes if a file is replaced.

        Args:
            key: its key.

        Returns:
            A value to compare; None where only reading the object tells.
        """

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Read a file or object.

        Args:
            key: its key.

        Returns:
            All its bytes.

        Raises:
            FileNotFoundError: it is not there.
            OSError: it cannot be read.
        """

    @abstractmethod
    def replace(self, key: str, data: bytes) -> None:
        """Write a whole file or object in one step: readers see the old one or the new one.

        Not even a power cut can show the new one without what was written before, weights of snapshots apart. It
        cannot bring the old one back either.

        Args:
            key: its key.
            data: all its bytes.
        """

    @abstractmethod
    def sync(self) -> None:
        """Wait until no power cut can take back what was written, journals apart."""

    @abstractmethod
    def remove(self, keys: Iterable[str]) -> None:
        """Remove files or objects, if they exist, and the folders that are empty then.

        Args:
            keys: their keys.
        """

    @abstractmethod
    def make(self) -> None:
        """Make the folder, with its parents, if it is not there."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything but the lock; if that is cut short, what is left counts as a store being made."""

    @abstractmethod
    def refuse_links(self) -> None:
        """Check that no symbolic link in the store leads what is written out of it.

        Raises:
            StoreError: there is one.
        """

    @abstractmethod
    def lock(self) -> RunLock | None:
        """Keep other recorders off until the lock is released.

        Returns:
            The lock, or None where nothing can be locked.

        Raises:
            StoreError: another recorder holds it, or the place cannot be written to.
        """

    @abstractmethod
    def journal(self, generation: int, *, append: bool = False) -> Journal:
        """Open a journal for writing.

        Args:
            generation: its number.
            append: write behind the last intact record of the existing journal, instead of beginning a new one.

        Returns:
            The journal.
        """

    @abstractmethod
    def read_journal(self, generation: int) -> bytes:
        """Read a journal.

        Args:
            generation: its number.

        Returns:
            Its records, the last of which may be torn.

        Raises:
            FileNotFoundError: it is not there.
        """


class LocalBackend(Backend):
    """A folder of the local file system.

    Neither a later change of the working directory nor one of a symbolic link on the way there moves it.

    Args:
        path: the folder, which may be relative to the present working directory, or a symbolic link.

    Raises:
        RunNotFoundError: the path leads over a symbolic link to nothing.
        StoreError: the path is relative, and the working directory is no longer there.
    """

    def __init__(self, path: Path):
        self.path: Path = path
        try:
            whole = path.absolute()
        except FileNotFoundError as error:
            raise StoreError(
                f"{path}: a relative path, and the working directory is no longer there; give the whole path"
            ) from error
        for place in (whole, *whole.parents):
            if os.path.islink(place) and not os.path.exists(place):
                raise RunNotFoundError(
                    f"{path}: {'it' if place == whole else place} is a symbolic link to {os.readlink(place)}, where"
                    " nothing is; make that folder, or remove the link"
                )
        self.root: Path = Path(os.path.realpath(whole))
        self._disk = Disk(self.root)

    @property
    def writable(self) -> Store:
        return DurableStore(self.root, self._disk)

    def exists(self) -> bool:
        return self.root.exists()

    def is_free(self) -> bool:
        if not self.root.exists():
            return True
        return self.root.is_dir() and all(file.name == LOCK for file in self.root.iterdir())

    def names(self) -> list[str]:
        return sorted(file.relative_to(self.root).as_posix() for file in self.root.rglob("*") if file.is_file())

    def holds(self, key: str) -> bool:
        return (self.root / key).is_file()

    def sizes(self, keys: Sequence[str]) -> list[int | None]:
        return [self._size(key) for key in keys]

    def _size(self, key: str) -> int | None:
        try:
            status = (self.root / key).stat()
        except (OSError, ValueError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def stamp(self, key: str) -> object:
        try:
            status = (self.root / key).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self, key: str) -> bytes:
        file = self.root / key
        if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe would be waited for without end
            raise OSError(errno.EINVAL, "not a regular file", str(file))
        return file.read_bytes()

    def replace(self, key: str, data: bytes) -> None:
        self._disk.sync_names()
        self._disk.put(key, data)
        self._disk.sync_names()

    def sync(self) -> None:
        self._disk.sync()

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            path = self.root / key
            path.unlink(missing_ok=True)
            with suppress(OSError):  # the folder holds something else
                while (path := path.parent) != self.root:
                    path.rmdir()

    def make(self) -> None:
        self._disk.make_folder(self.root)

    def clear(self) -> None:
        self.journal(0).close()  # with it and without its root, it is a store being made
        self._disk.sync_names()
        self.remove(["zarr.json"])
        self._disk.note_name(self.root / "zarr.json")
        self._disk.sync_names()
        for entry in list(self.root.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in (LOCK, "journal.0"):
                entry.unlink()

    def refuse_links(self) -> None:
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                link = os.path.join(folder, name)
                if os.path.islink(link):
                    raise StoreError(
                        f"{self.path}: {os.path.relpath(link, self.root)} is a symbolic link, and nothing is written"
                        " through one; put what it leads to in its place, or record to another path"
                    )

    def lock(self) -> RunLock | None:
        return RunLock(self.root, self.path)

    def journal(self, generation: int, *, append: bool = False) -> Journal:
        path = self.root / f"journal.{generation}"
        self._disk.note_name(path)
        return FileJournal(path, append=append)

    def read_journal(self, generation: int) -> bytes:
        return self.read(f"journal.{generation}")


class ZarrBackend(Backend):
    """Any other Zarr store. Nothing keeps a second recorder off.

    Args:
        store: the Zarr store.
        path: names it to people.
    """

    def __init__(self, store: Store, path: str):
        self.path: str = path
        self.root: Store = store

    @property
    def writable(self) -> Store:
        return self.root

    def exists(self) -> bool:
        return not self.is_free()

    def is_free(self) -> bool:
        return self._wait(self.root.is_empty(""))

    def names(self) -> list[str]:
        return self._list("")

    def holds(self, key: str) -> bool:
        return self._wait(self.root.exists(key))

    def sizes(self, keys: Sequence[str]) -> list[int | None]:
        async def size(key: str) -> int | None:
            try:
                return await self.root.getsize(key)
            except FileNotFoundError:
                return None

        async def all_sizes() -> list[int | None]:
            return list(await gather(*map(size, keys)))

        return self._wait(all_sizes())

    def stamp(self, key: str) -> None:
        return None

    def read(self, key: str) -> bytes:
        (data,) = self._read([key])
        return data

    def replace(self, key: str, data: bytes) -> None:
        self._wait(self.root.set(key, cpu.Buffer.from_bytes(data)))

    def sync(self) -> None:
        pass

    def remove(self, keys: Iterable[str]) -> None:
        async def delete() -> None:
            await gather(*map(self.root.delete, keys))

        self._wait(delete())

    def make(self) -> None:
        pass

    def refuse_links(self) -> None:
        pass

    def clear(self) -> None:
        self.remove(self.names())

    def lock(self) -> None:
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
        """Return its result; whatever a store raises becomes an OSError that says it in one line."""
        try:
            return sync(operation)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, first_line(error), self.path) from error


def open_backend(store: StoreLike | Backend) -> Backend:
    """Return the backend of the store that a user names; nothing is read or made yet.

    Args:
        store: a folder's path, a URL (`s3://bucket/run.zarr`), a Zarr store, or a backend, which is returned.

    Returns:
        The backend.

    Raises:
        RunNotFoundError: the path leads over a symbolic link to nothing.
        StoreError: the URL is of an unknown kind, or needs a package that is not installed.
    """
    if isinstance(store, Backend):
        return store
    if isinstance(store, LocalStore):
        return LocalBackend(Path(store.root))
    if isinstance(store, Store):
        return ZarrBackend(store, str(store))
    if isinstance(store, str) and "://" in store:
        parts = urlsplit(store)
        if parts.scheme == "file":
            return LocalBackend(Path(url2pathname(parts.path)))
        return ZarrBackend(_open_url(store), store)
    return LocalBackend(Path(store))


def _open_url(url: str) -> Store:
    """Open a URL by obstore where that knows its kind and is installed; by fsspec otherwise."""
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
