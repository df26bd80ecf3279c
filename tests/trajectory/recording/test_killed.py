"""Interrupted and resumed equals uninterrupted; a kill while a store is cut back leaves one state or the other.

Both make the same updates of the same shapes in as many threads of one machine, so that bits can be compared.
"""

import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray
from torch import nn

from analysis.matching.reference import Reference
from train import DistanceMatchedLR
from trajectory import Recorder, Run, verify

HERE = Path(__file__).parent


# A loop as a user writes it. It checkpoints now and then, and says how far it got.
LOOP = """
import os, random, signal, sys
from pathlib import Path
import torch
from torch import nn
from forked import child
from trajectory import Event, Every, Recorder

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
    recorder = Recorder(folder / "run.zarr", model, optimizer, snapshots=Every(140), origins=[40, 410],
                        quantities=["distance", "norm", "update_norm", "grad_norm"], resume=resume,
                        step=None if state or resume == "never" else 0)
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
            if t % 74 == 0:
                parts = [part.state_dict() for part in (model, optimizer, rates)]
                torch.save({"parts": parts, "recorder": recorder.state_dict(), "random": torch.get_rng_state()},
                           folder / "new.pt")
                os.replace(folder / "new.pt", saved)
            report(t)

warm = nn.Linear(1, 1)
torch.optim.SGD(warm.parameters(), lr=0.1).step()  # imports what torch imports late, once for all children
warm(torch.ones(1, 1)).sum().backward()
"""


KILLED = """
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
KILLS, UPDATES = 4, 1100


KILLED_WHILE_CUT = """
folder, stride = Path(sys.argv[1]), int(sys.argv[-1])
torch.set_num_threads(1)
os.waitpid(child(lambda: loop(folder, 1100, lambda t: t == 1090 and os.kill(os.getpid(), signal.SIGKILL))), 0)
import shutil
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store, reopen_store

def cut(path, operations):
    left = [operations]
    def count(event, arguments):
        wrote = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if event in ("os.rename", "os.remove", "os.truncate", "os.rmdir") or wrote:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    reopen_store(open_backend(path)).cut(600)

status, operations = 1, 0
while status:
    path = folder / f"cut-{operations}.zarr"
    shutil.copytree(folder / "run.zarr", path)
    _, status = os.waitpid(child(lambda: cut(path, operations)), 0)
    operations += stride
"""


def forking(script, *arguments):
    """Run a script that forks, in a process without further threads."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    subprocess.run(command, cwd=HERE, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What both scripts leave, children of one process, so that torch is imported once."""
    folder = tmp_path_factory.mktemp("killed")
    forking(LOOP + KILLED + KILLED_WHILE_CUT, folder, KILLS, UPDATES, 23)
    return folder


@pytest.fixture(scope="module", params=[23, pytest.param(1, marks=pytest.mark.slow)])
def cut(request, tmp_path_factory):
    """A run, and copies of it that were killed at every 23rd write of a cut; by name at every write."""
    if request.param == 23:
        return request.getfixturevalue("folder")
    folder = tmp_path_factory.mktemp("cut")
    forking(LOOP + KILLED_WHILE_CUT, folder, request.param)
    return folder


def same(one, other):
    """Everything recorded, bit for bit."""
    one, other = Run(one), Run(other)
    pd.testing.assert_series_equal(one.distance, other.distance, check_exact=True)
    for origin in one.origins:
        pd.testing.assert_frame_equal(one.layers(origin=origin), other.layers(origin=origin), check_exact=True)
    assert one.quantities == other.quantities
    for quantity in one.quantities:
        pd.testing.assert_frame_equal(one.layers(quantity), other.layers(quantity), check_exact=True)
    pd.testing.assert_frame_equal(one.metrics, other.metrics, check_exact=True)
    assert one.events == other.events
    assert one.snapshots == other.snapshots
    for step in one.snapshots:
        there = other.state_dict(step)
        assert all(torch.equal(value, there[name]) for name, value in one.state_dict(step).items())
    assert (one.status, one.origin_norm) == (other.status, other.origin_norm)


def test_killed_and_resumed_equals_uninterrupted(folder):
    same(folder / "whole" / "run.zarr", folder / "killed" / "run.zarr")
    run = Run(folder / "killed" / "run.zarr")
    assert list(run.distance.index) == list(range(1, UPDATES + 1))
    assert [event.step for event in run.drops] == [300, 700]
    assert len(run.resumed) >= 2
    assert verify(folder / "killed" / "run.zarr") == []


def test_a_kill_at_any_write_of_a_cut_leaves_the_store_before_or_after(cut):
    cuts = sorted(cut.glob("cut-*.zarr"), key=lambda path: int(path.stem.removeprefix("cut-")))
    assert len(cuts) > 2
    lengths = [len(Run(path).distance) for path in cuts]
    whole = Run(cut / "run.zarr").distance
    recorded = len(whole)
    assert 1024 < recorded <= 1088  # of 1090 updates; the last block may still have been on its way
    assert set(lengths) == {recorded, 600}
    assert lengths == sorted(lengths, reverse=True)
    for path in cuts:
        run = Run(path)
        last = run.distance.index[-1]
        np.testing.assert_array_equal(run.distance.index, np.arange(1, last + 1))
        pd.testing.assert_series_equal(run.distance, whole[:last], check_exact=True)
        assert run.snapshots == list(range(0, last + 1, 140))  # 980 is before the last checkpoint
        assert xarray.open_zarr(path).sizes["step"] == (1024 if last > 600 else 600)
        verify(path, repair=True)
        assert verify(path) == []
        assert len(Run(path).distance) == last


def test_a_matched_drop_falls_where_it_would_have_without_the_interruption(tmp_path):
    """DistanceMatchedLR and the recorder go on from one checkpoint, before the drop and between two."""
    reference = Reference(
        targets=(10.0, 11.0),
        target_errors=(0.004, 0.004),
        drop_steps=(400, 600),
        ratios=(0.1, 0.2),
        learning_rate=0.1,
        batch_size=128,
        parameter_specs={"parameters": [["weight", [1, 1], "float64"]]},
        relative=False,
        names=("small batch",),
    )
    noise = np.random.default_rng(7).normal(0, 0.001, 1000)

    def walk(path, updates, checkpoint=None):
        model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run = Recorder(path, model, optimizer, resume="allow")
        scheduler = DistanceMatchedLR(optimizer, run, reference)
        parts = [model, optimizer, run, scheduler]
        for part, state in zip(parts, checkpoint or [], strict=False):
            part.load_state_dict(state)
        kept = []
        while (t := run.step + 1) <= updates:
            aim = 2 * t**0.25 * math.exp(noise[t])  # reaches 10 at t = 625
            model.weight.grad = (model.weight.detach() - aim) / optimizer.param_groups[0]["lr"]
            optimizer.step()
            scheduler.step()
            if t % 290 == 0:
                kept = copy.deepcopy([part.state_dict() for part in parts])
        run.close()
        return kept

    walk(tmp_path / "whole.zarr", 950)
    path, kept = tmp_path / "resumed.zarr", None
    for updates in (400, 700, 950):
        kept = walk(path, updates, kept)
    same(tmp_path / "whole.zarr", path)
    assert Run(path).resumed == [290, 580]
    assert [event.name for event in Run(path).events] == ["lr_drop", "lr_drop"]
