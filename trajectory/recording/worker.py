"""A thread that makes calls one after the other, and that an interrupt of another thread cannot leave stuck.

A signal's handler, Ctrl-C's for one, may raise between any two calls that the main thread makes: also when a lock of
Python's own, such as that of a Future or a Semaphore, is taken, and the `with` that is to release it not yet entered.
What the main thread does here is one call into C each time, which is made or not made: it puts a call into a
SimpleQueue, and it waits for a lock that nobody else needs.
"""

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_PATIENCE = 0.5  # seconds between two looks at whether the thread still lives


class Call:
    """A call that is made once, however often it is queued.

    Args:
        function: The function to call.
        *args: Its arguments, which are let go once it has returned.
    """

    def __init__(self, function: Callable[..., object], *args: Any):
        self.done = False
        self._function, self._args = function, args
        self._running = threading.Lock()
        self._running.acquire()

    def run(self) -> None:
        """Make the call, unless that was done."""
        if self.done:
            return
        try:
            self._function(*self._args)
        finally:
            self._function, self._args = _nothing, ()
            self.done = True
            self._running.release()

    def wait(self, thread: threading.Thread) -> None:
        """Wait until the call is made, or the thread that is to make it has ended.

        Args:
            thread: The thread.
        """
        while not (self.done or self._running.acquire(timeout=_PATIENCE)) and thread.is_alive():
            pass


class Worker:
    """A thread that makes the calls queued for it, and ends with this object.

    Args:
        name: The thread's name.
        failed: Is called in the thread with the error of a call that fails.
    """

    def __init__(self, name: str, failed: Callable[[Exception], object]):
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(self._calls, failed), name=name, daemon=True)
        self._thread.start()
        weakref.finalize(self, self._calls.put, None)

    @property
    def queued(self) -> int:
        """The number of calls that have not begun."""
        return self._calls.qsize()

    def put(self, call: Call) -> None:
        """Queue a call behind all that were queued before.

        Args:
            call: The call.
        """
        self._calls.put(call)

    def wait(self, call: Call | None = None) -> None:
        """Wait until a call is made.

        Args:
            call: The call; None for all that were queued before.
        """
        if call is None:
            call = Call(_nothing)
            self._calls.put(call)
        call.wait(self._thread)

    def close(self) -> None:
        """Wait until all calls are made, and end the thread."""
        self.wait()
        self._calls.put(None)


def _nothing() -> None:
    pass


def _work(calls: "SimpleQueue[Call | None]", failed: Callable[[Exception], object]) -> None:
    while call := calls.get():
        try:
            call.run()
        except Exception as error:
            failed(error)
        del call  # what it held is free while the next one is awaited
