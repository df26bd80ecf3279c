"""A closed run lies in few large chunks, and holds what it held."""

import numpy as np
import pandas as pd
import pytest
import xarray
import zarr

from trajectory import Every, Run, StoreError, verify
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage import compaction
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store, reopen_store

N = 9000  # rows: more chunks of 1024 than are left as they are
TABLE = np.column_stack([np.arange(1, N + 1), np.random.default_rng(0).normal(size=(N, 3))])


def make_store(path):
    parameters = tuple(TensorSpec(name, (2,), "float32", 2 * k) for k, name in enumerate("ab"))
    groups, schedules = Groups.single("ab"), ((0, Every(1)),)
    metadata = RunMetadata(parameters=parameters, groups=groups, origin_norm=1.0, schedules=schedules)
    return create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=False)


def append(store, first, last):
    """Steps `first` to `last`; a metric appears late."""
    for start in range(first, last + 1, 500):
        rows = TABLE[start - 1 : min(start + 499, last)]
        store.append_rows(rows)
        store.append_metrics([(int(t), {"loss": t} | ({"late": -t} if t > 5000 else {})) for t in rows[:, 0]])


def check(path, last=N):
    run = Run(path)
    np.testing.assert_array_equal(run.distance.index, TABLE[:last, 0])
    np.testing.assert_array_equal(run.distance, TABLE[:last, 1])
    np.testing.assert_array_equal(run.layers(), TABLE[:last, 2:])
    t = pd.Series(TABLE[:last, 0])
    np.testing.assert_array_equal(run.metrics["loss"], t)
    np.testing.assert_array_equal(run.metrics["late"], -t.where(t > 5000))


def chunks(path):
    return [file for file in path.rglob("*") if file.is_file() and file.name != "zarr.json"]


@pytest.fixture
def path(tmp_path):
    store = make_store(tmp_path / "run.zarr")
    append(store, 1, N)
    store.close("complete")
    return tmp_path / "run.zarr"


def test_a_closed_run_lies_in_few_files(path):
    assert len(chunks(path)) == 1 + 3 + 3  # names; step, two distances; step, two metrics
    assert not list(path.rglob("c"))[1:]  # that of the names
    check(path)
    assert verify(path) == []
    for options in ({}, {"consolidated": False}):
        seen = xarray.open_zarr(path, **options)
        np.testing.assert_array_equal(seen["layer_distance"], TABLE[:, 2:])


def test_the_list_of_chunks_is_that_of_the_large_ones(tmp_path, monkeypatch):
    """Where they are so long that there are several: none may be held to the checksum of a small one."""
    monkeypatch.setattr(compaction, "MOST_BYTES", 8 * 4096)
    store = make_store(tmp_path / "run.zarr")
    append(store, 1, N)
    store.close("complete")
    assert len(list((tmp_path / "run.zarr" / "distance").glob("c.*"))) == 3
    check(tmp_path / "run.zarr")
    assert verify(tmp_path / "run.zarr") == []


def test_it_can_be_resumed_and_closed_again(path):
    """Past the large chunks' end too, and back into the midst of one."""
    for start, stop in ((7000, 8000), (8000, 9000), (100, 9000)):
        store = reopen_store(open_backend(path))
        store.cut(start)
        append(store, start + 1, stop)
        store.close("interrupted (test)")
        assert verify(path) == []
        check(path, stop)
    assert len(chunks(path)) <= 7


def test_a_large_chunk_is_written_on_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("trajectory.storage.table_writer._BATCH", 2048)
    store = make_store(tmp_path / "run.zarr")
    store.append_rows(TABLE[:8500])
    store.close("complete")
    store = reopen_store(open_backend(tmp_path / "run.zarr"))
    store.cut(3000)
    store.append_rows(TABLE[3000:5500])
    assert store._commits.last.steps == 4096
    store.append_rows(TABLE[5500:])
    assert store._commits.last.steps == 8192
    store.release()
    np.testing.assert_array_equal(Run(tmp_path / "run.zarr").distance, TABLE[:, 1])


def test_chunks_that_grew_many_are_compacted_again(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "_FEW", 2)
    store = make_store(tmp_path / "run.zarr")
    append(store, 1, 2500)
    store.close("complete")
    seen = {zarr.open_group(tmp_path / "run.zarr")["distance"].chunks}
    store = reopen_store(open_backend(tmp_path / "run.zarr"))
    store.cut(2500)
    append(store, 2501, N)
    store.close("complete")
    assert seen | {zarr.open_group(tmp_path / "run.zarr")["distance"].chunks} == {(4096,), (16384,)}
    check(tmp_path / "run.zarr")
    assert len(chunks(tmp_path / "run.zarr")) == 7


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["write", "publish", "restore", "remove"])
def test_a_kill_on_the_way_loses_nothing(tmp_path, monkeypatch, moment):
    path = tmp_path / "run.zarr"
    store = make_store(path)
    append(store, 1, N)
    written = compaction.write_chunks

    def stop(*_):
        raise Killed

    def write_in_part(opened, target, nodes):
        written(opened, target, dict(list(nodes.items())[:2]))
        raise Killed

    def write_all(*arguments):
        written(*arguments)
        monkeypatch.setattr(store._commits, "publish", stop)

    place, function = {
        "write": ("commit_writer.write_chunks", write_in_part),
        "publish": ("commit_writer.write_chunks", write_all),
        "restore": ("table_writer.write_node", stop),
        "remove": ("table_writer.replaced_chunks", stop),
    }[moment]
    monkeypatch.setattr(f"trajectory.storage.{place}", function)
    with pytest.raises(Killed):
        store.close("complete")
    monkeypatch.undo()
    check(path)
    assert [problem.repairable for problem in verify(path)] == [True]
    if moment == "restore":  # by a repair, or by a recorder that resumes
        verify(path, repair=True)
        check(path)
        assert verify(path) == []
    store = reopen_store(open_backend(path))
    store.cut(6000)
    append(store, 6001, N)
    store.close("complete")
    check(path)
    assert verify(path) == []
    assert len(chunks(path)) == 7


def test_a_full_disk_leaves_the_small_chunks(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    store = make_store(path)
    append(store, 1, N)
    written = compaction.write_chunks

    def full(opened, target, nodes):
        written(opened, target, dict(list(nodes.items())[:2]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trajectory.storage.commit_writer.write_chunks", full)
    store.close("complete")
    check(path)
    assert verify(path) == []
    assert len(chunks(path)) == 1 + 5 * 9 + 5  # the late metric has none of the first rows


def test_a_damaged_chunk_is_not_passed_off_as_rows(tmp_path):
    path = tmp_path / "run.zarr"
    store = make_store(path)
    append(store, 1, N)
    (path / "distance" / "c" / "3").unlink()
    store.close("complete")
    assert len(chunks(path)) > 7
    with pytest.raises(StoreError, match="distance/c/3 is missing"):
        Run(path).distance  # noqa: B018


def test_a_run_opened_before_reads_the_large_chunks(tmp_path):
    path = tmp_path / "run.zarr"
    store = make_store(path)
    append(store, 1, N)
    before = Run(path)
    assert before._table._moment.read("distance", 1)
    store.close("complete")
    np.testing.assert_array_equal(before.layers(), TABLE[:, 2:])
    np.testing.assert_array_equal(before.metrics["loss"], TABLE[:, 0])


def test_a_zarr_store_is_compacted_too():
    store = zarr.storage.MemoryStore()
    writer = make_store(store)
    append(writer, 1, N)
    writer.close("complete")
    check(store)
    assert verify(store) == []
    assert len([key for key in store._store_dict if not key.endswith("zarr.json")]) == 7
