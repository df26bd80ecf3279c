"""Whenever the power fails, a store opens with a prefix of the rows, and with all that was promised to be durable."""

import os

import pytest
import torch
import zarr
from power_cuts import NO_BUFFERS, WEIGHTS, make_store, open_after, record_history, states, use_small_chunks
from torch import nn

from trajectory import Recorder


@pytest.fixture
def history(tmp_path, monkeypatch):
    use_small_chunks(monkeypatch)
    (tmp_path / "live").mkdir()
    return record_history(tmp_path / "live", monkeypatch)


def check(history, tmp_path, cuts, each, seed, go_on):
    """Open states, and record on in every `go_on`-th of them."""
    for k, (cut, tree) in enumerate(states(history, cuts, each, seed)):
        (tmp_path / f"{k}").mkdir()
        open_after(cut, tree, history, tmp_path / f"{k}", go_on=k % go_on == 0)


def test_a_power_cut_leaves_a_prefix_of_the_rows(history, tmp_path):
    check(history, tmp_path, range(0, history.recording.now, 31), 1, 0, go_on=3)


@pytest.mark.slow
def test_a_power_cut_at_any_moment_leaves_a_prefix_of_the_rows(history, tmp_path):
    check(history, tmp_path, range(history.recording.now + 1), 2, 1, go_on=8)


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


def test_a_snapshot_waits_for_its_step_and_the_commit_alone(tmp_path, monkeypatch):
    """Its weights wait for a flush, and its arrays were opened by the snapshot before."""
    store = make_store(tmp_path / "run.zarr")
    store.append_snapshot(1, WEIGHTS, NO_BUFFERS)
    store.sync(durable=True)
    synced, opened, fsync, member = [], [], os.fsync, zarr.Group.__getitem__

    def noted(fd):
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path / "run.zarr"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(zarr.Group, "__getitem__", lambda group, name: opened.append(name) or member(group, name))
    store.append_snapshot(2, WEIGHTS, NO_BUFFERS)
    assert sorted(synced) == [".zarr.json.partial", "snapshots/step/c", "snapshots/step/c/.0.partial"]
    assert opened == []
    store.sync(durable=True)
    hashed = {f"snapshots/{name}/c/1/0" for name in ("weights", "blake3.weights")}
    assert hashed | {os.path.dirname(file) for file in hashed} | {"snapshots/weights/c", "."} <= set(synced)
    store.release()
