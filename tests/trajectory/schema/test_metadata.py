"""The root's attributes: what is missing or of another type is named; what earlier versions wrote is read."""

import json
from dataclasses import replace

import pytest

from trajectory import Run, StoreError
from trajectory.schema.commit import Commit
from trajectory.schema.layout import Event, TensorSpec
from trajectory.schema.metadata import RunMetadata, SketchFormat, SnapshotFormat
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store
from trajectory.storage.root import read_root

FULL = RunMetadata(
    parameters=(TensorSpec("a", (2, 3), "float32", 0), TensorSpec("b", (3,), "float32", 6)),
    buffers=(TensorSpec("mean", (3,), "float32", 0),),
    tied={"head": "a"},
    groups=Groups(("all",), (("a", "b"),)),
    quantities=("distance", "norm"),
    origins=(10, 100),
    ranks=(0, 1),
    snapshot=SnapshotFormat("bfloat16", "zstd"),
    sketch=SketchFormat(64, 7),
    origin_norm=1.5,
    origin_norms=(1.5,),
    id="0" * 32,
    config={"lr": 0.1, "nested": {"depth": [1, None]}},
    seed=4,
    host="here",
    commit="abc-dirty",
    versions={"python": "3.11"},
    resumed=(20,),
    others={"from a later version": [1]},
)
# what the first version wrote, and nothing else
FIRST = {
    "parameters": [["a", [2], "float32", 0]],
    "buffers": [],
    "tied": {},
    "origin_norm": 1.0,
    "config": {},
    "seed": None,
    "versions": {},
}


def test_metadata_is_read_as_it_was_written():
    stored = json.loads(json.dumps(FULL.to_json() | Commit().to_json() | {"format": 1}))
    assert RunMetadata.from_json(stored, "run.zarr") == FULL


def test_a_commit_is_read_as_it_was_written():
    commit = Commit("recording", 1, 2, 3, 4, 5, 6, (Event(7, "mark", {"why": "test"}),))
    assert Commit.from_json(json.loads(json.dumps(commit.to_json())), "run.zarr") == commit
    assert commit.journal == 6
    assert replace(commit, status="complete").journal is None


def test_a_store_of_the_first_version_is_read():
    found = RunMetadata.from_json(FIRST, "run.zarr")
    assert found.groups == Groups(("a",), (("a",),))
    assert (found.quantities, found.ranks, found.id) == (("distance",), (), None)
    assert (found.snapshot, found.sketch) == (SnapshotFormat(), SketchFormat())
    unsaid = {"id", "host", "snapshot", "origin_norms", "resumed"}
    assert not unsaid & found.to_json().keys()


@pytest.mark.parametrize("key", sorted(FIRST))
def test_a_missing_entry_is_named(key):
    with pytest.raises(StoreError, match=f"^run.zarr: zarr.json lacks '{key}'"):
        RunMetadata.from_json({name: value for name, value in FIRST.items() if name != key}, "run.zarr")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("origin_norm", "1.0", "a number"),
        ("origins", 3, "a list of increasing whole numbers from 1 on"),
        ("origins", [True], "a list of increasing whole numbers from 1 on"),
        ("seed", 1.5, "a whole number or null"),
        ("config", [1], "an object of named entries"),
        ("versions", {"python": 3}, "an object of named strings"),
        ("parameters", [["a", [2], "float32"]], r"a list of \[name, shape, dtype, offset\], each name once.*"),
        ("layers", [["a", "b", "c"]], r"a list of \[name, \[parameter, ...\]\], each name.* once"),
        ("snapshot", {"dtype": "float32"}, r"an object with dtype and compression \(null or zstd\)"),
        ("sketch", {"buckets": 3}, "an object with buckets and seed, or an empty one"),
    ],
)
def test_an_entry_of_another_type_is_named(key, value, expected):
    with pytest.raises(StoreError, match=f"^run.zarr: '{key}' in zarr.json is .*, expected {expected}; ") as caught:
        RunMetadata.from_json(FIRST | {key: value}, "run.zarr")
    assert "\n" not in str(caught.value)


def test_a_damaged_root_is_named_when_the_run_is_opened(tmp_path):
    path = tmp_path / "run.zarr"
    metadata = replace(FULL, ranks=(), sketch=SketchFormat())
    store = create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=12, overwrite=False)
    store.close("complete")
    assert read_root(open_backend(path)).metadata == metadata
    root = json.loads((path / "zarr.json").read_text())
    del root["attributes"]["ultraslow"]["committed"]["step"], root["attributes"]["ultraslow_blake3"]
    (path / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match=r"zarr.json lacks 'committed.step'"):
        Run(path)


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    with pytest.raises(StoreError, match=r"'seed' in zarr\.json is 'one', expected a whole number or null"):
        create_store(
            open_backend(tmp_path / "run.zarr"),
            replace(FULL, seed="one"),
            weight_dtype="float32",
            buffer_bytes=12,
            overwrite=False,
        )
    assert not (tmp_path / "run.zarr").exists()
