"""The thread that writes rows, and what went wrong outside the training thread."""

import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Literal, get_args

from trajectory.errors import RecordingError, first_line

OnError = Literal["raise", "warn"]
_QUEUED = 1024  # calls on their way; one more makes the training thread wait


class Background:
    """Calls made one after the other in a thread, and others' futures: what fails is told by `raise_failures`.

    path: the run's, for the sentence; on_error: "raise" RecordingError, or "warn" once and give up.
    """

    def __init__(self, path: object, on_error: OnError):
        if on_error not in get_args(OnError):
            raise RecordingError(f"on_error={on_error!r}; expected 'raise' or 'warn'")
        self.given_up = False
        self._path, self._on_error = path, on_error
        self._pending: list[Future[None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rows")

    def call(self, function: Callable[..., None], *args: Any) -> Future[None]:
        """Calls `function` after all that were given before."""
        if len(self._pending) >= _QUEUED:
            wait(self._pending[:1])
        future = self._thread.submit(function, *args)
        self._pending.append(future)
        return future

    def watch(self, future: Future[None]) -> None:
        """Counts another thread's work in."""
        self._pending.append(future)

    def wait(self) -> None:
        """Until everything given so far is done."""
        wait(self._pending)

    def close(self) -> None:
        """Finishes what was given and ends the thread."""
        self._thread.shutdown(wait=True)

    def raise_failures(self) -> None:
        """Raises, or warns of, what went wrong since the last call."""
        done = {future for future in self._pending if future.done()}
        self._pending = [future for future in self._pending if future not in done]
        for error in filter(None, (future.exception() for future in done)):
            cause = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {first_line(error)}"
            sentence = f"{self._path}: recording failed ({cause}); what was written before stays readable"
            if self._on_error == "raise":
                raise RecordingError(sentence) from error
            if not self.given_up:
                warnings.warn(f"{sentence}; training goes on unrecorded", RuntimeWarning, stacklevel=3)
            self.given_up = True
