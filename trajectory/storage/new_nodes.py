"""The metadata of new arrays and groups, in the words of Zarr's format (version 3), and its files.

It is written out here, since Zarr's functions work out the same words for each array anew: that took a third of the
processor time of a run of a few updates.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zarr.abc.store import Store
from zarr.buffer import cpu
from zarr.core.sync import sync

from trajectory.storage.node_files import NODE

_CHECKSUM = {"name": "crc32c"}
STREAM = ({"name": "zstd", "configuration": {"level": 1, "checksum": False}}, _CHECKSUM)
RAW = (_CHECKSUM,)  # weights hardly compress
HASHED = ()  # the hash is the checksum
GROUP_NODE: dict[str, Any] = {"attributes": {}, "zarr_format": 3, "node_type": "group"}
_TO_BYTES: dict[str, dict[str, Any]] = {
    "string": {"name": "vlen-utf8", "configuration": {}},
    "uint8": {"name": "bytes"},
}
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_EMPTY = {"string": "", "float32": 0.0, "float64": 0.0}


def array_node(
    shape: Sequence[int],
    dtype: str,
    dimensions: Sequence[str],
    *,
    chunk_rows: int | None = None,
    fill_value: float | str | None = None,
    codecs: Sequence[Mapping[str, Any]] = STREAM,
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the metadata of an array whose chunks span all dimensions but the first.

    Args:
        shape: its shape.
        dtype: its type.
        dimensions: the names of its dimensions.
        chunk_rows: how much of the first dimension a chunk holds; None: all of it.
        fill_value: what stands where nothing is written, as JSON; None: 0, or the empty string.
        codecs: what becomes of a chunk's bytes.
        attributes: the array's attributes.
    """
    rows, *across = shape
    chunk = [chunk_rows or max(rows, 1), *(max(size, 1) for size in across)]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _EMPTY.get(dtype, 0) if fill_value is None else fill_value,
        "codecs": [_TO_BYTES.get(dtype, _LITTLE_ENDIAN), *codecs],
        "attributes": dict(attributes or {}),
        "storage_transformers": [],
        "dimension_names": list(dimensions),
    }


def put_nodes(store: Store, nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the metadata of new arrays and groups, one after the other: an interrupt leaves nothing on its way.

    Args:
        store: the store.
        nodes: their metadata, by path.
    """
    for name, node in nodes.items():
        sync(store.set(f"{name}/{NODE}", cpu.Buffer.from_bytes(json.dumps(node, allow_nan=False).encode())))
