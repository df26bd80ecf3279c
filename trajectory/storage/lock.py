"""One recorder a store: the lock that keeps a second one off."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trajectory.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows has none: there, nothing keeps a second recorder off
    fcntl = None  # type: ignore[assignment]


class RunLock:
    """An exclusive lock on a store's folder, which the system releases when the process ends, however it does.

    Args:
        path: the store's folder, which has to be there.

    Raises:
        StoreError: another recorder holds the lock.
    """

    def __init__(self, path: Path):
        self._path = path / "lock"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise StoreError(f"{path}: another recorder is writing there; choose another path, or stop it") from error

    def release(self) -> None:
        """Let other recorders in."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


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
