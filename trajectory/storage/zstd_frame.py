"""What a Zstandard frame says of itself, read before it is unpacked: a few bytes can stand for many gigabytes."""

_MAGIC = b"\x28\xb5\x2f\xfd"
HEADER = 18  # bytes: the longest header


def content_size(frame: bytes) -> int | None:
    """Return how many bytes a frame unpacks to (RFC 8878, section 3.1.1.1).

    Args:
        frame: its first `HEADER` bytes, or more.

    Returns:
        The bytes; None where it does not say, or is no frame.
    """
    if len(frame) < 6 or not frame.startswith(_MAGIC):
        return None
    descriptor = frame[4]
    single = descriptor >> 5 & 1  # segment: without the byte that gives the window's size
    width = (single, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(frame[start : start + width], "little")
    return None if width == 0 else size + 256 if width == 2 else size
