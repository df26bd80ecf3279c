"""Repair what a kill or damage has left in a store, without removing anything that can be read."""

import re
from dataclasses import replace
from typing import Any

from trajectory.errors import StoreError, first_line
from trajectory.schema.commit import table_of
from trajectory.storage.array_reader import ArrayReader, Damage
from trajectory.storage.backend import Backend, writing_on
from trajectory.storage.compaction import replaced_chunks
from trajectory.storage.journal_records import EVENT, METRICS
from trajectory.storage.lock import LOCK
from trajectory.storage.node_files import read_node, write_node
from trajectory.storage.opening import reopen_store
from trajectory.storage.reader import UncommittedRows, read_store
from trajectory.storage.root import Root, read_root, write_root

DAMAGED = ".damaged"  # ends the name of a file that is set aside
_TABLES = ("step", "metrics")
_JOURNAL = re.compile(r"journal\.\d+(/\d+)?")
_PARTIAL = re.compile(r"(.*/|\.|zarr\.json\.)[^/]*\.partial")  # beside the root, a user's own file may be called so


def repair_store(backend: Backend) -> None:
    """Close a killed run's store, with what can be read of its journal, and remove leftovers.

    Args:
        backend: where the store lies.

    Raises:
        StoreError: a recorder is writing there, the store holds a symbolic link or cannot be written, or rows would
            have to be written behind a damaged chunk.
    """
    backend.refuse_links()
    lock = backend.lock()
    with writing_on(backend):
        try:
            root, uncommitted = read_store(backend, skip_damaged=True)
            _refuse_loss(backend, root)
            if uncommitted.damage:
                _set_journal_aside(backend, root, uncommitted)
            for name in differing_nodes(backend, root):
                write_node(backend, name, root.nodes[name])
        finally:
            if lock is not None:
                lock.release()
        if root.commit.journal is not None:
            try:
                reopen_store(backend).close("interrupted (killed)")
            except (StoreError, OSError):
                raise
            except (ValueError, RuntimeError) as error:
                raise StoreError(
                    f"{backend.path}: cannot be closed ({first_line(error)}); it stays as it is"
                ) from error
        backend.remove(leftover_keys(backend, read_root(backend)))


def leftover_keys(backend: Backend, root: Root) -> list[str]:
    """Find journals and chunks of other commits, files that were never renamed, and a closed run's lock.

    Args:
        backend: where the store lies.
        root: its root.

    Returns:
        Their keys.
    """
    current, keys = root.commit.journal, backend.names()
    others = [key for key in keys if _JOURNAL.fullmatch(key) and key.partition("/")[0] != f"journal.{current}"]
    partial = [key for key in keys if _PARTIAL.fullmatch(key)]
    lock = [key for key in keys if key == LOCK and current is None]
    return [*replaced_chunks(keys, root.nodes), *others, *partial, *lock]


def differing_nodes(backend: Backend, root: Root) -> list[str]:
    """Find arrays and groups whose own metadata are not those of the root, but for rows that are not committed yet.

    Args:
        backend: where the store lies.
        root: its root.

    Returns:
        Their paths.
    """
    return [name for name, node in root.nodes.items() if not _is_same(backend, name, node)]


def _is_same(backend: Backend, name: str, node: dict[str, Any]) -> bool:
    try:
        own = read_node(backend, name)
    except StoreError:
        return False
    if own | {"shape": None, "attributes": None} != node | {"shape": None, "attributes": None}:
        return False
    there, committed = own.get("shape", []), node.get("shape", [])
    if there == committed or 0 in committed[1:]:  # what has no width is not written
        return True
    return there[1:] == committed[1:] and _is_longer(there, committed)


def _is_longer(there: Any, committed: list[int]) -> bool:
    return bool(there) and isinstance(there[0], int) and there[0] >= committed[0]


def _refuse_loss(backend: Backend, root: Root) -> None:
    """Check that nothing that can be read is lost by writing on, or by removing chunks of another kind."""
    lengths = root.commit.to_json()["committed"]
    for name, array in root.arrays.items():
        table = table_of(name, root.nodes[name])
        if table in lengths and array.shape[0] > lengths[table]:
            raise _refusal(backend, f"{name} has {array.shape[0]} rows, and {lengths[table]} are committed")
        bad = _lost_end(backend, root, name) if table in _TABLES else None
        if bad is not None and (root.commit.journal is not None or replaced_chunks(backend.names(), root.nodes)):
            raise _refusal(backend, bad.message)


def _lost_end(backend: Backend, root: Root, name: str) -> Damage | None:
    """Return the damage of the last chunk of an array, which rows would be added to, or of any that is missing."""
    rows, length = root.arrays[name].shape[0], root.arrays[name].chunk_shape[0]
    damage = list(ArrayReader(backend, root).damage(name))
    if len(damage) > 1 and all(bad.reason == "is missing" for bad in damage):
        return damage[0]
    return next((bad for bad in damage if bad.stop == rows and rows % length), None)


def _refusal(backend: Backend, why: str) -> StoreError:
    return StoreError(f"{backend.path}: {why}: nothing is repaired, lest more is lost; restore it as it was written")


def _set_journal_aside(backend: Backend, root: Root, uncommitted: UncommittedRows) -> None:
    """Put what can be read of a journal into a new one, and commit that; the damaged one gets another name."""
    generation = root.commit.generation
    backend.replace(f"journal.{generation}{DAMAGED}", backend.read_journal(generation))
    fresh = backend.journal(generation + 1)
    try:
        fresh.begin(root.metadata.id, generation + 1)
        fresh.append_rows(uncommitted.rows)
        fresh.append_json(METRICS, list(uncommitted.metrics.items()))
        for event in uncommitted.events:
            fresh.append_json(EVENT, [event.step, event.name, event.details])
        fresh.sync(durable=True)
    finally:
        fresh.close()
    write_root(backend, replace(root, commit=replace(root.commit, generation=generation + 1)))
