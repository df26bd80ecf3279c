"""The thread that writes rows, and the failures of every thread but the training's own."""

import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Literal

from trajectory.errors import RecordingError, first_line

OnError = Literal["raise", "warn"]
_QUEUED = 1024  # calls on their way; one more makes the training thread wait


class WriterThread:
    """Makes calls one after the other in a thread, and reports what failed there or in watched futures.

    Args:
        path: The run's path, for the message.
        on_error: "raise" RecordingError, or "warn" once and give up.
    """

    def __init__(self, path: object, on_error: OnError):
        self.given_up = False
        self.has_raised = False
        self._path, self._on_error = path, on_error
        self._pending: list[Future[None]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rows")

    def call(self, function: Callable[..., None], *args: Any) -> Future[None]:
        """Queue a call behind all that were given before.

        Args:
            function: The function to call in the thread.
            *args: Its arguments.

        Returns:
            The future of the call.
        """
        if len(self._pending) >= _QUEUED:
            wait(self._pending[:1])
        future = self._thread.submit(function, *args)
        self._pending.append(future)
        return future

    def watch(self, future: Future[None]) -> None:
        """Report another thread's failure like one of this thread.

        Args:
            future: The other thread's work.
        """
        self._pending.append(future)

    def wait(self) -> None:
        """Wait until everything given so far is done."""
        wait(self._pending)

    def close(self) -> None:
        """Finish what was given and end the thread."""
        self._thread.shutdown(wait=True)

    def raise_failures(self) -> None:
        """Raise, or warn of, what failed since the last call.

        Raises:
            RecordingError: A call or a watched future has failed, and `on_error` is "raise".
        """
        done = {future for future in self._pending if future.done()}
        self._pending = [future for future in self._pending if future not in done]
        for error in filter(None, (future.exception() for future in done)):
            cause = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {first_line(error)}"
            sentence = f"{self._path}: recording failed ({cause}); what was written before stays readable"
            if self._on_error == "raise":
                self.has_raised = True
                raise RecordingError(sentence) from error
            if not self.given_up:
                warnings.warn(f"{sentence}; training goes on unrecorded", RuntimeWarning, stacklevel=3)
            self.given_up = True
