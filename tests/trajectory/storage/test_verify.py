"""Checking a store, mending a killed one, and keeping two recorders off one path."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray
from torch import nn

from trajectory import Problem, Recorder, Run, StoreError, verify
from trajectory.storage.location import open_backend
from trajectory.storage.opening import reopen_store

KILLED = """
import os, signal, sys, torch
from trajectory import Every, Recorder
model = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.zeros_(model.weight)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
model.weight.grad = -torch.ones(1, 1)
recorder = Recorder(sys.argv[1], model, optimizer, snapshots=Every(500), origins=[100])
for _ in range(1300):
    optimizer.step()
    recorder.log(weight=model.weight)
    if recorder.step in (900, 1200):
        recorder.event("mark")
recorder.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory):
    path = tmp_path_factory.mktemp("killed") / "run.zarr"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
    return path


@pytest.fixture
def killed(killed_once, tmp_path):
    return shutil.copytree(killed_once, tmp_path / "run.zarr")


def contents(path):
    run = Run(path)
    return run.distance, run.displacement(100), run.layers(), run.metrics, run.events, run.snapshots


def test_a_killed_run_is_closed_and_nothing_changes_but_where_it_lies(killed):
    before = contents(killed)
    assert len(before[0]) == 1300
    assert [event.step for event in before[4]] == [900, 1200]
    sentences = [problem.message for problem in verify(killed)]
    assert sentences == ["not closed: 276 recorded steps are in the journal alone"]  # 1300 - 1024
    assert verify(killed, repair=True) != []
    assert verify(killed) == []
    for was, now in zip(before, contents(killed), strict=True):
        assert was.equals(now) if hasattr(was, "equals") else was == now
    assert Run(killed).status == "interrupted (killed)"
    assert xarray.open_zarr(killed).sizes["step"] == 1300


def test_a_recovered_store_goes_on_where_it_was(killed):
    store = reopen_store(open_backend(killed))
    rows = np.column_stack([np.arange(1301, 2501), np.ones((1200, 4))])
    store.append_rows(rows)
    store.append_metrics([(1301, {"weight": 7.0, "new": 1.0})])
    assert list(Run(killed).distance.index) == list(range(1, 2501))
    store.close("complete")
    run = Run(killed)
    assert list(run.distance.index) == list(range(1, 2501))
    assert run.metrics.loc[1301, ["weight", "new"]].tolist() == [7.0, 1.0]
    assert run.metrics.loc[1300, "weight"] == 1300
    assert verify(killed) == []


def test_leftovers_of_a_kill_are_removed(killed):
    (killed / "step" / "c" / "9.partial").write_bytes(b"torn")
    (killed / "journal.99").write_bytes(b"old")
    assert [problem.repairable for problem in verify(killed)] == [True, True]
    verify(killed, repair=True)
    assert verify(killed) == []
    assert not (killed / "journal.99").exists()


def test_a_users_own_files_in_a_store_are_no_leftovers(killed):
    own = ["journal.md", "journal.2024-01-01", "journal.1.txt", "download.partial", "notes/paper.txt", "lock.md"]
    (killed / "notes").mkdir()
    for name in own:
        (killed / name).write_text("mine")
    verify(killed, repair=True)
    assert verify(killed) == []
    assert [(killed / name).read_text() for name in own] == ["mine"] * len(own)


def test_lost_weights_are_not_taken_for_zeros(killed):
    """The weights at step 0 are zeros, which is what Zarr reads where a chunk is not there."""
    verify(killed, repair=True)
    for group in ("snapshots", "origins"):
        (killed / group / "weights" / "c" / "0" / "0").unlink()
    assert [problem.message for problem in verify(killed)] == [
        "the snapshot at step 0 is missing",
        "the copy of the weights measured from at step 0 is missing",
    ]
    with pytest.raises(StoreError, match="the snapshot at step 0 is missing"):
        Run(killed).state_dict(0)
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(StoreError, match="the copy of the weights at step 0 is missing"):
        Recorder(killed, model, optimizer, origins=[100], resume="must", step=500)


def test_damage_is_named_and_stays(killed):
    verify(killed, repair=True)
    chunk = killed / "snapshots" / "weights" / "c" / "1" / "0"
    damaged = bytearray(chunk.read_bytes())
    damaged[0] ^= 1
    chunk.write_bytes(damaged)
    (problem,) = verify(killed, repair=True)
    assert problem.message == (
        f"snapshots/weights: the snapshot at step {Run(killed).snapshots[1]} is not the one whose hash was saved"
    )
    assert not problem.repairable
    assert len(verify(killed)) == 1


