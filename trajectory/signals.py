"""Interrupts: what a signal's handler raises while a recorder is at work, such as Ctrl-C's KeyboardInterrupt."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from traceback import walk_tb


def is_raised_by_handler(error: BaseException) -> bool:
    """Return whether a signal's handler has raised an error, such as a timeout by `signal.alarm`.

    Args:
        error: An error that was caught.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone runs handlers
        return False
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers}
    return any(frame.f_code in codes for frame, _ in walk_tb(error.__traceback__))


def finish_if_interrupted(act: Callable[[], None]) -> None:
    """Do something, and let an interrupt have its way only once that is done.

    Args:
        act: Does it, going on from where another call has ended.
    """
    try:
        act()
    except BaseException:
        with suppress(Exception):
            act()
        raise
