"""The Zarr arrays of a store: made empty, and extended. Which there are: docs/format.md."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, cast

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from trajectory.layout import DIMENSIONS, ROWS_PER_CHUNK, RowColumns, TensorSpec, part_array
from trajectory.parts import Part, part_sizes, to_table

_ROW_OF = {"metrics": "step", "snapshots": "snapshot", "origins": "kept", "sketches": "sketch"}
_STREAM = (ZstdCodec(level=1), Crc32cCodec())
_RAW = (Crc32cCodec(),)  # weights hardly compress
_HASHED = ()  # the hash is the checksum
_DIGEST = 32  # bytes of a snapshot's BLAKE2b hash


def create_arrays(
    root: zarr.Group,
    facts: Mapping[str, Any],
    parameters: Sequence[TensorSpec],
    parts: Sequence[Part],
    weight_dtype: str,
    buffer_bytes: int,
) -> list[str]:
    """Makes all arrays but the metrics', of no rows; returns the nodes made. facts: the root's attributes."""
    columns = RowColumns.of(facts)
    made = _tables(root, columns, parts)
    for group in _ROW_OF:
        root.create_group(group)
        create_column(root, f"{group}/step", "int64", [_ROW_OF[group]])
        made += [group, f"{group}/step"]
    sizes = {"origin": len(columns.origins), "parameter": len(columns.layers)}
    for name, values in columns.split(np.empty((0, columns.width))).items():
        across = tuple(sizes[dimension] for dimension in DIMENSIONS[name][1:])
        create_column(root, name, str(values.dtype), DIMENSIONS[name], across=across)
        made.append(name)
    return made + _copies(
        root, facts, columns, sum(spec.size for spec in parameters), parts, weight_dtype, buffer_bytes
    )


def _tables(root: zarr.Group, columns: RowColumns, parts: Sequence[Part]) -> list[str]:
    """What is known from the start: names of layers, further origins, parts of shards."""
    parameter = root.create_array("parameter", shape=(len(columns.layers),), dtype=str, dimension_names=["parameter"])
    parameter[:] = np.array(columns.layers, dtype=object)
    tables = {"origin": (np.array(columns.origins), ["origin"])} if columns.origins else {}
    if parts:
        tables["part"] = (to_table(parts), ["part", "field"])
    for name, (table, dimensions) in tables.items():
        root.create_array(name, shape=table.shape, dtype="int64", dimension_names=dimensions)[...] = table
    return ["parameter", *tables]


def _copies(
    root: zarr.Group,
    facts: Mapping[str, Any],
    columns: RowColumns,
    n_weights: int,
    parts: Sequence[Part],
    weight_dtype: str,
    buffer_bytes: int,
) -> list[str]:
    """The arrays whose every row is a chunk: weights, buffers, hashes and sketches."""
    sketch = facts.get("sketch") or {"buckets": 0}
    form = facts.get("snapshot", {})
    widths = {part_array(rank): width for rank, width in part_sizes(parts).items()} or {"weights": n_weights}
    stored_dtype = "uint16" if form.get("dtype") == "bfloat16" else weight_dtype  # Zarr has no bfloat16
    copies = {
        **{f"snapshots/{name}": (stored_dtype, [name], [width]) for name, width in widths.items()},
        **({} if parts else {"snapshots/hash": ("uint8", ["byte"], [_DIGEST])}),
        "snapshots/buffers": ("uint8", ["buffer"], [buffer_bytes]),
        **{f"origins/{name}": (weight_dtype, [name], [width]) for name, width in widths.items()},
        "sketches/values": ("float32", ["parameter", "bucket"], [len(columns.layers), sketch["buckets"]]),
    }
    for name, (dtype, dimensions, shape) in copies.items():
        if form.get("compression") and name.startswith("snapshots/"):
            codecs: tuple[Any, ...] = _STREAM
        else:
            codecs = _HASHED if name == "snapshots/weights" else _RAW
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


def create_column(
    root: zarr.Group,
    name: str,
    dtype: str,
    dimensions: Sequence[str],
    *,
    length: int = 0,
    across: tuple[int, ...] = (),
) -> None:
    """An array of `length` rows, -1 (integers) or NaN where nothing is written."""
    root.create_array(
        name,
        shape=(length, *across),
        chunks=(ROWS_PER_CHUNK, *(max(size, 1) for size in across)),
        dtype=dtype,
        fill_value=-1 if dtype == "int64" else float("nan"),
        compressors=_STREAM,
        dimension_names=dimensions,
        overwrite=True,  # what a kill before the commit has left
    )


def extend(root: zarr.Group, name: str, start: int, values: np.ndarray) -> None:
    """Writes rows from `start` on; what was there behind them goes."""
    array = cast(zarr.Array, root[name])
    array.resize((start + len(values), *array.shape[1:]))
    array[start:] = values


def snapshot_hash(weights: np.ndarray, buffers: np.ndarray) -> np.ndarray:
    """The BLAKE2b hash of the bytes of the stored weights, then of the buffers: uint8 (32,)."""
    digest = blake2b(np.ascontiguousarray(weights).data, digest_size=_DIGEST)
    digest.update(np.ascontiguousarray(buffers).data)
    return np.frombuffer(digest.digest(), dtype="uint8")
