"""The Zarr arrays of a store: make them, read rows, hash rows. Which there are: docs/format.md."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import zarr
from blake3 import blake3
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.metadata import ArrayV3Metadata

from trajectory.schema.layout import DIMENSIONS, ROWS_PER_CHUNK, RowColumns, hash_array, shard_array
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.nodes import FIRST_ROW
from trajectory.schema.shards import Shard, shard_sizes, to_table

_ROW_OF = {"metrics": "step", "snapshots": "snapshot", "origins": "kept", "sketches": "sketch"}
_STREAM = (ZstdCodec(level=1), Crc32cCodec())
_RAW = (Crc32cCodec(),)  # weights hardly compress
_HASHED = ()  # the hash is the checksum
_DIGEST = 32  # bytes of a hash
MOST_BYTES = 2**24  # of a chunk of rows: 65,536 rows of 20 layers
_FEWEST_ROWS = 64  # in a chunk


def create_arrays(
    root: zarr.Group,
    metadata: RunMetadata,
    shards: Sequence[Shard],
    weight_dtype: str,
    buffer_bytes: int,
) -> list[str]:
    """Make all arrays but the metrics', without rows.

    Args:
        root: the store's empty group.
        metadata: the run's.
        shards: those of all ranks, where the model is sharded.
        weight_dtype: the type that holds all weights exactly.
        buffer_bytes: the size of all buffers together.

    Returns:
        The paths of the arrays and groups made.
    """
    columns = metadata.columns
    made, chunk = _tables(root, columns, shards), rows_per_chunk(columns)
    for group in _ROW_OF:
        root.create_group(group)
        create_column(root, f"{group}/step", "int64", [_ROW_OF[group]])
        made += [group, f"{group}/step"]
    sizes = {"origin": len(columns.origins), "parameter": len(columns.layers)}
    for name, values in columns.split(np.empty((0, columns.width))).items():
        across = tuple(sizes[dimension] for dimension in DIMENSIONS[name][1:])
        create_column(root, name, str(values.dtype), DIMENSIONS[name], across=across, chunk=chunk)
        made.append(name)
    return made + _copies(root, metadata, shards, weight_dtype, buffer_bytes)


def _tables(root: zarr.Group, columns: RowColumns, shards: Sequence[Shard]) -> list[str]:
    """Write what is known from the start: names of layers, origins, shards."""
    parameter = root.create_array(
        "parameter",
        shape=(len(columns.layers),),
        dtype=str,
        compressors=_STREAM,
        dimension_names=["parameter"],
    )
    parameter[:] = np.array(columns.layers, dtype=object)
    tables = {"origin": (np.array(columns.origins), ["origin"])} if columns.origins else {}
    if shards:
        tables["part"] = (to_table(shards), ["part", "field"])
    for name, (table, dimensions) in tables.items():
        root.create_array(name, shape=table.shape, dtype="int64", compressors=_STREAM, dimension_names=dimensions)[
            ...
        ] = table
    return ["parameter", *tables]


def _copies(
    root: zarr.Group, metadata: RunMetadata, shards: Sequence[Shard], weight_dtype: str, buffer_bytes: int
) -> list[str]:
    """Make the arrays whose every row is a chunk: weights, buffers, hashes and sketches."""
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
    for name, (dtype, dimensions, shape) in copies.items():
        codecs: tuple[Any, ...] = _RAW
        if name in hashed:
            codecs = _STREAM if form.compression else _HASHED
        root.create_array(
            name,
            shape=(0, *shape),
            chunks=(1, *(max(size, 1) for size in shape)),
            dtype=dtype,
            compressors=codecs,
            attributes={"dtype": "bfloat16"} if dtype == "uint16" else {},
            dimension_names=[_ROW_OF[name.partition("/")[0]], *dimensions],
        )
    return list(copies)


def rows_per_chunk(columns: RowColumns) -> int:
    """Return how many recorded steps are written at once: so many that a chunk takes 16 MiB at most.

    The rows of a chunk wait in memory until there are enough of them, and are copied when they are written. They are
    a power of two, not less than a flush brings.

    Args:
        columns: the columns of a row.
    """
    fit = MOST_BYTES // (8 * columns.width)
    return max(min(ROWS_PER_CHUNK, 1 << max(fit.bit_length() - 1, 0)), _FEWEST_ROWS)


def create_column(
    root: zarr.Group,
    name: str,
    dtype: str,
    dimensions: Sequence[str],
    *,
    length: int = 0,
    across: tuple[int, ...] = (),
    chunk: int = ROWS_PER_CHUNK,
) -> None:
    """Make an array of a row for each step: -1 (integers) or NaN where nothing is written.

    Args:
        root: the store's group.
        name: the array's path.
        dtype: its type.
        dimensions: the names of its dimensions.
        length: how many rows it has.
        across: the sizes of its other dimensions.
        chunk: the rows in a chunk.
    """
    root.create_array(
        name,
        shape=(length, *across),
        chunks=(chunk, *(max(size, 1) for size in across)),
        dtype=dtype,
        fill_value=-1 if dtype == "int64" else float("nan"),
        attributes={FIRST_ROW: length} if name.startswith("metrics/") else {},
        compressors=_STREAM,
        dimension_names=dimensions,
        overwrite=True,  # what a kill before the commit has left
    )


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
