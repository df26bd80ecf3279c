"""Killed, out of room, or without its folder: what was written stays readable, and the loss is reported."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from torch import nn

from trajectory import Recorder, RecordingError, Run, StoreError, verify
from trajectory.storage.journal import FileJournal

# Children of one process, so that torch is imported once. The weight after t updates is t.
DRIVER = """
import os, random, resource, signal, sys, time
import torch
from forked import child
from trajectory import Every, Recorder, RecordingError

folder, kills = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
chance = random.Random(0)
model = torch.nn.Linear(1, 1, bias=False)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
model.weight.grad = -torch.ones(1, 1)
optimizer.step()  # imports what torch imports late

def record(path, updates, flushed=lambda step: None, **arguments):
    model.weight.data.zero_()
    recorder = Recorder(path, model, optimizer, snapshots=Every(200), **arguments)
    while recorder.step < updates:
        optimizer.step()
        recorder.log(weight=model.weight)
        if recorder.step % 250 == 0:
            recorder.event("mark")
            recorder.flush()
            flushed(recorder.step)
    recorder.close()

for k in range(kills):
    hears, says = os.pipe()
    pid = child(lambda: record(f"{folder}/{k}.zarr", 10**9, lambda step: os.write(says, b".")))
    os.close(says)
    wanted, kept = chance.randrange(8), 0
    while kept < wanted:
        heard = os.read(hears, 1)
        assert heard, "the child has ended by itself"
        kept += 1
    time.sleep(chance.expovariate(50))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while os.read(hears, 1):
        kept += 1
    os.close(hears)
    print("killed", k, 250 * kept)

def without_room(path, on_error):
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # bytes a file may have
    try:
        record(path, 3000, on_error=on_error)
        print(on_error, "went on")
    except RecordingError as error:
        print(on_error, error)
    sys.stdout.flush()

sys.stdout.flush()
for on_error in ("raise", "warn"):
    os.waitpid(child(lambda: without_room(f"{folder}/{on_error}.zarr", on_error)), 0)
