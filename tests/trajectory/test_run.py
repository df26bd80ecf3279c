"""Opening what is no run, and what a run refuses."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
import zarr
from torch import nn

from trajectory import Recorder, Run, RunNotFoundError, StoreError


@pytest.fixture
def recorded(tmp_path):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=1):
        for _ in range(3):
            model.weight.grad = torch.ones(2, 3)
            optimizer.step()
    return tmp_path / "run.zarr"


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_path(tmp_path):
    with pytest.raises(RunNotFoundError, match="no such run") as caught:
        Run(tmp_path / "none.zarr")
    one_line(caught)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, StoreError)


def test_foreign_paths(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    zarr.open_group(tmp_path / "foreign.zarr", mode="w", attributes={"made_by": "somebody"})
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    shutil.copytree(tmp_path / "broken.zarr", tmp_path / "damaged.zarr")
    (tmp_path / "damaged.zarr" / "journal.0").touch()
    for name in ("notes.txt", "folder", "foreign.zarr", "broken.zarr", "damaged.zarr"):
        with pytest.raises(StoreError, match="not a run") as caught:
            Run(tmp_path / name)
        assert name in one_line(caught)


def test_a_newer_format_is_named(recorded):
    root = json.loads((recorded / "zarr.json").read_text())
    root["attributes"]["ultraslow"]["format"] = 2
    (recorded / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match="written in format 2, this ultraslow reads up to 1; upgrade") as caught:
        Run(recorded)
    one_line(caught)


def test_a_missing_journal_is_named(recorded):
    root = json.loads((recorded / "zarr.json").read_text())
    root["attributes"]["ultraslow"] |= {"status": "recording", "journal": 7}
    del root["attributes"]["ultraslow_blake3"]
    (recorded / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match=r"journal\.7 is missing"):
        Run(recorded)


def test_a_step_without_a_snapshot(recorded):
    with pytest.raises(StoreError, match=r"no snapshot at step 9; snapshots are at \[0, 1, 2, 3\]"):
        Run(recorded).state_dict(9)


def test_a_damaged_snapshot_is_not_loaded(recorded):
    chunk = recorded / "snapshots" / "weights" / "c" / "2" / "0"
    damaged = bytearray(chunk.read_bytes())
    damaged[5] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(StoreError, match="snapshot at step 2 is damaged"):
        Run(recorded).state_dict(2)
    Run(recorded).state_dict(1)


def test_another_network_is_refused(recorded):
    with pytest.raises(StoreError, match="does not fit this model: weight") as caught:
        Run(recorded).load_into(nn.Linear(4, 2), 1)
    one_line(caught)


def test_loading_passes_through_wrappers(recorded):
    wrapped = nn.DataParallel(nn.Linear(3, 2))
    Run(recorded).load_into(wrapped, 3)
    assert torch.equal(wrapped.module.weight, Run(recorded).state_dict(3)["weight"])


def test_a_run_without_steps_opens_empty(tmp_path):
    model = nn.Linear(3, 2)
    Recorder(tmp_path / "empty.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1)).close()
    run = Run(tmp_path / "empty.zarr")
    assert (len(run.distance), len(run.metrics), run.snapshots) == (0, 0, [])
    assert run.warnings == ["update 0: the run ends without an update"]


def test_an_unknown_quantity(recorded):
    with pytest.raises(StoreError, match="this run holds: distance"):
        Run(recorded).layers("curvature")


def test_reading_needs_no_torch():
    code = "import sys, trajectory; trajectory.Run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
