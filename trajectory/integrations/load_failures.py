"""Why a file of weights cannot be read: torch's own sentences advise to run its code, or name its libraries."""

import re
from pathlib import Path

from trajectory.errors import first_line

_POINTER = b"version https://git-lfs"
_ARCHIVE = b"PK\x03\x04"
_HELD = re.compile(r"but got (?:<class )?'?([\w.]+)")
_CUT = ("unexpected EOF", "Ran out of input", "truncated", "central directory")


def reason(error: BaseException, file: Path | None = None, *, torn: bool = False) -> str:
    """Say why a file cannot be read.

    Args:
        error: what came when it was read.
        file: the file, if it is one.
        torn: whether it is known that its end is missing.

    Returns:
        The reason, for a sentence's parentheses.
    """
    text = str(error)
    if file is not None and (begins := _beginning(file)):
        return begins
    if torn or isinstance(error, EOFError) or any(words in text for words in _CUT):
        return "its end is missing"
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return "it asks for more memory than there is"
    if "PytorchStreamReader" in text:
        return "its archive is damaged"
    if "WeightsUnpickler" in text or "Invalid magic number" in text:
        held = _HELD.search(text)
        return f"it holds {held[1]}, whose code would run as it is read" if held else "it is of another kind"
    return first_line(error)


def is_archive(file: Path) -> bool:
    """Return whether a file begins as a zip archive.

    Args:
        file: the file.
    """
    return _first_bytes(file).startswith(_ARCHIVE)


def _beginning(file: Path) -> str | None:
    """Say what a file is that begins as no checkpoint does; None where that does not tell."""
    first = _first_bytes(file)
    if not first:
        return "it is empty"
    return "it is git-lfs's pointer to a file that was not fetched: git lfs pull" if first == _POINTER else None


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_POINTER))
