"""Stores whose root lies under a checksum that holds: they end in rows or in one line, soon and in little memory."""

import base64
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Zstd
from torch import nn

from trajectory import Recorder, Run, StoreError, verify
from trajectory.storage.root import CHECKSUM, CHUNKS, _checksum, _hash
from trajectory.storage.zstd_frame import HEADER, content_size


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "run.zarr"
    record(path)
    return path


def record(path, overwrite=False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"quantities": ["distance", "norm"], "origins": [5], "snapshots": 20, "sketch": 4}
    with Recorder(path, model, optimizer, overwrite=overwrite, **options) as r:
        for t in range(1, 41):
            for p in model.parameters():
                p.grad = torch.full_like(p, float(t % 5) - 1)
            optimizer.step()
            r.log(loss=float(t))
        r.event("mark", at=3)


def places(value, path=()):
    """The path of each entry of a JSON document."""
    for key, child in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield (*path, key)
        yield from places(child, (*path, key))


def lie(path, where, value):
    """Replace an entry of a root, and its checksums with it."""
    root = json.loads((path / "zarr.json").read_text())
    parent = root
    for key in where[:-1]:
        parent = parent[key]
    parent[where[-1]] = value
    attributes, nodes = root.get("attributes"), root.get("consolidated_metadata")
    if isinstance(attributes, dict):
        nodes = nodes.get("metadata") if isinstance(nodes, dict) else None
        attributes[CHECKSUM] = _checksum(attributes.get("ultraslow"), nodes)
        if isinstance(chunks := attributes.get(CHUNKS), dict):
            chunks["blake3"] = _hash(chunks.get("chunks"))
    (path / "zarr.json").write_text(json.dumps(root))


