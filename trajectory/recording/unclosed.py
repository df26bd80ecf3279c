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
from collections.abc import Callable
from typing import Any

STATUS = "interrupted (not closed)"
_open: list[tuple["weakref.finalize[..., Any]", threading.Thread]] = []


def finish_in_the_end(recorder: object, finish: Callable[[], None]) -> "weakref.finalize[..., Any]":
    """Have a recorder's run closed when it is collected or the program ends, in this process alone.

    Args:
        recorder: The recorder.
        finish: Closes its run, without a reference to the recorder.

    Returns:
        What is to be detached when the recorder is closed.
    """
    finalizer = weakref.finalize(recorder, _collected, os.getpid(), finish)
    finalizer.atexit = False
    _open[:] = [*((other, thread) for other, thread in _open if other.alive), (finalizer, threading.current_thread())]
    return finalizer


def _collected(pid: int, finish: Callable[[], None]) -> None:
    if pid != os.getpid():  # a forked child's copy
        return
    if threading.current_thread() is threading.main_thread():
        _finish(finish)
    else:  # perhaps one of those that write the run, which cannot await themselves
        threading.Thread(target=_finish, args=(finish,), name="unclosed").start()


def _finish(finish: Callable[[], None]) -> None:
    try:
        finish()
    except Exception as error:  # nobody is there to catch it
        warnings.warn(f"a recorder that was not closed lost its last rows ({error})", RuntimeWarning, stacklevel=2)


def _finish_all() -> None:
    for finalizer, thread in _open:
        if thread is threading.main_thread() or not thread.is_alive():  # otherwise it may train still
            finalizer()


getattr(threading, "_register_atexit", atexit.register)(_finish_all)
