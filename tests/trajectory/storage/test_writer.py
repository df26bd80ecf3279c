"""Record → read as a property, and the store seen by other readers."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectory import Event, Run, StoreError, verify
from trajectory.schema.layout import ROWS_PER_CHUNK, RowColumns, TensorSpec, metric_array, metric_name
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.arrays import rows_per_chunk
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store, reopen_store

number = st.floats(allow_nan=True, allow_infinity=True, width=64)
metric = st.text(min_size=1, max_size=8).filter(lambda name: name != "step" and not name.startswith((".", "__")))
metrics = st.lists(st.dictionaries(metric, number, min_size=1, max_size=3), max_size=5)
block = st.tuples(st.integers(0, 700), metrics, st.lists(st.text(max_size=5), max_size=2))


def make_store(path, names=("a", "b"), **kwargs):
    parameters = tuple(TensorSpec(name, (2,), "float32", 2 * k) for k, name in enumerate(names))
    metadata = RunMetadata(parameters=parameters, groups=Groups.single(names), origin_norm=1.0)
    settings = {"weight_dtype": "float32", "buffer_bytes": 0, "overwrite": False}
    return create_store(open_backend(path), metadata, **(settings | kwargs))


@settings(max_examples=40)
@given(blocks=st.lists(block, max_size=8), close=st.booleans())
def test_what_was_appended_is_read_whatever_the_blocks(blocks, close):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.zarr"
        store = make_store(path)
        rows, logged, events, step = [np.empty((0, 4))], {}, [], 0
        for length, scalars, names in blocks:
            table = np.column_stack([np.arange(step + 1, step + 1 + length), rng.normal(size=(length, 3))])
            entries = list(enumerate(scalars, start=step + 1))
            store.append_rows(table)
            store.append_metrics(entries)
            for name in names:
                store.append_event(Event(step, name, {"block": length}))
                events.append(Event(step, name, {"block": length}))
            rows.append(table)
            for at, values in entries:
                logged.setdefault(at, {}).update(values)
            step += max(length, len(scalars))
        if close:
            store.close("complete")
        run, expected = Run(path), np.concatenate(rows)
        np.testing.assert_array_equal(run.distance.index, expected[:, 0])
        np.testing.assert_array_equal(run.distance, expected[:, 1])
        np.testing.assert_array_equal(run.layers(), expected[:, 2:])
        frame = pd.DataFrame.from_dict(logged, orient="index", dtype="float64").sort_index().sort_index(axis=1)
        np.testing.assert_array_equal(run.metrics.index, frame.index)
        assert list(run.metrics.columns) == list(frame.columns)
        np.testing.assert_array_equal(run.metrics, frame)
        assert run.events == events


def test_other_readers_see_committed_rows_only(tmp_path):
    path = tmp_path / "run.zarr"
    store = make_store(path)
    table = np.column_stack([np.arange(1, 2501), np.ones((2500, 3))])
    for chunk in np.array_split(table, 40):
        store.append_rows(chunk)
    assert xarray.open_zarr(path).sizes == {"step": 2 * ROWS_PER_CHUNK, "parameter": 2}
    assert len(Run(path).distance) == 2500
    store.append_metrics([(2500, {"loss": 0.5})])
    store.append_snapshot(2500, np.arange(4, dtype="float32"), np.empty(0, dtype="uint8"))
    store.close("complete")
    seen = xarray.open_zarr(path)
    assert seen.sizes == {"step": 2500, "parameter": 2}
    assert list(seen["parameter"].to_numpy()) == ["a", "b"]
    assert float(xarray.open_zarr(path, group="metrics")["loss"][0]) == 0.5
    assert xarray.open_zarr(path, group="snapshots")["weights"].shape == (1, 4)
    merged = Run(path).to_xarray()
    assert float(merged["loss"].sel(step=2500)) == 0.5
    assert merged["layer_distance"].shape == (2500, 2)


def test_rows_and_their_scalars_are_committed_together(tmp_path):
    store = make_store(tmp_path / "run.zarr")
    for start in range(1, 4 * ROWS_PER_CHUNK, 64):
        steps = np.arange(start, start + 64)
        store.append_metrics([(int(step), {"loss": 0.5}) for step in steps])
        store.append_rows(np.column_stack([steps, np.ones((64, 3))]))
    commit = store._commits.last
    assert (commit.steps, commit.metrics) == (4 * ROWS_PER_CHUNK, 3 * ROWS_PER_CHUNK)
    assert commit.generation == 4
    store.append_metrics([(step, {"loss": 0.5}) for step in range(4097, 6145)])  # of steps that are not recorded
    assert store._commits.last.metrics == 6 * ROWS_PER_CHUNK - 1024
    store.release()


def test_an_array_lengthened_but_not_committed_is_not_seen(tmp_path):
    """What a process leaves that was killed between writing the data and the commit."""
    path = tmp_path / "run.zarr"
    store = make_store(path)
    store.append_rows(np.column_stack([np.arange(1, 1025), np.ones((1024, 3))]))
    zarr.open_group(path, use_consolidated=False)["distance"].resize((5000,))
    (path / "distance" / "c" / "4.partial").write_bytes(b"torn")
    assert xarray.open_zarr(path).sizes["step"] == 1024
    assert len(Run(path).distance) == 1024


@pytest.mark.parametrize("keep", range(0, 200, 13))
def test_a_torn_journal_gives_its_whole_records(tmp_path, keep):
    path = tmp_path / "run.zarr"
    store = make_store(path)
    record = 9 + 8 * 4
    for step in range(1, 5):
        store.append_rows(np.array([[step, 1.0, 1.0, 1.0]]))
    (journal,) = path.glob("journal.*")
    journal.write_bytes(journal.read_bytes()[:keep])
    assert list(Run(path).distance.index) == list(range(1, 1 + min(keep // record, 4)))


@pytest.mark.parametrize(("byte", "lost"), [(0, 3), (3, 3), (6, 3), (20, 3), (41, 4), (44, 4), (47, 4), (70, 4)])
def test_a_flipped_bit_in_the_journal_costs_its_own_record(tmp_path, byte, lost):
    """In the kind, the length, the checksum and the payload of a record in the middle, and of the last one."""
    path = tmp_path / "run.zarr"
    store = make_store(path)
    for step in range(1, 5):
        store.append_rows(np.array([[step, 1.0, 1.0, 1.0]]))
    (journal,) = path.glob("journal.*")
    damaged = bytearray(journal.read_bytes())
    damaged[2 * 41 + byte] ^= 1
    journal.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"journal\.0 is damaged"):
        Run(path).distance  # noqa: B018
    left = [step for step in range(1, 5) if step != lost]
    run = Run(path, skip_damaged=True)
    assert list(run.distance.index) == left
    assert "journal.0 is damaged" in run.damage[0]
    store.release()
    assert "journal.0 is damaged" in " ".join(problem.message for problem in verify(path, repair=True))
    assert list(Run(path).distance.index) == left
    assert (path / "journal.0.damaged").read_bytes() == damaged


@pytest.mark.parametrize("name", ["", "step", ".hidden", "__x", "\ud800", "x" * 256, "损" * 86, "/" * 86])
def test_a_metric_no_array_can_hold_is_refused(name):
    with pytest.raises(StoreError, match="rename it"):
        metric_array(name)


@pytest.mark.parametrize(
    "name", ["a/b", "zarr.json", "ZARR.JSON", "c", "x" * 255, "потеря" * 20, "损" * 85, "a%2Fb", "é\0"]
)
def test_a_metric_keeps_its_name(name):
    array = metric_array(name)
    assert metric_name(array) == name
    assert len(array.encode()) <= 255
    assert "/" not in array
    assert array.casefold() != "zarr.json"


def test_metrics_that_differ_in_case_alone_have_files_that_do_not():
    arrays = {"step": "step"}
    for name in ("Loss", "loss", "LOSS", "Step", "Ж" * 100, "é", "e\u0301", "É"):
        arrays[name] = metric_array(name, arrays.values())
    assert arrays["Loss"] == "Loss"
    assert [metric_name(array) for array in arrays.values()] == list(arrays)
    assert len({array.casefold() for array in arrays.values()}) == len(arrays)
    with pytest.raises(StoreError, match="rename one"):
        metric_array("ж" * 100, arrays.values())


def test_metrics_of_an_earlier_version_keep_their_arrays(tmp_path, monkeypatch):
    """It wrote both names as they are, on a file system that tells them apart."""
    store = make_store(tmp_path / "run.zarr")
    with monkeypatch.context() as earlier:
        earlier.setattr("trajectory.storage.table_writer.metric_array", lambda name, taken: name)
        store.append_metrics([(1, {"Loss": 1.0, "loss": 2.0})])
        store.close("interrupted")
    store = reopen_store(open_backend(tmp_path / "run.zarr"))
    store.cut(1)
    store.append_metrics([(2, {"loss": 4.0, "Loss": 3.0, "LOSS": 5.0})])
    store.close("complete")
    metrics = Run(tmp_path / "run.zarr").metrics
    np.testing.assert_array_equal(metrics[["LOSS", "Loss", "loss"]], [[np.nan, 1, 2], [5, 3, 4]])
    assert sorted(file.name for file in (tmp_path / "run.zarr/metrics").iterdir()) == [
        *("%4C%4F%53%53", "Loss", "loss", "step", "zarr.json")
    ]
    assert verify(tmp_path / "run.zarr") == []


def test_a_store_that_fills_the_disk_keeps_whole_records(tmp_path, monkeypatch):
    """A full disk takes the first bytes of a record; the journal takes them back and says so."""
    import os

    path = tmp_path / "run.zarr"
    store = make_store(path)
    store.append_rows(np.array([[1, 1.0, 1.0, 1.0]]))
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        store.append_rows(np.array([[2, 1.0, 1.0, 1.0]]))
    monkeypatch.undo()
    store.append_rows(np.array([[3, 1.0, 1.0, 1.0]]))
    assert list(Run(path).distance.index) == [1, 3]


def test_wide_rows_are_written_in_smaller_batches(tmp_path):
    """1024 rows of 12,000 layers would wait in 98 MB, and be copied more than once when they are written."""
    assert [rows_per_chunk(RowColumns(("x",) * n)) for n in (20, 12_000, 10**6)] == [ROWS_PER_CHUNK, 128, 64]
    layers = [f"layer{k}" for k in range(3000)]
    store = make_store(tmp_path / "run.zarr", layers)
    table = np.column_stack([np.arange(1, 601), np.ones((600, 3001))])
    for block in np.array_split(table, 10):
        store.append_rows(block)
    assert xarray.open_zarr(tmp_path / "run.zarr").sizes["step"] == 512
    store.close("complete")
    assert len(Run(tmp_path / "run.zarr").distance) == 600