"""


def run_driver(folder, kills):
    command = [sys.executable, "-c", DRIVER, str(folder), str(kills)]
    how = {"cwd": Path(__file__).parent, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    done = subprocess.run(command, **how, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), done.stderr


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driven")
    return folder, *run_driver(folder, kills=5)


def check_killed(folder, lines):
    """Every store is whole, and holds what flush() had returned for."""
    opened = 0
    for words in (line.split() for line in lines if line.startswith("killed")):
        path, kept = folder / f"{words[1]}.zarr", int(words[2])
        try:
            run = Run(path)
        except StoreError:
            assert kept == 0  # killed before the store was made
            continue
        opened += 1
        steps = np.arange(1, len(run.distance) + 1)
        assert run.status == "recording"
        assert len(steps) >= kept
        np.testing.assert_array_equal(run.distance.index, steps)
        np.testing.assert_allclose(run.distance, steps, rtol=1e-7)  # squares are summed in float32
        weight = run.metrics.get("weight", run.distance[:0])
        assert len(weight.dropna()) >= kept
        assert not weight[:-1].isna().any()  # logged after the step: the last row may have been cut off from it
        np.testing.assert_array_equal(weight.dropna(), weight.dropna().index)
        assert [event.step for event in run.events][: kept // 250] == list(range(250, kept + 1, 250))
        assert [step for step in run.snapshots if step <= kept] == list(range(0, kept + 1, 200)) if kept else True
        for step in run.snapshots:
            assert run.state_dict(step)["weight"].item() == step
        seen = xarray.open_zarr(path)
        np.testing.assert_allclose(seen["distance"], seen["step"], rtol=1e-7)
        verify(path, repair=True)
        assert verify(path) == []
        assert len(Run(path).distance) == len(steps)
    return opened


def test_a_process_killed_at_any_moment_leaves_whole_rows(driven):
    folder, lines, _ = driven
    assert check_killed(folder, lines) >= 3


@pytest.mark.slow
def test_a_hundred_kills(tmp_path):
    lines, _ = run_driver(tmp_path, kills=100)
    assert check_killed(tmp_path, lines) >= 85


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_full_disk_is_reported_and_keeps_what_was_written(driven, on_error):
    """Files may not grow beyond 30 kB, and the first to reach it is the journal."""
    folder, lines, warned = driven
    (reported,) = [line.removeprefix(f"{on_error} ") for line in lines if line.startswith(on_error)]
    if on_error == "raise":
        assert "raise.zarr: recording failed (" in reported
        assert "what was written before stays readable" in reported
    else:
        assert reported == "went on"
        assert "warn.zarr: recording failed" in warned
        assert Run(folder / "warn.zarr").status == "interrupted (recording failed)"
    run = Run(folder / f"{on_error}.zarr")
    assert 64 <= len(run.distance) < 1024
    np.testing.assert_allclose(run.distance, run.distance.index, rtol=1e-7)
    verify(folder / f"{on_error}.zarr", repair=True)
    assert verify(folder / f"{on_error}.zarr") == []


def one_weight():
    model = nn.Linear(1, 1, bias=False)
    model.weight.grad = torch.ones(1, 1)
    return model, torch.optim.SGD(model.parameters(), lr=1.0)


class FullDevice(FileJournal):
    """A journal on /dev/full, which stays when the journal is removed."""

    def remove(self):
        self.close()


def test_a_device_that_is_always_full(tmp_path):
    model, optimizer = one_weight()
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer)
    for _ in range(64):
        optimizer.step()
    recorder.flush()
    recorder._session.store._journal = FullDevice(Path("/dev/full"))
    for _ in range(64):
        optimizer.step()
    with pytest.raises(RecordingError, match="No space left on device"):
        recorder.flush()
    assert list(Run(tmp_path / "run.zarr").distance.index) == list(range(1, 65))


@pytest.mark.parametrize("on_error", ["raise", "warn"])
@pytest.mark.parametrize("gone", [shutil.rmtree, lambda path: path.rename(path.with_name("moved.zarr"))])
def test_a_folder_that_goes_away_is_reported_within_a_block(tmp_path, gone, on_error):
    model, optimizer = one_weight()
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, on_error=on_error)
    for _ in range(64):
        optimizer.step()
    recorder.flush()
    gone(tmp_path / "run.zarr")
    for _ in range(64):
        optimizer.step()
    recorder._pipeline._thread.wait()
    sentence = r"run.zarr: recording failed \(its folder was deleted or renamed\)"
    with (
        pytest.warns(RuntimeWarning, match=sentence)
        if on_error == "warn"
        else pytest.raises(RecordingError, match=sentence)
    ):
        optimizer.step()
    assert recorder.step == 129
    with suppress(RecordingError):
        recorder.close()
    if (tmp_path / "moved.zarr").exists():
        assert list(Run(tmp_path / "moved.zarr").distance.index)[:128] == list(range(1, 129))
    Recorder(tmp_path / "run.zarr", model, optimizer).close()


@pytest.mark.parametrize("updates", [5, 100])
@pytest.mark.parametrize("gone", [shutil.rmtree, lambda path: path.rename(path.with_name("moved.zarr"))])
def test_a_folder_that_goes_away_before_close_is_named_and_not_made_again(tmp_path, gone, updates):
    """A run that has been begun in its place since is left alone."""
    model, optimizer = one_weight()
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=50)
    for _ in range(updates):
        optimizer.step()
    recorder.flush()
    gone(tmp_path / "run.zarr")
    if updates == 100:
        other = Recorder(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=1.0))
        other.flush()
        before = files(tmp_path / "run.zarr")
    with pytest.raises(RecordingError, match=r"run.zarr: recording failed \(its folder was deleted or renamed\)"):
        recorder.close()
    if updates == 5:
        assert not (tmp_path / "run.zarr").exists()
    else:
        assert files(tmp_path / "run.zarr") == before
        other.close()
    if (tmp_path / "moved.zarr").exists():
        assert len(Run(tmp_path / "moved.zarr").distance) == updates


def files(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_subscriber_that_fails_at_times_ends_nothing_under_warn(tmp_path, recwarn):
    model, optimizer = one_weight()
    told = []

    def fail_at_times(rows):
        told.append(len(rows.step))
        if len(told) != 2:
            raise OSError("the dashboard is not reachable")

    with Recorder(tmp_path / "run.zarr", model, optimizer, on_error="warn") as recorder:
        recorder.subscribe(fail_at_times)
        for _ in range(200):
            optimizer.step()
    assert told == [1, 1, 2, 4, 8, 16, 32, 64, 64, 8]
    (warned,) = recwarn
    assert "fail_at_times failed (OSError: the dashboard is not reachable)" in str(warned.message)
    run = Run(tmp_path / "run.zarr")
    assert (run.status, len(run.distance)) == ("complete", 200)


def test_a_subscriber_that_fails_loses_no_row(tmp_path):
    model, optimizer = one_weight()
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer)
    recorder.subscribe(lambda rows: 1 / 0)
    failed = 0
    for _ in range(130):
        try:
            optimizer.step()
        except ZeroDivisionError:
            failed += 1
    assert (failed, recorder.step) == (8, 130)  # at updates 1, 2, 4, ..., 64 and 128
    with pytest.raises(ZeroDivisionError):
        recorder.close()
    run = Run(tmp_path / "run.zarr")
    assert (run.status, len(run.distance)) == ("complete", 130)


def test_a_place_nobody_can_write_to():
    model, optimizer = one_weight()
    with pytest.raises(StoreError, match="cannot write a run there") as caught:
        Recorder("/proc/run.zarr", model, optimizer)
    assert "\n" not in str(caught.value)
