"""`verify`: is a store whole, and mending what can be mended."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from trajectory import tail
from trajectory.layout import read_root
from trajectory.store import Store


@dataclass(frozen=True)
class Finding:
    """One thing found in a store: a plain sentence, and whether `repair` mends it."""

    sentence: str
    mendable: bool


def verify(path: str | Path, *, repair: bool = False) -> list[Finding]:
    """What is wrong with the store at `path`, nothing if it is whole; every stored chunk is read once.

    repair: move the journal of a killed run into the arrays, mark the run as interrupted, and remove what
    the kill left half-written. Damaged chunks cannot be mended: they are named.
    Raises StoreError if `path` is no run, or, for a repair, while a recorder is writing there.
    """
    path = Path(path)
    findings = [*_journal(path), *_leftovers(path), *_rows(path), *_chunks(path)]
    if repair:
        if read_root(path)["attributes"]["ultraslow"]["journal"] is not None:
            Store.reopen(path).close("interrupted (killed)")
        for leftover in _leftover_files(path):
            leftover.unlink()
    return findings


def _journal(path: Path) -> Iterator[Finding]:
    facts, newest = tail.read(path)
    if facts["journal"] is not None:
        yield Finding(f"not closed: {len(newest.rows)} recorded steps are in the journal alone", True)


def _leftover_files(path: Path) -> list[Path]:
    current = read_root(path)["attributes"]["ultraslow"]["journal"]
    journals = [file for file in path.glob("journal.*") if file.name != f"journal.{current}"]
    return journals + list(path.rglob("*.partial")) + (list(path.glob("lock")) if current is None else [])


def _leftovers(path: Path) -> Iterator[Finding]:
    files = _leftover_files(path)
    if files:
        yield Finding(f"{len(files)} files of interrupted writes, such as {files[0].relative_to(path)}", True)


def _rows(path: Path) -> Iterator[Finding]:
    facts, newest = tail.read(path)
    try:
        committed = zarr.open_group(path, mode="r")["step"][: facts["committed"]["step"]]  # type: ignore[index]
    except (ValueError, RuntimeError):
        return  # `_chunks` names it
    steps = np.concatenate([np.asarray(committed), newest.rows[:, 0]])
    if np.any(np.diff(steps) <= 0) or np.any(steps < 1):
        yield Finding("recorded steps do not increase from 1 on", False)


def _chunks(path: Path) -> Iterator[Finding]:
    """Reads every chunk once: each carries a checksum."""
    arrays = {
        key: node for key, node in zarr.open_group(path, mode="r").members(None) if isinstance(node, zarr.Array)
    }
    for name, array in sorted(arrays.items()):
        for start in range(0, array.shape[0], array.chunks[0]):
            try:
                array[start : start + array.chunks[0]]
            except (ValueError, RuntimeError) as error:
                yield Finding(f"{name}: the chunk from row {start} on is damaged ({error})", False)
