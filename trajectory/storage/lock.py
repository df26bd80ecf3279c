"""One recorder a store: the lock that keeps a second one off."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trajectory.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows has none: there, two recorders on one path are not told apart
    fcntl = None  # type: ignore[assignment]


class Claim:
    """An exclusive lock on a store's folder, which the system gives back when the process ends, however it does.

    Raises StoreError while another recorder holds it.
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

    def close(self) -> None:
        """Gives the folder back."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


@contextmanager
def given_back_on_error(claim: Claim | None) -> Iterator[None]:
    """Gives the folder back if what is done with it fails or is interrupted, for a later attempt in this process."""
    try:
        yield
    except BaseException:
        if claim is not None:
            claim.close()
        raise
