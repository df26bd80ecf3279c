"""Interrupted and resumed equals uninterrupted; a kill while a store is cut back leaves one state or the other."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from train import DistanceMatchedLR
from trajectory import Every, Recorder, RecordingError, Run, StoreError, verify
from trajectory.store import Store

# A loop as a user writes it. It checkpoints now and then, and says how far it got.
LOOP = """
import os, random, signal, sys
from pathlib import Path
import torch
from torch import nn
from trajectory import Every, Recorder

def loop(folder, updates, report, resume="never"):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rates = torch.optim.lr_scheduler.MultiStepLR(optimizer, [300, 700], gamma=0.1)
    saved = folder / "checkpoint.pt"
    state = torch.load(saved) if saved.exists() else None
    if state:
        for part, kept in zip((model, optimizer, rates), state["parts"]):
            part.load_state_dict(kept)
        torch.set_rng_state(state["random"])
    recorder = Recorder(folder / "run.zarr", model, optimizer, snapshots=Every(150), origins=[40, 410],
                        resume=resume, step=None if state else 0 if resume != "never" else None)
    if state:
        recorder.load_state_dict(state["recorder"])
    with recorder:
        while (t := recorder.step) < updates:
            if t % 74 == 0:  # after the checkpoint at this step, and so twice if the process is killed there
                recorder.log(validation=t)
                recorder.event("after the checkpoint")
            loss = model(torch.randn(8, 4)).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step(); rates.step()
            t = recorder.step
            recorder.log(loss=loss)
            if t % 50 == 0:
                recorder.event("fifty", t=t)
            if t % 37 == 0:
                parts = [part.state_dict() for part in (model, optimizer, rates)]
                torch.save({"parts": parts, "recorder": recorder.state_dict(), "random": torch.get_rng_state()},
                           folder / "new.pt")
                os.replace(folder / "new.pt", saved)
            report(t)

warm = nn.Linear(1, 1)
torch.optim.SGD(warm.parameters(), lr=0.1).step()  # imports what torch imports late, once for all children
warm(torch.ones(1, 1)).sum().backward()

def child(run):
    pid = os.fork()
    if pid == 0:
        run()
        os._exit(0)
    return pid
"""

KILLED = (
    LOOP
    + """
folder, kills, updates = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
chance = random.Random(0)
for name in ("whole", "killed"):
    (folder / name).mkdir()
os.waitpid(child(lambda: loop(folder / "whole", updates, lambda t: None)), 0)
reached = 0
for k in range(kills):
    says, hears = os.pipe()
    pid = child(lambda: loop(folder / "killed", updates, lambda t: os.write(hears, b"."), "allow"))
    os.close(hears)
    heard, wanted = 0, chance.randrange(1, 2 * updates // kills)
    while heard < wanted and (data := os.read(says, wanted - heard)):
        heard += len(data)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(says)
_, status = os.waitpid(child(lambda: loop(folder / "killed", updates, lambda t: None, "must")), 0)
assert status == 0
"""
)


def same(one, other):
    """Everything recorded, bit for bit."""
    one, other = Run(one), Run(other)
    pd.testing.assert_series_equal(one.distance, other.distance, check_exact=True)
    for origin in one.origins:
        pd.testing.assert_frame_equal(one.layers(origin=origin), other.layers(origin=origin), check_exact=True)
    pd.testing.assert_frame_equal(one.metrics, other.metrics, check_exact=True)
    assert one.events == other.events
    assert one.snapshots == other.snapshots
    for step in one.snapshots:
        there = other.state_dict(step)
        assert all(torch.equal(value, there[name]) for name, value in one.state_dict(step).items())
    assert (one.status, one.origin_norm) == (other.status, other.origin_norm)


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    kills, updates = 4, 1100
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(kills), str(updates)], check=True)
    same(tmp_path / "whole" / "run.zarr", tmp_path / "killed" / "run.zarr")
    run = Run(tmp_path / "killed" / "run.zarr")
    assert list(run.distance.index) == list(range(1, updates + 1))
    assert [event.step for event in run.drops] == [300, 700]
    assert len(run.resumed) >= 2
    assert verify(tmp_path / "killed" / "run.zarr") == []


KILLED_WHILE_CUT = (
    LOOP
    + """
folder = Path(sys.argv[1])
torch.set_num_threads(1)
os.waitpid(child(lambda: loop(folder, 1100, lambda t: t == 1090 and os.kill(os.getpid(), signal.SIGKILL))), 0)
import shutil
from trajectory.store import Store

def cut(path, operations):
    left = [operations]
    def count(event, arguments):
        wrote = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if event in ("os.rename", "os.remove", "os.truncate", "os.rmdir") or wrote:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    Store.reopen(path).cut(600)

status, operations = 1, 0
while status:
    path = folder / f"cut-{operations}.zarr"
    shutil.copytree(folder / "run.zarr", path)
    _, status = os.waitpid(child(lambda: cut(path, operations)), 0)
    operations += 1
"""
)


def test_a_kill_at_any_write_of_a_cut_leaves_the_store_before_or_after(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED_WHILE_CUT, str(tmp_path)], check=True)
    cuts = sorted(tmp_path.glob("cut-*.zarr"), key=lambda path: int(path.stem.removeprefix("cut-")))
    assert len(cuts) > 5
    lengths = [len(Run(path).distance) for path in cuts]
    assert set(lengths) == {1024 + 64, 600}  # 1090 updates, drained every 64
    assert lengths == sorted(lengths, reverse=True)
    for path in cuts:
        run = Run(path)
        last = run.distance.index[-1]
        np.testing.assert_array_equal(run.distance.index, np.arange(1, last + 1))
        whole = Run(tmp_path / "run.zarr")
        pd.testing.assert_series_equal(run.distance, whole.distance[:last], check_exact=True)
        assert run.snapshots == list(range(0, last + 1, 150))
        assert xarray.open_zarr(path).sizes["step"] == (1024 if last > 600 else 600)
        verify(path, repair=True)
        assert verify(path) == []
        assert len(Run(path).distance) == last
