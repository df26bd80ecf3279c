"""The metadata of new arrays is what Zarr would write of them."""

import json

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from trajectory.storage.arrays import column_node
from trajectory.storage.new_nodes import GROUP_NODE, HASHED, RAW, array_node, put_nodes

STREAM = (ZstdCodec(level=1), Crc32cCodec())


def written(store):
    return {name: json.loads(content.to_bytes()) for name, content in store._store_dict.items()}


def by_zarr(**options):
    store = MemoryStore()
    zarr.create_array(store, name="x", **options)
    return written(store)["x/zarr.json"]


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64", "uint16", "uint8"])
@pytest.mark.parametrize(("codecs", "compressors"), [(HASHED, ()), (RAW, (Crc32cCodec(),))], ids=["hashed", "raw"])
def test_an_array_of_copies_is_zarrs(dtype, codecs, compressors):
    node = array_node((0, 5, 0), dtype, ["row", "a", "b"], chunk_rows=1, codecs=codecs, attributes={"dtype": "x"})
    assert node == by_zarr(
        shape=(0, 5, 0),
        chunks=(1, 5, 1),
        dtype=dtype,
        compressors=compressors,
        attributes={"dtype": "x"},
        dimension_names=["row", "a", "b"],
    )


@pytest.mark.parametrize(("dtype", "fill_value"), [("int64", -1), ("float64", np.nan)])
def test_a_column_is_zarrs(dtype, fill_value):
    node = column_node("metrics/loss", dtype, ["step", "parameter"], length=7, across=(3,), chunk=4)
    assert node == by_zarr(
        shape=(7, 3),
        chunks=(4, 3),
        dtype=dtype,
        fill_value=fill_value,
        compressors=STREAM,
        attributes={"first_row": 7},
        dimension_names=["step", "parameter"],
    )


@pytest.mark.parametrize(("dtype", "zarrs"), [("string", str), ("int64", "int64")])
def test_a_table_is_zarrs(dtype, zarrs):
    node = array_node((6,), dtype, ["parameter"])
    assert node == by_zarr(shape=(6,), dtype=zarrs, compressors=STREAM, dimension_names=["parameter"])


def test_a_group_is_zarrs():
    store, ours = MemoryStore(), MemoryStore()
    zarr.create_group(store, path="metrics")
    put_nodes(ours, {"metrics": GROUP_NODE})
    assert written(ours)["metrics/zarr.json"] == written(store)["metrics/zarr.json"]
