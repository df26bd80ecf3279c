"""Open a store for writing: a new one, or one that is written on."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import zarr

from trajectory.errors import StoreError, first_line
from trajectory.schedule import Schedule
from trajectory.schema.commit import Commit
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.shards import Shard, shard_sizes
from trajectory.storage.arrays import create_arrays
from trajectory.storage.backend import Backend, writing_on
from trajectory.storage.commit_writer import CommitWriter
from trajectory.storage.local_backend import LocalBackend
from trajectory.storage.lock import RunLock, released_on_error
from trajectory.storage.reader import UncommittedRows, read_store
from trajectory.storage.root import Root, is_begun, is_run, read_root
from trajectory.storage.table_writer import TableWriter
from trajectory.storage.writer import StoreWriter


def create_store(
    backend: Backend,
    metadata: RunMetadata,
    *,
    shards: Sequence[Shard] = (),
    weight_dtype: str,
    buffer_bytes: int,
    overwrite: bool,
) -> StoreWriter:
    """Make a new, empty store.

    Args:
        backend: where it is to lie.
        metadata: the run's; its `ranks` are those of `shards`.
        shards: which rank stores which shards of the parameters, where they are sharded; this process is rank 0.
        weight_dtype: the type that holds all weights exactly.
        buffer_bytes: the size of all buffers together.
        overwrite: replace an existing run.

    Returns:
        The store, open for writing.

    Raises:
        StoreError: a store is there and `overwrite` is False, the place is in another run's folder, another recorder
            is writing there, the place cannot be written, or the metadata could not be read again.
    """
    metadata = replace(metadata, ranks=tuple(shard_sizes(shards)))
    RunMetadata.from_json(metadata.to_json(), backend.path)
    try:
        _refuse_taken(backend, overwrite)
        _refuse_within_run(backend)
        backend.make()
        lock = backend.lock()
        with released_on_error(lock):
            _refuse_taken(backend, overwrite)  # another recorder may have been faster
            backend.clear()
            journal = backend.journal(0)
            journal.begin(metadata.id, 0)
            journal.sync(durable=True)  # without it, an empty group is no store being made
            backend.sync()
            group = zarr.open_group(backend.writable, mode="a", zarr_format=3)
            made = create_arrays(group, metadata, shards, weight_dtype, buffer_bytes)
            tables = TableWriter(backend, group, metadata.columns)
            commits = CommitWriter(backend, Root(metadata, Commit(), {}), tables)
            commits.publish(Commit(), made)
            return StoreWriter(backend, lock, commits, journal, UncommittedRows.of([], metadata.columns))
    except StoreError:
        raise
    except Exception as error:  # a remote store's own kinds
        raise StoreError(
            f"{backend.path}: cannot write a run there ({first_line(error)}); choose a place that can be written"
        ) from error


def reopen_store(backend: Backend, schedule: Schedule | None = None) -> StoreWriter:
    """Open an existing store, with the rows of its journal if its process was killed.

    A killed run's store can be closed as it is; any store can be written on after `cut`.

    Args:
        backend: where it lies.
        schedule: the steps that will be recorded after `cut`; None if that is not known.

    Returns:
        The store, open for writing.

    Raises:
        StoreError: there is no run, a recorder is writing there, or the store holds a symbolic link or cannot be
            written.
    """
    read_root(backend)
    backend.refuse_links()
    lock = backend.lock()
    with released_on_error(lock), writing_on(backend):
        return _reopen(backend, lock, schedule)


def _reopen(backend: Backend, lock: RunLock | None, schedule: Schedule | None) -> StoreWriter:
    root, uncommitted = read_store(backend)
    group = zarr.open_group(backend.writable, mode="r+", use_consolidated=False)
    tables = TableWriter(backend, group, root.metadata.columns, root.nodes)
    journal = backend.journal(root.commit.generation, append=root.commit.journal is not None)
    tables.trim()
    return StoreWriter(backend, lock, CommitWriter(backend, root, tables), journal, uncommitted, schedule)


def _refuse_within_run(backend: Backend) -> None:
    """Check that no folder above is a run's, which may be replaced with all that is in it."""
    if not isinstance(backend, LocalBackend):
        return
    for folder in backend.root.parents:
        with suppress(StoreError):  # a root that is none of ours
            if is_run(LocalBackend(folder)):
                break
    else:
        return
    raise StoreError(f"{backend.path}: lies in the folder of the run {folder}; choose a path outside of it")


def _refuse_taken(backend: Backend, overwrite: bool) -> None:
    """Check that a new store may be made there. Only a run is ever removed, never something else."""
    if backend.is_free():
        return
    if is_begun(backend):
        return
    try:
        read_root(backend)
    except StoreError as error:
        raise StoreError(f"{error}; it is left as it is: choose another path for the new run") from error
    if not overwrite:
        raise StoreError(
            f"{backend.path}: already exists; choose another path, or give overwrite=True (--overwrite) to replace"
            " the run there"
        )
