"""The thread that writes rows, and the failures of every thread but the training's own."""

from collections.abc import Callable
from typing import Any, Literal

from trajectory.errors import RecordingError, first_line, kind_and_message
from trajectory.recording.warned import Warned
from trajectory.recording.worker import Call, Worker

OnError = Literal["raise", "warn"]
_QUEUED = 1024  # calls on their way; one more makes the training thread wait


class WriterThread:
    """Makes calls one after the other in a thread, and reports what failed there and in other threads.

    Attributes:
        failures: The errors so far, in order; any thread may append to them.
        given_up: Whether recording has ended with a warning.
        has_raised: Whether a failure was raised.

    Args:
        path: The run's path, for the message.
        on_error: "raise" RecordingError, or "warn" once and give up.
    """

    def __init__(self, path: object, on_error: OnError):
        self.failures: list[Exception] = []
        self.given_up = False
        self.has_raised = False
        self._path, self._on_error = path, on_error
        self._reported, self._warned = 0, Warned()
        self._worker = Worker("rows", self.failures.append)

    def call(self, function: Callable[..., object], *args: Any) -> Call:
        """Queue a call behind all that were given before.

        Args:
            function: The function to call in the thread.
            *args: Its arguments.

        Returns:
            The call.
        """
        call = Call(function, *args)
        self.put(call)
        return call

    def put(self, call: Call) -> None:
        """Queue a call, which is made once however often it is queued.

        Args:
            call: The call.
        """
        if self._worker.queued >= _QUEUED:
            self.wait()
        self._worker.put(call)

    def wait(self) -> None:
        """Wait until everything given so far is done."""
        self._worker.wait()

    def close(self) -> None:
        """Finish what was given and end the thread."""
        self._worker.close()

    def raise_failures(self) -> None:
        """Raise, or warn of, what failed since the last call.

        Raises:
            RecordingError: A call has failed, and `on_error` is "raise".
        """
        while self._reported < len(self.failures):
            error = self.failures[self._reported]
            cause = first_line(error) if isinstance(error, OSError) else kind_and_message(error)
            sentence = f"{self._path}: recording failed ({cause}); what was written before stays readable"
            if self._on_error == "raise":
                failure = RecordingError(sentence)
                self._reported += 1  # by nothing that an interrupt can part from the raising
                self.has_raised = True
                raise failure from error
            try:
                self._warned.warn("given up", f"{sentence}; training goes on unrecorded", stacklevel=3)
            finally:
                self.given_up = "given up" in self._warned
            self._reported += 1
