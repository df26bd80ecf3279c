"""The files of a run's store in a folder of the local file system."""

# ruff: noqa: D102 (`Backend` says what the methods do)

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from zarr.abc.store import Store

from trajectory.errors import RunNotFoundError, StoreError
from trajectory.storage.backend import Backend
from trajectory.storage.disk import Disk, DurableStore
from trajectory.storage.journal import FileJournal, Journal
from trajectory.storage.lock import LOCK, RunLock


class LocalBackend(Backend):
    """A folder of the local file system.

    Neither a later change of the working directory nor one of a symbolic link on the way there moves it.

    Args:
        path: the folder, which may be relative to the present working directory, or a symbolic link.

    Raises:
        RunNotFoundError: the path leads over a symbolic link to nothing.
        StoreError: the path has a line feed or a NUL, or is relative, and the working directory is no longer there.
    """

    def __init__(self, path: Path):
        self.path: Path = path
        if odd := [character for character in str(path) if character in "\0\n\r"]:
            raise StoreError(f"{str(path)!r}: a path with {odd[0]!r}; expected one that stands in a line")
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
        self._lock: RunLock | None = None

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
        try:
            return self._size(key) is not None
        except OSError:  # reading it says why
            return True

    def sizes(self, keys: Sequence[str]) -> list[int | None]:
        return [self._size(key) for key in keys]

    def _size(self, key: str) -> int | None:
        try:
            status = (self.root / key).stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def ends(self, keys: Sequence[str], count: int) -> list[bytes | None]:
        return [self._end(key, count) for key in keys]

    def _end(self, key: str, count: int) -> bytes | None:
        try:
            with open(self.root / key, "rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - count, 0))
                return file.read()
        except FileNotFoundError:
            return None

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
        try:
            return file.read_bytes()
        except MemoryError as error:
            raise OSError(errno.EFBIG, "larger than the memory", str(file)) from error

    def replace(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._disk.sync_names()
        self._disk.put(key, data)
        if durable:
            self._disk.sync_names()

    def sync_names(self) -> None:
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
        self._lock = RunLock(self.root, self.path)
        return self._lock

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def journal(self, generation: int, *, append: bool = False) -> Journal:
        path = self.root / f"journal.{generation}"
        self._disk.note_name(path)
        return FileJournal(path, append=append)

    def read_journal(self, generation: int) -> bytes:
        return self.read(f"journal.{generation}")
