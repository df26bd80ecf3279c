"""Larger chunks for the rows of a closed run: fewer files, which are read many times faster.

Small chunks let rows become visible soon; a run of 10^6 updates leaves thousands of them. When it is closed, its rows
are written again, in chunks as large as memory allows, beside the small ones: the keys of chunks are `c/0/0` and
`c.0.0` by turns. A commit lists the new chunks, and only then the former ones go. A process that is killed on the way
leaves chunks of the other kind, which nobody reads.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import StorePath

from trajectory.schema.commit import table_of
from trajectory.storage.arrays import MOST_BYTES, chunk_length
from trajectory.storage.moment import Moment

_FEW = 8  # chunks that are left as they are
_TABLES = ("step", "metrics")


def larger_chunks(nodes: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Choose larger chunks for the arrays over steps that have many small ones.

    Args:
        nodes: the metadata of every array and group, by path, at the commit's lengths.

    Returns:
        The metadata of those arrays, by path, with the chunks that they are to have.
    """
    chosen = {}
    for name, node in nodes.items():
        if table_of(name, node) in _TABLES and (length := _larger(node)) > chunk_length(node):
            across = node["chunk_grid"]["configuration"]["chunk_shape"][1:]
            chosen[name] = node | {
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [length, *across]}},
                "chunk_key_encoding": {
                    "name": "default",
                    "configuration": {"separator": "." if _separator(node) == "/" else "/"},
                },
            }
    return chosen


def write_chunks(moment: Moment, store: Store, nodes: Mapping[str, dict[str, Any]]) -> None:
    """Write the rows of arrays once more, in the chunks that their new metadata name.

    Args:
        moment: the store as it stands.
        store: where its chunks are written to.
        nodes: the new metadata by path, which a commit is to publish.

    Raises:
        StoreError: a chunk is damaged or missing.
    """
    for name, node in nodes.items():
        metadata = ArrayV3Metadata.from_dict(node)
        array = zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=StorePath(store, name)))
        array = array.with_config({"write_empty_chunks": True})
        for start in range(0, array.shape[0], array.chunks[0]):
            stop = min(start + array.chunks[0], array.shape[0])
            array[start:stop] = moment.read(name, stop, start)


def replaced_chunks(keys: Iterable[str], nodes: Mapping[str, dict[str, Any]]) -> list[str]:
    """Find chunks that are none of their array's: a commit has replaced them, or was to replace others by them.

    Args:
        keys: those of all files or objects of the store.
        nodes: the committed metadata of every array and group, by path.

    Returns:
        The keys of these chunks.
    """
    prefixes = tuple(
        f"{name}/c{'.' if _separator(node) == '/' else '/'}"
        for name, node in nodes.items()
        if table_of(name, node) in _TABLES
    )
    return [key for key in keys if key.startswith(prefixes)]


def _larger(node: Mapping[str, Any]) -> int:
    """Return how many rows a chunk should hold: a power of two, so that the rows fit into few chunks."""
    rows, *across = node["shape"]
    if rows <= _FEW * chunk_length(node):
        return 0
    fit = MOST_BYTES // (8 * max(prod(across), 1))  # every array over steps holds numbers of 8 bytes
    return int(min(1 << (rows - 1).bit_length(), 1 << (fit.bit_length() - 1) if fit else 0))


def _separator(node: Mapping[str, Any]) -> str:
    return str(node["chunk_key_encoding"]["configuration"]["separator"])