def test_numbers_in_the_other_order_of_bytes_are_refused(honest, tmp_path):
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    nodes = json.loads((path / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    codecs = nodes["distance"]["codecs"]
    (at,) = [i for i, codec in enumerate(codecs) if codec["name"] == "bytes"]
    lie(path, ("consolidated_metadata", "metadata", "distance", "codecs", at, "configuration", "endian"), "big")
    with pytest.raises(StoreError, match="little-endian"):
        read_all(path)


def read_all(path):
    run = Run(path)
    run.to_dict()
    for act in (run.layers, run.to_xarray, run.pairwise_distance, lambda: run.layers(origin=5), lambda: verify(path)):
        with suppress(StoreError):
            act()
    for step in run.snapshots:
        run.state_dict(step)


VALUES = [
    *(
        None,
        True,
        -1,
        0,
        10**15,
        2**63,
        10**400,
        1.5,
        float("nan"),
        "",
        "../..",
        "x" * 5000,
        [],
        [[]],
        {},
        ["a", "a"],
    ),
    *([10**15], [-1], [0] * 100, {"name": 1}),
]


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_a_root_says_it_is_read_or_refused(honest, data):
    root = json.loads((honest / "zarr.json").read_text())
    where = data.draw(st.sampled_from(list(places(root))))
    value = data.draw(st.sampled_from(VALUES))
    with TemporaryDirectory() as folder:
        path = Path(shutil.copytree(honest, Path(folder) / "run.zarr"))
        lie(path, where, value)
        try:
            read_all(path)
        except StoreError as error:
            said = str(error)
        else:
            return
    assert said.startswith(f"{path}: ")
    assert "\n" not in said


def test_rows_that_no_file_holds_are_not_looked_for_one_by_one(honest, tmp_path):
    """10^15 rows are 10^12 chunks: the first that is missing is enough."""
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    many = 10**15
    lie(path, ("attributes", "ultraslow", "committed", "step"), many)
    for name in ("step", "distance", "norm", "displacement", "layer_distance", "layer_norm", "layer_displacement"):
        lie(path, ("consolidated_metadata", "metadata", name, "shape", 0), many)
    with pytest.raises(StoreError, match="/c/1 is missing"):
        Run(path).distance  # noqa: B018
    with pytest.raises(StoreError, match="are missing or too short"):
        verify(path)


def test_a_count_that_is_not_the_arrays_is_found(honest, tmp_path):
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    lie(path, ("attributes", "ultraslow", "committed", "step"), 39)
    assert [p.message for p in verify(path)] == ["step has 40 rows, and 39 are committed"]
    with pytest.raises(StoreError, match="has 40 rows, and 39 are committed: nothing is repaired"):
        verify(path, repair=True)
    lie(path, ("attributes", "ultraslow", "committed", "step"), 41)
    with pytest.raises(StoreError, match="has 40 rows, and that 41 are committed"):
        verify(path)


def test_a_chunk_that_would_not_fit_into_memory_is_refused(honest, tmp_path):
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    lie(
        path,
        ("consolidated_metadata", "metadata", "distance", "chunk_grid", "configuration", "chunk_shape", 0),
        10**15,
    )
    with pytest.raises(StoreError, match=r"distance/c/0 is damaged \(\d+ bytes, too few for"):
        Run(path).distance  # noqa: B018


def test_json_that_is_nested_without_end_is_refused(honest, tmp_path):
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    (path / "zarr.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match=r"zarr\.json is damaged \(nested too deeply\)"):
        Run(path)


@pytest.mark.parametrize("depth", [100, 600, 900])
def test_what_is_nested_too_deeply_to_be_shown_is_refused(honest, tmp_path, depth):
    path, nested = shutil.copytree(honest, tmp_path / "run.zarr"), 0
    for _ in range(depth):
        nested = [nested]
    lie(path, ("attributes", "ultraslow", "config"), {"deep": nested})
    for read in (Run, verify):
        with pytest.raises(StoreError, match=r"zarr\.json is damaged \(nested too deeply\)"):
            read(path)


def test_a_chunk_that_would_unpack_to_gigabytes_is_not_unpacked(honest, tmp_path):
    """1 GiB of zeros in 32 kB, with a checksum that holds and is listed."""
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    zeros = Zstd(level=1).encode(bytes(2**20))
    assert content_size(zeros) == 2**20
    packed = zeros[:6] + (2**30).to_bytes(4, "little") + zeros[9:]  # what the header says alone matters here
    (path / "distance/c/0").write_bytes(packed)
    listed = json.loads((path / "zarr.json").read_text())["attributes"][CHUNKS]["chunks"]
    last = base64.b64encode(packed[-4:] + base64.b64decode(listed["distance"])[4:]).decode()
    lie(path, ("attributes", CHUNKS, "chunks", "distance"), last)
    with pytest.raises(StoreError, match=r"distance/c/0 is damaged \(it unpacks to another number of bytes than its"):
        Run(path).distance  # noqa: B018


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_791, 65_792, 10**6])
def test_a_frame_says_how_many_bytes_it_unpacks_to(size):
    assert content_size(Zstd(level=1).encode(bytes(size))[:HEADER]) == size


def test_a_file_that_is_larger_than_the_memory_is_named(honest, tmp_path):
    for name in ("zarr.json", "distance/c/0"):
        path = shutil.copytree(honest, tmp_path / f"{name.count('/')}.zarr")
        os.truncate(path / name, 2**43)  # takes no room on the disk
        with pytest.raises(StoreError, match=r"larger than the memory|distance/c/0 is damaged \(\d+ bytes, too many"):
            Run(path).distance  # noqa: B018


def test_a_pipe_in_a_store_is_not_waited_for(honest, tmp_path):
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    for name in ("distance/c/0", "step/zarr.json"):
        (path / name).unlink()
        os.mkfifo(path / name)
    with pytest.raises(StoreError, match="distance/c/0 is missing"):
        Run(path).distance  # noqa: B018
    assert {problem.message.partition(" ")[0] for problem in verify(path)} == {"distance/c/0", "step/zarr.json"}
    record(path, overwrite=True)
    assert verify(path) == []
    os.mkfifo(path / "journal.0")
    with pytest.raises(StoreError, match="cannot write a run there"):
        record(path, overwrite=True)


def test_a_flipped_bit_in_the_root_is_named(honest, tmp_path):
    path = shutil.copytree(honest, tmp_path / "run.zarr")
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"origin_norm": ', '"origin_norm": 1', 1))
    with pytest.raises(StoreError, match=r"zarr\.json is damaged \(its checksum is another\)"):
        Run(path)
