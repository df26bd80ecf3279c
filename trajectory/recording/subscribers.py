"""Functions that are told of recorded rows."""

from collections import deque
from collections.abc import Callable
from itertools import starmap
from operator import call
from typing import TypeAlias

from trajectory.errors import kind_and_message
from trajectory.recording.rows import Rows
from trajectory.recording.warned import Warned
from trajectory.recording.writer_thread import OnError
from trajectory.signals import is_raised_by_handler

Receivers: TypeAlias = "deque[tuple[Callable[[Rows], None], Rows]]"


class Subscribers:
    """The functions, and a warning of those that fail.

    Args:
        path: The run's path, for the message.
        on_error: Whether a function that fails raises its error, or brings a warning.
    """

    def __init__(self, path: object, on_error: OnError):
        self._path, self._on_error = path, on_error
        self._functions: list[Callable[[Rows], None]] = []
        self._failed = Warned()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._functions)

    def append(self, receive: Callable[[Rows], None]) -> None:
        """Add a function.

        Args:
            receive: Called with the rows, in the training thread.
        """
        self._functions.append(receive)

    def receivers(self, rows: Rows) -> Receivers:
        """Return what each function is to be told, in their order.

        Args:
            rows: The rows.
        """
        return deque((receive, rows) for receive in self._functions)

    def tell(self, receivers: Receivers) -> None:
        """Tell the functions in turn, so that another call goes on where an interrupt has ended this one.

        Args:
            receivers: What `receivers` has returned; those who were told are taken from it.
        """
        while receivers:
            receive, _ = receivers[0]
            try:
                next(starmap(call, iter(receivers.popleft, None)))  # taken and told by one call into C
            except Exception as error:
                if self._on_error == "raise" or is_raised_by_handler(error):
                    raise
                name = getattr(receive, "__qualname__", type(receive).__name__)
                self._failed.warn(
                    receive,
                    f"{self._path}: the subscriber {name} failed ({kind_and_message(error)});"
                    " recording goes on, and it is told of further rows",
                    stacklevel=5,
                )