def test_steps_that_do_not_increase_are_found(killed):
    store = reopen_store(open_backend(killed))
    store.append_rows(np.array([[5.0, 1, 1, 1, 1]]))
    store.close("complete")
    assert "recorded steps do not increase from 1 on" in [problem.message for problem in verify(killed)]


def test_a_store_of_the_first_version_is_intact(killed):
    """It had neither origins nor sketches, nor what the root says of them."""
    verify(killed, repair=True)
    root = json.loads((killed / "zarr.json").read_text())
    attributes, nodes = root["attributes"]["ultraslow"], root["consolidated_metadata"]["metadata"]
    del root["attributes"]["ultraslow_blake3"]
    for group in ("origins", "sketches"):
        shutil.rmtree(killed / group)
        del attributes["committed"][group]
        for name in [name for name in nodes if name.split("/")[0] == group]:
            del nodes[name]
    for key in ("id", "layers", "quantities", "ranks", "sketch", "snapshot", "origin_norms", "host", "commit"):
        del attributes[key]
    (killed / "zarr.json").write_text(json.dumps(root))
    assert verify(killed) == []
    assert len(Run(killed).layers()) == 1300
    assert Run(killed).state_dict(500)["weight"].item() == 500
    assert Run(killed).sketches == []


def test_a_store_that_an_early_version_has_written_on_is_intact(killed):
    """It kept what it did not know of the root, but left out checksums and chunks of NaN."""
    verify(killed, repair=True)
    root = json.loads((killed / "zarr.json").read_text())
    root["attributes"] = {"ultraslow": root["attributes"]["ultraslow"]}
    (killed / "zarr.json").write_text(json.dumps(root))
    (killed / "metrics" / "weight" / "c" / "1").unlink()
    assert verify(killed) == []
    run = Run(killed)
    assert len(run.distance) == 1300
    assert run.metrics["weight"].count() == 1024


def test_the_former_names_of_a_problem_can_be_read():
    problem = Problem("not closed", repairable=True)
    with pytest.warns(DeprecationWarning, match=r"is now Problem\.message"):
        assert problem.sentence == "not closed"
    with pytest.warns(DeprecationWarning, match=r"is now Problem\.repairable"):
        assert problem.mendable


def test_two_recorders_on_one_path(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    with Recorder(path, model, optimizer):
        with pytest.raises(StoreError, match=r"still recording there.*give overwrite=True"):
            Recorder(path, model, optimizer)
        with pytest.raises(StoreError, match="another recorder is writing there"):
            verify(path, repair=True)
        optimizer.step()
    assert len(Run(path).distance) == 1
    Recorder(path, model, optimizer, overwrite=True).close()


@pytest.mark.parametrize("moment", range(4))
def test_a_disk_that_fills_up_in_a_commit_leaves_the_commit_before(tmp_path, monkeypatch, moment):
    """Whichever write of the commit fails, every row stays readable and the next commit goes through."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=1)
    recorder.flush()  # the worker's writes of w_0 are not those that fail below
    store = recorder._session.store
    full = OSError(28, "No space left on device")

    def fails(*_, **__):
        raise full

    rows = np.column_stack([np.arange(1, 1025), np.ones((1024, 2))])
    with monkeypatch.context() as patch:
        call = ["array_writer.ArrayWriter.extend", "commit_writer.CommitWriter.publish"][moment % 2]
        patch.setattr(f"trajectory.storage.{call}", fails)
        if moment >= 2:
            patch.setattr("trajectory.storage.journal.Journal.append_json", fails)
        with pytest.raises(OSError, match="No space left"):
            store.append_rows(rows)
    assert len(Run(tmp_path / "run.zarr").distance) == 1024
    recorder.flush()  # a snapshot's commit must not lose them either
    store.append_snapshot(3, np.zeros(1, dtype="float32"), np.empty(0, dtype="uint8"))
    assert len(Run(tmp_path / "run.zarr").distance) == 1024
    store.append_rows(np.array([[1025.0, 1, 1]]))
    assert len(Run(tmp_path / "run.zarr").distance) == 1025
    recorder.close()
    assert list(Run(tmp_path / "run.zarr").distance.index) == list(range(1, 1026))
    assert verify(tmp_path / "run.zarr") == []
