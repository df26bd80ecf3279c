"""Tell the errors that recording meets from those that a signal's handler raises while it records."""

import signal
import threading
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
