"""Files that survive a power cut: their content and their names are on the disk when they have to be.

A file system may write what it was given in any order, and lose what it was not told to sync: the content of a file
that was renamed already, or the name of a file whose content is there (Pillai et al., OSDI 2014). So a file is synced
before it takes its name, and the folders that hold new names are synced before anything speaks of them.
"""

import asyncio
import errno
import os
import threading
from contextlib import suppress
from pathlib import Path

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from trajectory.storage.journal import NO_LINK

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK | getattr(os, "O_BINARY", 0)
_SNAPSHOTS = ("snapshots/weights", "snapshots/buffers", "snapshots/blake3.")  # whether one is whole, its hash tells


class Disk:
    """The files of a folder, and which of them a power cut could still take back.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self._root = root
        self._names: set[Path] = set()  # folders whose names are synced before a commit speaks of them
        self._later: set[Path] = set()  # files and folders that wait for `sync`
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["Disk"], tuple[Path]]:
        return Disk, (self._root,)  # what is to be synced is the writer's, and a copy writes nothing

    def make_folder(self, folder: Path) -> None:
        """Make a folder, with its parents, if it is not there.

        Args:
            folder: the folder.
        """
        self._make_folder(folder, self._names)

    def note_name(self, path: Path) -> None:
        """Sync a new file's name with those of the files that are written.

        Args:
            path: the file.
        """
        self._names.add(path.parent)

    def put(self, key: str, data: memoryview | bytes) -> None:
        """Write a whole file in one step: readers see the old one or the new one.

        It is synced before it takes its name, but for two kinds, which wait for `sync` with their names: metadata of
        arrays, which are restored from the root, and snapshots, whose hashes tell whether they are whole.

        Args:
            key: its path in the folder.
            data: all its bytes.
        """
        path = self._root / key
        metadata = key.endswith("/zarr.json")
        snapshot = key.startswith(_SNAPSHOTS) and not metadata
        self._make_folder(path.parent, self._later if snapshot else self._names)
        partial = path.with_name(f".{path.name}.partial")
        partial.unlink(missing_ok=True)
        try:
            # a new file, whatever a symbolic link of that name led to
            with os.fdopen(os.open(partial, _NEW_FILE, 0o666), "wb", buffering=0) as file:
                _write(file.fileno(), data)
                if not (snapshot or metadata):
                    os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        if snapshot or metadata:
            self._later |= {path, path.parent}
        else:
            self._names.add(path.parent)

    def sync_names(self) -> None:
        """Wait until the names of all files written so far are on the disk."""
        with self._lock:
            _sync_all(self._names)

    def sync(self) -> None:
        """Wait until everything written so far is on the disk."""
        with self._lock:
            _sync_all(self._later)
            _sync_all(self._names)

    def _make_folder(self, folder: Path, names: set[Path]) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent, names)
        folder.mkdir(exist_ok=True)
        names.add(folder.parent)


class DurableStore(LocalStore):
    """A folder as Zarr writes to it, with every file put by a `Disk`.

    Args:
        root: the folder.
        disk: puts its files.
    """

    def __init__(self, root: Path, disk: Disk):
        super().__init__(root)
        self._disk = disk

    async def set(self, key: str, value: Buffer) -> None:
        """Write a whole file.

        Args:
            key: its path in the folder.
            value: all its bytes.
        """
        await asyncio.to_thread(self.set_sync, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a whole file, unless there is one; no other process writes to the folder.

        Args:
            key: its path in the folder.
            value: all its bytes.
        """
        if not await self.exists(key):
            await self.set(key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a whole file, as `set` does.

        Args:
            key: its path in the folder.
            value: all its bytes.
        """
        self._disk.put(key, memoryview(value.as_buffer_like()).cast("B"))


def _write(fd: int, data: memoryview | bytes) -> None:
    """Write all bytes, which one call may not take at once."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _sync_all(paths: set[Path]) -> None:
    """Empty a set of paths by syncing each; another thread may add to it meanwhile."""
    while paths:
        path = paths.pop()
        try:
            _sync(path)
        except OSError:
            paths.add(path)
            raise


def _sync(path: Path) -> None:
    """Sync a file's content, or a folder's names; what was removed meanwhile needs neither."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that syncs no folders
                raise
        finally:
            os.close(fd)
