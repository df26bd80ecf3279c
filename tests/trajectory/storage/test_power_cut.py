"""Whenever the power fails, a store opens with a prefix of the rows, and with all that was promised to be durable."""

import os
from random import Random

import numpy as np
import pytest
import torch
from crash_states import Recording, plant
from torch import nn

from trajectory import Event, Recorder, Run, StoreError, verify
from trajectory.schedule import Every
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.arrays import create_column
from trajectory.storage.backend import open_backend
from trajectory.storage.writer import StoreWriter

WEIGHTS = np.arange(4, dtype="float32")
NO_BUFFERS = np.empty(0, dtype="uint8")
FIRST, SECOND, THIRD = (
    np.column_stack([np.arange(1, 21), np.random.default_rng(seed).normal(size=(20, 3))]) for seed in range(3)
)
SECOND[:5] = FIRST[:5]  # resumed after 5 updates


@pytest.fixture
def small_chunks(monkeypatch):
    """Four rows, so that few rows make commits, and eight chunks are many."""
    monkeypatch.setitem(create_column.__kwdefaults__, "chunk", 4)
    monkeypatch.setattr("trajectory.storage.compaction._FEW", 2)


def make_store(path, overwrite=False):
    parameters = tuple(TensorSpec(name, (2,), "float32", 2 * k) for k, name in enumerate("ab"))
    groups, schedules = Groups.single("ab"), ((0, Every(1)),)
    metadata = RunMetadata(parameters=parameters, groups=groups, origin_norm=1.0, schedules=schedules, id="run")
    return StoreWriter.create(
        open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=overwrite
    )


def append(store, table, start, stop):
    for row in table[start:stop]:
        store.append_metrics([(int(row[0]), {"loss": row[1]})])
        store.append_rows(row[None])


class History:
    """What a store may hold after each change, and what it must hold."""

    def __init__(self, recording):
        self.recording = recording
        self.moments = []  # changes before it; tables that may be there in part; rows and snapshots promised

    def note(self, tables, rows=0, snapshots=0):
        self.moments.append((self.recording.now, tables, rows, snapshots))

    def at(self, cut):
        return [moment for moment in self.moments if moment[0] <= cut][-1][1:]


@pytest.fixture
def history(tmp_path, monkeypatch, small_chunks):
    """A run that is recorded, closed, resumed, and then replaced."""
    root = tmp_path / "live"
    root.mkdir()
    path = root / "run.zarr"
    with monkeypatch.context() as patch:
        recording = Recording(root, patch)
        history = History(recording)
        history.note([None, FIRST])
        store = make_store(path)
        history.note([FIRST])
        store.append_origin(0, WEIGHTS)
        append(store, FIRST, 0, 6)
        store.append_event(Event(6, "event", {}))
        history.note([FIRST])
        store.sync(durable=True)
        history.note([FIRST], 6)
        store.append_snapshot(6, WEIGHTS, NO_BUFFERS)
        append(store, FIRST, 6, 10)
        store.sync(durable=True)
        history.note([FIRST], 10, 1)
        append(store, FIRST, 10, 15)
        history.note([FIRST], 10, 1)
        store.close("complete")
        history.note([FIRST], 15, 1)
        store = StoreWriter.reopen(open_backend(path), Every(1))
        history.note([FIRST, SECOND], 5)
        store.cut(5)
        history.note([SECOND], 5)
        append(store, SECOND, 5, 13)
        store.sync(durable=True)
        history.note([SECOND], 13)
        append(store, SECOND, 13, 20)
        store.close("complete")
        history.note([SECOND], 20)
        history.note([SECOND, None, THIRD])
        store = make_store(path, overwrite=True)
        history.note([THIRD])
        append(store, THIRD, 0, 6)
        store.sync(durable=True)
        history.note([THIRD], 6)
        store.release()
    everything = recording.state(recording.now, {})
    there = {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}
    assert {name: data for name, data in everything.items() if data is not None} == there, "a change was not noted"
    return history


def open_after(cut, tree, history, folder):
    """Open a state, and record on in it."""
    tables, promised, snapshots = history.at(cut)
    plant(tree, folder)
    path = folder / "run.zarr"
    try:
        run = Run(path)
    except StoreError:
        assert any(table is None for table in tables), "a run is gone"
        make_store(path).release()  # can begin there anew
        return
    n = len(run.distance)
    assert n >= promised
    table = next(t for t in tables if t is not None and np.array_equal(run.distance, t[:n, 1]))
    np.testing.assert_array_equal(run.distance.index, table[:n, 0])
    np.testing.assert_array_equal(run.layers(), table[:n, 2:])
    logged = len(run.metrics)
    assert logged >= promised
    if logged:
        np.testing.assert_array_equal(run.metrics["loss"], table[:logged, 1])
    assert run.snapshots in ([], [6])
    if snapshots:
        np.testing.assert_array_equal(run._snapshots._row("snapshots/weights", 0), WEIGHTS)
    store = StoreWriter.reopen(open_backend(path), Every(1))
    store.check_step(promised)
    store.cut(promised)
    store.append_rows(table[promised:])
    store.append_metrics([(int(row[0]), {"loss": row[1]}) for row in table[promised:]])
    store.close("complete")
    resumed = Run(path)
    np.testing.assert_array_equal(resumed.layers(), table[:, 2:])
    np.testing.assert_array_equal(resumed.metrics["loss"], table[:, 1])
    problems = [problem.message for problem in verify(path) if not problem.repairable]
    assert not [problem for problem in problems if snapshots or "snapshot" not in problem]


def check(cuts, each, seed, history, tmp_path):
    """Open some of the states that a power cut after each of some changes can leave."""
    rng, seen = Random(seed), set()
    for cut in cuts:
        fates = list(history.recording.fates(cut, rng, 20))
        for fate in rng.sample(fates, min(each, len(fates))):
            tree = history.recording.state(cut, fate)
            key = hash((history.at(cut)[1:], frozenset(tree.items())))
            if key not in seen:
                seen.add(key)
                (tmp_path / f"{len(seen)}").mkdir()
                open_after(cut, tree, history, tmp_path / f"{len(seen)}")


def test_a_power_cut_leaves_a_prefix_of_the_rows(history, tmp_path):
    check(range(0, history.recording.now, 31), 1, 0, history, tmp_path)


@pytest.mark.slow
def test_a_power_cut_at_any_moment_leaves_a_prefix_of_the_rows(history, tmp_path):
    check(range(history.recording.now + 1), 8, 1, history, tmp_path)


@pytest.mark.parametrize("durable", [False, True])
def test_what_a_recorder_syncs_and_when(tmp_path, monkeypatch, durable):
    """A drain syncs nothing, unless all is to be durable; a flush syncs the rows and a snapshot's weights."""
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=[64], durable=durable)
    recorder.flush()
    synced, fsync = [], os.fsync

    def noted(fd):
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), recorder.path))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    for _ in range(2):
        for _ in range(64):
            optimizer.step()
        recorder._pipeline._snapshots.wait()
        recorder._pipeline._thread.wait()
    assert ("journal.0" in synced, "snapshots/weights/c/0/0" in synced) == (durable, durable)
    recorder.flush()
    assert {"journal.0", "snapshots/weights/c/0/0"} <= set(synced)
    recorder.close()
    assert "distance/c/.0.partial" in synced  # before it took its name
