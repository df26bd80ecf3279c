"""One tree of errors. Every message is one line: what was got, what was expected, what to do."""

import re

# C0 and C1 controls but tab and line feed; what changes the direction or ends a line; halves of characters
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class UltraslowError(ValueError):
    """A problem with the user's input or data; the command line prints it and exits with 1.

    Examples:
        >>> from trajectory import Run, UltraslowError
        >>> try:
        ...     Run("nowhere.zarr")
        ... except UltraslowError as error:
        ...     print(error)
        nowhere.zarr: no such run; expected the folder a Recorder wrote (such as runs/sb.zarr)
    """


class StoreError(UltraslowError):
    """A run's store cannot be read or written.

    Examples:
        >>> from pathlib import Path
        >>> from trajectory import Run, StoreError
        >>> Path("notes.txt").touch()
        >>> try:
        ...     Run("notes.txt")
        ... except StoreError as error:
        ...     print(error)
        notes.txt: not a run: got a file, expected the folder a Recorder wrote
    """


class RunNotFoundError(StoreError, FileNotFoundError):
    """There is nothing at the path of a run that was to be read.

    Examples:
        >>> from trajectory import Run
        >>> try:
        ...     Run("nowhere.zarr")
        ... except FileNotFoundError as error:
        ...     print(type(error).__name__)
        RunNotFoundError
    """


class RecordingError(UltraslowError):
    """The recorder cannot go on: bad arguments, or an error of its background writer.

    Examples:
        >>> from trajectory import Every, RecordingError
        >>> try:
        ...     Every(0)
        ... except RecordingError as error:
        ...     print(error)
        Every(0): expected a whole number of steps, 1 or more
    """


def first_line(error: BaseException) -> str:
    """Return the message of an error in one line.

    Object stores, compilers and unpicklers report theirs in many.

    Args:
        error: any exception.

    Returns:
        The first line of its message, or the name of its class where it has none; of the system's errors the words
        alone, since the path is known to whoever adds them to a sentence.
    """
    text = str((isinstance(error, OSError) and error.strerror) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def kind_and_message(error: BaseException) -> str:
    """Return what an error is that nobody has foreseen, in one line.

    Args:
        error: any exception.

    Returns:
        The name of its class, and its message where it has one.
    """
    kind, message = type(error).__name__, first_line(error)
    return kind if message == kind else f"{kind}: {message}"


def printable(text: str) -> str:
    r"""Return a text such that a terminal shows it and does nothing else.

    Names come from stores and models of others: an escape sequence in one would move the cursor, set the window's
    title, or reverse the order of what stands on the line.

    Args:
        text: any text.

    Returns:
        The text with control characters, but for line feeds and tabs, as Python writes them: `\x1b`.
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
