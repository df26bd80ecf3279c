"""The Zarr arrays of a store: make them, read rows, hash rows. Which there are: docs/format.md."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import zarr
from blake3 import blake3
from zarr.core.metadata import ArrayV3Metadata
from zarr.core.sync import sync

from trajectory.schema.layout import DIMENSIONS, ROWS_PER_CHUNK, RowColumns, hash_array, shard_array
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.nodes import FIRST_ROW
from trajectory.schema.shards import Shard, shard_sizes, to_table
from trajectory.storage.new_nodes import GROUP_NODE, HASHED, RAW, STREAM, array_node, put_nodes

_ROW_OF = {"metrics": "step", "snapshots": "snapshot", "origins": "kept", "sketches": "sketch"}
_DIGEST = 32  # bytes of a hash
MOST_BYTES = 2**24  # of a chunk of rows: 65,536 rows of 20 layers
_FEWEST_ROWS = 64  # in a chunk


def create_arrays(
    root: zarr.Group,
    metadata: RunMetadata,
    shards: Sequence[Shard],
    weight_dtype: str,
    buffer_bytes: int,
) -> dict[str, dict[str, Any]]:
    """Make all arrays but the metrics', without rows.

    Args:
        root: the store's empty group.
        metadata: the run's.
        shards: those of all ranks, where the model is sharded.
        weight_dtype: the type that holds all weights exactly.
        buffer_bytes: the size of all buffers together.

    Returns:
        The metadata of the arrays and groups made, by path.
    """
    columns, tables = metadata.columns, _tables(metadata.columns, shards)
    nodes = {name: array_node(table.shape, dtype, names) for name, (table, dtype, names) in tables.items()}
    for group, dimension in _ROW_OF.items():
        nodes |= {group: GROUP_NODE, f"{group}/step": column_node(f"{group}/step", "int64", [dimension])}
    sizes = {"origin": len(columns.origins), "parameter": len(columns.layers)}
    for name, values in columns.split(np.empty((0, columns.width))).items():
        across, chunk = tuple(sizes[dimension] for dimension in DIMENSIONS[name][1:]), rows_per_chunk(columns)
        nodes[name] = column_node(name, str(values.dtype), DIMENSIONS[name], across=across, chunk=chunk)
    nodes |= _copies(metadata, shards, weight_dtype, buffer_bytes)
    put_nodes(root.store, nodes)
    for name, (table, _, _) in tables.items():
        cast(zarr.Array, root[name])[...] = table
    return nodes


def _tables(columns: RowColumns, shards: Sequence[Shard]) -> dict[str, tuple[np.ndarray, str, list[str]]]:
    """Return what is known from the start, its type and its dimensions: names of layers, origins, shards."""
    tables = {"parameter": (np.array(columns.layers, dtype=object), "string", ["parameter"])}
    if columns.origins:
        tables["origin"] = (np.array(columns.origins), "int64", ["origin"])
    if shards:
        tables["part"] = (to_table(shards), "int64", ["part", "field"])
    return tables


def _copies(
    metadata: RunMetadata, shards: Sequence[Shard], weight_dtype: str, buffer_bytes: int
) -> dict[str, dict[str, Any]]:
    """Return the arrays whose every row is a chunk: weights, buffers, hashes and sketches."""
    layers, form = len(metadata.groups.names), metadata.snapshot
    total = sum(spec.size for spec in metadata.parameters)
    widths = {shard_array(rank): width for rank, width in shard_sizes(shards).items()} or {"weights": total}
    stored_dtype = "uint16" if form.dtype == "bfloat16" else weight_dtype  # Zarr has no bfloat16
    hashed = [f"snapshots/{name}" for name in (*widths, *(["buffers"] if buffer_bytes else []))]
    copies = {
        **{f"snapshots/{name}": (stored_dtype, [name], [width]) for name, width in widths.items()},
        "snapshots/buffers": ("uint8", ["buffer"], [buffer_bytes]),
        **{hash_array(name): ("uint8", ["byte"], [_DIGEST]) for name in hashed},
        **{f"origins/{name}": (weight_dtype, [name], [width]) for name, width in widths.items()},
        "sketches/values": ("float32", ["parameter", "bucket"], [layers, metadata.sketch.buckets]),
    }
    of_hashed = STREAM if form.compression else HASHED
    return {
        name: array_node(
            (0, *shape),
            dtype,
            [_ROW_OF[name.partition("/")[0]], *dimensions],
            chunk_rows=1,
            codecs=of_hashed if name in hashed else RAW,
            attributes={"dtype": "bfloat16"} if dtype == "uint16" else {},
        )
        for name, (dtype, dimensions, shape) in copies.items()
    }


def rows_per_chunk(columns: RowColumns) -> int:
    """Return how many recorded steps are written at once: so many that a chunk takes 16 MiB at most.

    The rows of a chunk wait in memory until there are enough of them, and are copied when they are written. They are
    a power of two, not less than a flush brings.

    Args:
        columns: the columns of a row.
    """
    fit = MOST_BYTES // (8 * columns.width)
    return max(min(ROWS_PER_CHUNK, 1 << max(fit.bit_length() - 1, 0)), _FEWEST_ROWS)


def column_node(
    name: str,
    dtype: str,
    dimensions: Sequence[str],
    *,
    length: int = 0,
    across: tuple[int, ...] = (),
    chunk: int = ROWS_PER_CHUNK,
) -> dict[str, Any]:
    """Return the metadata of an array of a row for each step: -1 (integers) or NaN where nothing is written.

    Args:
        name: the array's path.
        dtype: its type.
        dimensions: the names of its dimensions.
        length: how many rows it has.
        across: the sizes of its other dimensions.
        chunk: the rows in a chunk.
    """
    return array_node(
        (length, *across),
        dtype,
        dimensions,
        chunk_rows=chunk,
        fill_value=-1 if dtype == "int64" else "NaN",
        attributes={FIRST_ROW: length} if name.startswith("metrics/") else {},
    )


def create_column(root: zarr.Group, name: str, node: Mapping[str, Any]) -> None:
    """Make an array in the place of what a kill before the commit has left.

    Args:
        root: the store's group.
        name: the array's path.
        node: its metadata.
    """
    if root.store.supports_deletes:
        sync(root.store.delete_dir(name))
    put_nodes(root.store, {name: node})


def chunk_length(node: Mapping[str, Any]) -> int:
    """Return how many rows a chunk of an array holds.

    Args:
        node: the array's metadata.

    Returns:
        The rows.
    """
    return int(node["chunk_grid"]["configuration"]["chunk_shape"][0])


def chunk_key(name: str, array: zarr.Array, chunk: int) -> str:
    """Return the key of a chunk of rows that spans the array's other dimensions.

    Args:
        name: the array's path.
        array: the array.
        chunk: the chunk's number.

    Returns:
        Its key in the store.
    """
    metadata = cast(ArrayV3Metadata, array.metadata)
    return f"{name}/{metadata.encode_chunk_key((chunk, *[0] * (array.ndim - 1)))}"


def read_rows(root: zarr.Group, name: str, stop: int | None, start: int = 0) -> np.ndarray:
    """Read rows of an array.

    Args:
        root: the store's group.
        name: the array's path.
        stop: the number of the first row that is not read; None: read to the end.
        start: the number of the first row to read.

    Returns:
        The rows (n, ...).
    """
    return np.asarray(cast(zarr.Array, root[name])[start:stop])


def hash_of(values: np.ndarray) -> np.ndarray:
    """Return the BLAKE3 hash of an array's bytes.

    Args:
        values: any array.

    Returns:
        The hash, uint8 (32,).
    """
    return np.frombuffer(blake3(np.ascontiguousarray(values).reshape(-1).view("uint8").data).digest(), dtype="uint8")
