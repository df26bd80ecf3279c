"""One tree of errors. Every message is one line: what was got, what was expected, what to do."""


class UltraslowError(ValueError):
    """A problem with the user's input or data; the command line prints it and exits with 1."""


class StoreError(UltraslowError):
    """A run's store cannot be read or written."""


class RunNotFoundError(StoreError, FileNotFoundError):
    """There is nothing at the path of a run that was to be read."""


class RecordingError(UltraslowError):
    """The recorder cannot go on: bad arguments, or an error of its background writer."""


def first_line(error: BaseException) -> str:
    """Return an error's message in one line.

    Object stores, compilers and unpicklers report theirs in many.

    Args:
        error: any exception.

    Returns:
        The first line of its message, or the name of its class where it has none.
    """
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
