"""`verify`: is a store whole, and mending what can be mended."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import zarr

from trajectory.schema.layout import hash_array, read_root
from trajectory.schema.shards import missing_copies
from trajectory.storage import reader as tail
from trajectory.storage.arrays import hash_of
from trajectory.storage.backend import Place, Where, place
from trajectory.storage.writer import Store


@dataclass(frozen=True)
class Finding:
    """One thing found in a store: a plain sentence, and whether `repair` mends it."""

    sentence: str
    mendable: bool


def verify(path: Where, *, repair: bool = False) -> list[Finding]:
    """What is wrong with the store at `path`, nothing if it is whole; every stored chunk is read once.

    path: a folder, a URL or a Zarr store, as for `Run`.

    repair: move the journal of a killed run into the arrays, mark the run as interrupted, and remove what
    the kill left half-written. Damaged chunks cannot be mended: they are named.
    Raises StoreError if `path` is no run, or, for a repair, while a recorder is writing there.
    """
    at = place(path)
    findings = [*_journal(at), *_leftovers(at), *_rows(at), *_missing(at), *_chunks(at), *_snapshots(at)]
    if repair:
        if read_root(at)["attributes"]["ultraslow"]["journal"] is not None:
            Store.reopen(at).close("interrupted (killed)")
        at.remove(_leftover_keys(at))
    return findings


def _journal(at: Place) -> Iterator[Finding]:
    facts, newest = tail.read(at)
    if facts["journal"] is not None:
        yield Finding(f"not closed: {len(newest.rows)} recorded steps are in the journal alone", True)


def _leftover_keys(at: Place) -> list[str]:
    """Journals of other commits, files that were never renamed, and the lock of a closed run."""
    current = read_root(at)["attributes"]["ultraslow"]["journal"]
    return [
        key
        for key in at.names()
        if (key.startswith("journal.") and key.partition("/")[0] != f"journal.{current}")
        or key.endswith(".partial")
        or (key == "lock" and current is None)
    ]


def _leftovers(at: Place) -> Iterator[Finding]:
    keys = _leftover_keys(at)
    if keys:
        yield Finding(f"{len(keys)} files of interrupted writes, such as {keys[0]}", True)


def _rows(at: Place) -> Iterator[Finding]:
    facts, newest = tail.read(at)
    try:
        committed = zarr.open_group(at.root, mode="r")["step"][: facts["committed"]["step"]]  # type: ignore[index]
    except (ValueError, RuntimeError):
        return  # `_chunks` names it
    steps = np.concatenate([np.asarray(committed), newest.rows[:, 0]])
    if np.any(np.diff(steps) <= 0) or np.any(steps < 1):
        yield Finding("recorded steps do not increase from 1 on", False)


def _missing(at: Place) -> Iterator[Finding]:
    """A chunk that is not there reads as zeros: it has to be looked for."""
    facts = read_root(at)["attributes"]["ultraslow"]
    root = zarr.open_group(at.root, mode="r")
    for group, what in (("snapshots", "snapshot"), ("origins", "copy of the weights measured from")):
        steps = cast(zarr.Array, root[f"{group}/step"])[: facts["committed"].get(group, 0)]
        for k, step in enumerate(np.asarray(steps)):
            for part in missing_copies(at, facts.get("ranks", ()), k, group).values():
                yield Finding(f"{part}the {what} at step {step} is missing", False)


def _arrays(at: Place) -> dict[str, zarr.Array]:
    members = zarr.open_group(at.root, mode="r").members(None)
    return {name: node for name, node in sorted(members) if isinstance(node, zarr.Array)}


def _chunks(at: Place) -> Iterator[Finding]:
    """Reads every chunk that carries a checksum."""
    arrays = _arrays(at)
    for name, array in arrays.items():
        if hash_array(name) in arrays:
            continue
        for start in range(0, array.shape[0], array.chunks[0]):
            try:
                array[start : start + array.chunks[0]]
            except (ValueError, RuntimeError) as error:
                yield Finding(f"{name}: the chunk from row {start} on is damaged ({error})", False)


def _snapshots(at: Place) -> Iterator[Finding]:
    """Reads every chunk that a hash is kept of."""
    arrays, facts = _arrays(at), read_root(at)["attributes"]["ultraslow"]
    try:
        steps = np.asarray(arrays["snapshots/step"][: facts["committed"]["snapshots"]])
        hashes = {name: np.asarray(arrays[hash_array(name)][:]) for name in arrays if hash_array(name) in arrays}
    except (ValueError, RuntimeError):
        return  # `_chunks` names it
    for k, step in enumerate(steps):
        missing = {f"snapshots/{name}" for name in missing_copies(at, facts.get("ranks", ()), k)}
        for name in sorted(hashes.keys() - missing):
            try:
                same = np.array_equal(hash_of(np.asarray(arrays[name][k])), hashes[name][k])
            except (ValueError, RuntimeError):  # of a compressed one
                same = False
            if not same:
                yield Finding(f"{name}: the snapshot at step {step} is not the one whose hash was kept", False)
