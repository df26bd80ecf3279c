"""The records of a journal, and what of them a kill, a power cut or damage has left.

A record is `kind (1 byte), length (uint32), crc32 of kind and payload (uint32), payload`, little-endian.
A killed process can leave its last record torn, and a power cut zeros in the place of any that was not synced: that
is no damage, since it was not saved yet. Else, what is no record is damaged; the records that follow it are read, but
for those of a second journal, such as a copy of the first that was appended to it.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trajectory.storage.plain_json import parse

ROWS, METRICS, EVENT = b"R", b"M", b"E"
SYNCED = b"[ ]"  # a METRICS record without entries, written when all before it was synced
_KINDS = (ROWS, METRICS, EVENT)
_BEGINNING = re.compile(b"[RME]")
_LABEL = re.compile(rb"\[\][ \t]{32}")
_SEARCHED = 16  # times a journal's length: the bytes of possible records that are looked at behind a damaged one
_SECTOR = 512  # bytes: no disk and no file system writes less at once
_HEADER = struct.Struct("<cII")


@dataclass(frozen=True)
class Records:
    """What a journal holds.

    Attributes:
        intact: (kind, payload) of each intact record, in the order they were appended.
        damaged: where bytes lie that are no intact record, and that no kill or power cut has left so: (first byte,
            byte behind the last) of each stretch.
        end: the byte behind the last intact record; what is behind it is torn, unless it is damaged.
        foreign: whether it is the journal of another run or commit, of which nothing is `intact`.
        second: the first byte of a second journal behind it, the last stretch of `damaged`; None: there is none.
    """

    intact: list[tuple[bytes, bytes]]
    damaged: list[tuple[int, int]]
    end: int
    foreign: bool = False
    second: int | None = None

    @property
    def fault(self) -> str | None:
        """What is wrong with it; None where nothing is."""
        if self.foreign:
            return "it is the journal of another run, or of another commit"
        if not self.damaged:
            return None
        start, stop = self.damaged[0]
        if start == self.second:
            return f"from byte {start} on it holds another journal"
        return f"bytes {start} to {stop - 1} are no record"


def pack(kind: bytes, payload: bytes) -> bytes:
    """Return a record's bytes.

    Args:
        kind: one byte: `ROWS`, `METRICS` or `EVENT`.
        payload: what it holds.

    Returns:
        The bytes.
    """
    return _HEADER.pack(kind, len(payload), zlib.crc32(kind + payload)) + payload


def label(run: str, generation: int) -> bytes:
    """Return the payload of the METRICS record that a journal begins with.

    It is an empty list, so that earlier versions read past it, and 32 spaces and tabs behind it: a bit each.

    Args:
        run: the run's id.
        generation: the journal's number.

    Returns:
        The payload.
    """
    bits = zlib.crc32(f"{run} {generation}".encode())
    return b"[]" + bytes(b" \t"[bits >> k & 1] for k in range(32))


def decode(payload: bytes) -> Any:
    """Return the value that a record holds as JSON.

    Args:
        payload: the record's.

    Returns:
        The value.
    """
    return parse(payload)


def read_as(data: bytes, run: str | None, generation: int) -> Records:
    """Read the records of a certain journal.

    Args:
        data: its bytes.
        run: the run's id; None where that is not known.
        generation: its number.

    Returns:
        As `read`; none if the first record says that they are of another journal.
    """
    records = read(data)
    first = records.intact[0][1] if records.intact else b""
    if run is not None and _LABEL.fullmatch(first) and first != label(run, generation):
        return Records([], [(0, len(data))], 0, foreign=True)
    return records


def read(data: bytes) -> Records:
    """Read a journal's records.

    Args:
        data: its bytes, the last record of which may be torn.

    Returns:
        The intact records, and where others are damaged.
    """
    stretches = list(_stretches(data))
    synced = max((start for start, _, record in stretches if record == (METRICS, SYNCED)), default=0)
    intact, damaged, end = list[tuple[bytes, bytes]](), list[tuple[int, int]](), 0
    for start, stop, record in stretches:
        if record is not None and intact and _LABEL.fullmatch(record[1]):
            return Records(intact, [*damaged, (start, len(data))], end, second=start)
        if record is not None:
            intact.append(record)
            end = stop
        elif start >= synced and _is_unfinished(data, start, stop):
            break  # what a power cut left behind it is no continuation
        else:
            damaged.append((start, stop))
    return Records(intact, damaged, end)


def _stretches(data: bytes) -> Iterator[tuple[int, int, tuple[bytes, bytes] | None]]:
    """Yield each intact record, and what lies between, with the first byte and the byte behind the last."""
    at = 0
    while at < len(data):
        record = _record(data, at)
        stop = _following(data, at + 1) if record is None else at + _HEADER.size + len(record[1])
        yield at, stop, record
        at = stop


def _record(data: bytes, at: int) -> tuple[bytes, bytes] | None:
    """Return the intact record that begins at a byte, if one does."""
    if at + _HEADER.size > len(data):
        return None
    kind, length, checksum = _HEADER.unpack_from(data, at)
    payload = data[at + _HEADER.size : at + _HEADER.size + length]
    whole = len(payload) == length and kind in _KINDS and zlib.crc32(kind + payload) == checksum
    return (kind, payload) if whole else None


def _following(data: bytes, start: int) -> int:
    """Return where the next intact record begins, or the end; bytes that could be many are not searched for ever."""
    budget = _SEARCHED * len(data)
    for match in _BEGINNING.finditer(data, start, max(len(data) - _HEADER.size + 1, 0)):
        _, length, _ = _HEADER.unpack_from(data, match.start())
        if length > len(data) - match.start() - _HEADER.size:
            continue
        budget -= length
        if budget < 0:
            break
        if _record(data, match.start()):
            return match.start()
    return len(data)


def _is_unfinished(data: bytes, start: int, stop: int) -> bool:
    """Return whether each record of a stretch was written in part: cut short, or with zeros where it was not written.

    Zeros are in the place of a record's beginning and all that follows, of its end, or of whole sectors of it.
    """
    while start < stop:
        header = data[start : min(start + _HEADER.size, stop)]
        if not header.strip(b"\0"):
            return True
        if header[:1] not in _KINDS:
            return False
        if len(header) < _HEADER.size:
            return stop == len(data)
        kind, length, checksum = _HEADER.unpack(header)
        end = start + _HEADER.size + length
        if end > stop:  # unless its length alone is wrong
            return stop == len(data) and zlib.crc32(kind + data[start + _HEADER.size :]) != checksum
        if data[end - 1] and not _lacks_sector(data, start, end):
            return False
        start = end
    return True


def _lacks_sector(data: bytes, start: int, end: int) -> bool:
    """Return whether a sector that begins in a record is zeros throughout, as where it was never written."""
    first = -(-start // _SECTOR) * _SECTOR
    return any(not data[at : at + _SECTOR].strip(b"\0") for at in range(first, end, _SECTOR))
