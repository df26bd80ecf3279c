"""What happens to recorders that nobody closes: no row is lost when one is collected, or when the program ends.

The end of a program comes in this order: functions registered with `threading`, last ones first; then all threads are
awaited, pools end, and only then functions registered with `atexit` run, when nothing can be written through a pool.
"""

import atexit
import concurrent.futures.thread  # noqa: F401  registers the end of its pools, before which recorders are to end
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trajectory.errors import UltraslowError, kind_and_message

STATUS = "interrupted (not closed)"
# Seconds that the end of a collected recorder is awaited: not for ever, since the collector comes at any allocation,
# also while a library holds a lock that the threads that write need.
_PATIENCE = 5.0


@dataclass(frozen=True)
class _Unclosed:
    """A recorder that is not closed: what closes it, where its run is, and the thread and process it was made in."""

    finalizer: "weakref.finalize[..., Any]"
    place: str
    thread: threading.Thread
    pid: int


_open: list[_Unclosed] = []


def finish_in_the_end(
    recorder: object, location: Path | str, finish: Callable[[], None]
) -> "weakref.finalize[..., Any]":
    """Have a recorder's run closed when it is collected or the program ends, in this process alone.

    Args:
        recorder: The recorder.
        location: The store's whole path, or its URL.
        finish: Closes its run, without a reference to the recorder.

    Returns:
        What is to be detached when the recorder is closed.
    """
    finalizer = weakref.finalize(recorder, _collected, os.getpid(), finish)
    finalizer.atexit = False
    entry = _Unclosed(finalizer, _place(location), threading.current_thread(), os.getpid())
    _open[:] = [*(other for other in _open if other.finalizer.alive), entry]
    return finalizer


def unclosed_at(location: Path | str) -> Iterator[Any]:
    """Find the recorders of this thread that were not closed and write a run at a place.

    Args:
        location: The store's whole path, or its URL.

    Yields:
        Each recorder. Those of other threads may train still.
    """
    here = _place(location), threading.current_thread(), os.getpid()
    for entry in list(_open):
        found = entry.finalizer.peek()
        if found and (entry.place, entry.thread, entry.pid) == here:
            yield found[0]


def _place(location: Path | str) -> str:
    return os.path.realpath(location) if isinstance(location, Path) else location


def _collected(pid: int, finish: Callable[[], None]) -> None:
    if pid != os.getpid():  # a forked child's copy
        return
    closing = threading.Thread(target=_finish, args=(finish,), name="unclosed")
    closing.start()
    if threading.current_thread() is threading.main_thread():  # another may be one that writes the run
        closing.join(_PATIENCE)


def _finish(finish: Callable[[], None]) -> None:
    try:
        finish()
    except Exception as error:  # nobody is there to catch it
        cause = error if isinstance(error, UltraslowError) else kind_and_message(error)
        warnings.warn(f"a recorder that was not closed lost its last rows ({cause})", RuntimeWarning, stacklevel=2)


def _finish_all() -> None:
    for entry in _open:
        if entry.thread is threading.main_thread() or not entry.thread.is_alive():  # otherwise it may train still
            found = entry.finalizer.detach()
            if found and entry.pid == os.getpid():
                *_, finish = found[2]
                _finish(finish)


getattr(threading, "_register_atexit", atexit.register)(_finish_all)
