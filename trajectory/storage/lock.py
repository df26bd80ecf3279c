"""One recorder a store: the lock that keeps a second one off.

The lock is the system's (`flock`) on the store's file `lock`, and ends with the process that took it, however that
ends. A forked child would go on holding it: so it closes its copy before it does anything else. The file names the
process, too; where a file system knows no locks, that is all there is to go by.
"""

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

from trajectory.errors import StoreError
from trajectory.storage.journal import NO_LINK

try:
    import fcntl
except ImportError:  # Windows has none: there, nothing keeps a second recorder off
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"  # the file's name in the store
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class RunLock:
    """An exclusive lock on a store's folder, which ends with the process that holds it.

    On a file system without locks, a warning says that the folder is not guarded. There, a recorder is kept off only
    by a process of this machine that still runs.

    Args:
        folder: the store's folder, which has to be there.
        path: names the store to people.

    Raises:
        StoreError: another recorder holds the lock, or the folder cannot be written to.
    """

    _fd: int | None = None

    def __init__(self, folder: Path, path: object):
        self._file, self._path = folder / LOCK, path
        _held.add(self)
        try:
            while not self._take():
                self._close()
        except OSError as error:
            self.leave()
            raise StoreError(
                f"{path}: cannot write a run there ({error.strerror}); choose a place that can be written"
            ) from error
        except BaseException:
            self.leave()
            raise

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Let other recorders in. In a forked child this does nothing: the lock is its parent's."""
        if self._fd is not None:
            if _is_file(self._fd, self._file):  # otherwise the folder has gone, and another run may be in its place
                self._file.unlink(missing_ok=True)  # before it is unlocked, lest it be another recorder's by then
            self.leave()

    def check(self) -> None:
        """Check that the folder is where it was.

        Raises:
            FileNotFoundError: The folder, or the lock in it, was deleted or renamed.
        """
        if self._fd is not None and not _is_file(self._fd, self._file):
            raise FileNotFoundError(errno.ENOENT, "its folder was deleted or renamed", str(self._path))

    def leave(self) -> None:
        """Close this process's copy of the lock, and leave the file where it is."""
        _held.discard(self)
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _take(self) -> bool:
        """Return whether the lock was taken; otherwise its last holder has just removed the file."""
        self._fd = fd = os.open(self._file, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        if fcntl is not None:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._taken() from error
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._go_unguarded(error)
        if not _is_file(fd, self._file):
            return False
        with suppress(OSError):  # of a full disk
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, f"{os.getpid()} {socket.gethostname()}\n".encode())
        return True

    def _taken(self) -> StoreError:
        holder = self._holder()
        who = f" (process {holder[0]} on {holder[1]})" if holder else ""
        return StoreError(f"{self._path}: another recorder is writing there{who}; choose another path, or stop it")

    def _go_unguarded(self, error: OSError) -> None:
        """Warn that the file system knows no locks, unless the file names a process of this machine that runs."""
        holder = self._holder()
        if holder and holder[1] == socket.gethostname() and self._writes(holder[0]):
            raise self._taken() from error
        left = (
            f"; process {holder[0]} on {holder[1]} was not done with it: make sure that it has ended"
            if holder
            else ""
        )
        warnings.warn(
            f"{self._path}: its file system knows no file locks ({error.strerror}), so nothing keeps a second"
            f" recorder off{left}",
            RuntimeWarning,
            stacklevel=4,
        )

    def _holder(self) -> tuple[int, str] | None:
        """Read the process and the host that the file names."""
        assert self._fd is not None
        os.lseek(self._fd, 0, os.SEEK_SET)
        pid, _, host = os.read(self._fd, 4096).decode(errors="replace").strip().partition(" ")
        return (int(pid), host) if pid.isdecimal() and int(pid) > 0 else None

    def _writes(self, pid: int) -> bool:
        """Return whether a process of this machine may be the store's writer."""
        if pid == os.getpid():  # perhaps of another process, which had this one's number before
            return any(lock is not self and lock._file == self._file for lock in _held)
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        return True


_held: "WeakSet[RunLock]" = WeakSet()  # by this process


def _leave_to_parent() -> None:
    for lock in list(_held):
        lock.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _is_file(fd: int, path: Path) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)


@contextmanager
def released_on_error(lock: RunLock | None) -> Iterator[None]:
    """Release the lock if the body fails or is interrupted, for a later attempt in this process.

    Args:
        lock: the lock, or None where there is none.

    Yields:
        Nothing.
    """
    try:
        yield
    except BaseException:
        if lock is not None:
            lock.release()
        raise


@contextmanager
def in_place(lock: RunLock | None) -> Iterator[None]:
    """Write nothing where the run's folder was before it was deleted or renamed, and let an error there say so.

    Args:
        lock: the lock in the folder, or None where there is none.

    Yields:
        Nothing.

    Raises:
        FileNotFoundError: The folder was deleted or renamed, before the body or in it.
    """
    if lock is None:
        yield
        return
    lock.check()
    try:
        yield
    except Exception:
        lock.check()
        raise
