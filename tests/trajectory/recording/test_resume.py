"""Interrupted and resumed equals uninterrupted; a kill while a store is cut back leaves one state or the other.

Both make the same updates of the same shapes in as many threads of one machine, so that bits can be compared.
"""

import copy
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from analysis.matching.reference import Reference
from train import DistanceMatchedLR
from trajectory import At, Event, Every, LogSpaced, Recorder, RecordingError, Run, StoreError, verify
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store, reopen_store

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


def forking(script, *arguments):
    """Run a script that forks, in a process without further threads."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    subprocess.run(command, cwd=HERE, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)


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


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    kills, updates = 4, 1100
    forking(KILLED, tmp_path, kills, updates)
    same(tmp_path / "whole" / "run.zarr", tmp_path / "killed" / "run.zarr")
    run = Run(tmp_path / "killed" / "run.zarr")
    assert list(run.distance.index) == list(range(1, updates + 1))
    assert [event.step for event in run.drops] == [300, 700]
    assert len(run.resumed) >= 2
    assert verify(tmp_path / "killed" / "run.zarr") == []


KILLED_WHILE_CUT = (
    LOOP
    + """
folder, stride = Path(sys.argv[1]), int(sys.argv[2])
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
)


@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_write_of_a_cut_leaves_the_store_before_or_after(tmp_path, stride):
    forking(KILLED_WHILE_CUT, tmp_path, stride)
    cuts = sorted(tmp_path.glob("cut-*.zarr"), key=lambda path: int(path.stem.removeprefix("cut-")))
    assert len(cuts) > 2
    lengths = [len(Run(path).distance) for path in cuts]
    recorded = len(Run(tmp_path / "run.zarr").distance)
    assert 1024 < recorded <= 1088  # of 1090 updates; the last block may still have been on its way
    assert set(lengths) == {recorded, 600}
    assert lengths == sorted(lengths, reverse=True)
    for path in cuts:
        run = Run(path)
        last = run.distance.index[-1]
        np.testing.assert_array_equal(run.distance.index, np.arange(1, last + 1))
        whole = Run(tmp_path / "run.zarr")
        pd.testing.assert_series_equal(run.distance, whole.distance[:last], check_exact=True)
        assert run.snapshots == list(range(0, last + 1, 140))  # 980 is before the last checkpoint
        assert xarray.open_zarr(path).sizes["step"] == (1024 if last > 600 else 600)
        verify(path, repair=True)
        assert verify(path) == []
        assert len(Run(path).distance) == last


def make_store(path):
    parameters = tuple(TensorSpec(name, (2,), "float32", 2 * k) for k, name in enumerate("ab"))
    metadata = RunMetadata(parameters=parameters, groups=Groups.single("ab"), origin_norm=1.0)
    return create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=False)


def network(width=3):
    torch.manual_seed(0)
    return nn.Linear(width, 2)


def updates(model, optimizer, n):
    for k in range(n):
        model.weight.grad = torch.full_like(model.weight, float(k % 3))
        model.bias.grad = torch.ones(2)
        optimizer.step()


def recorder(path, model=None, **arguments):
    model = model or network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Recorder(path, model, optimizer, **arguments), model, optimizer


@pytest.fixture
def interrupted(tmp_path):
    """A run of 100 updates, and the recorder's state at 40."""
    run, model, optimizer = recorder(tmp_path / "run.zarr", origins=[20, 60], snapshots=Every(25))
    updates(model, optimizer, 40)
    state, weights = run.state_dict(), {name: value.clone() for name, value in model.state_dict().items()}
    updates(model, optimizer, 60)
    run.close("interrupted (killed)")
    return tmp_path / "run.zarr", state, weights


def test_the_state_is_small_and_plain(interrupted, tmp_path):
    _, state, _ = interrupted
    torch.save(state, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == json.loads(json.dumps(state)) == state


def test_a_closed_run_goes_on_too_and_rolls_back_in_one_process(interrupted):
    path, state, weights = interrupted
    whole = Run(path).layers(origin=20)
    run, model, optimizer = recorder(path, origins=[20, 60], snapshots=Every(25), resume="must")
    run.load_state_dict(state)
    for _ in range(2):  # the second time as after a spike in the loss
        model.load_state_dict(weights)
        assert list(Run(path).distance.index) == list(range(1, 41))
        assert (Run(path).snapshots, Run(path).status) == ([0, 25], "recording")
        for k in range(40, 100):
            model.weight.grad = torch.full_like(model.weight, float((k - 40) % 3))
            model.bias.grad = torch.ones(2)
            optimizer.step()
        run.flush()
        pd.testing.assert_frame_equal(Run(path).layers(origin=20), whole, check_exact=True)
        assert Run(path).snapshots == [0, 25, 50, 75, 100]
        run.load_state_dict(state)
    run.close()
    assert Run(path).resumed == [40, 40, 40]


@pytest.mark.parametrize("resumes", [11, pytest.param(50, marks=pytest.mark.slow)])
def test_resumes_in_a_row_equal_one_run(tmp_path, resumes):
    """Each from a checkpoint that the run had passed, after an end in one of three ways."""
    settings = {"origins": [20, 60], "snapshots": Every(25), "quantities": ["distance", "update_norm"]}

    def train(run, model, optimizer, first, last):
        for t in range(first, last + 1):
            model.weight.grad = torch.full_like(model.weight, math.cos(t))
            model.bias.grad = torch.full_like(model.bias, math.sin(t))
            optimizer.step()
            run.log(loss=t / 7)
            if t % 30 == 0:
                run.event("thirtieth", t=t)

    one, model, optimizer = recorder(tmp_path / "one.zarr", **settings)
    train(one, model, optimizer, 1, 10 * resumes + 10)
    one.close()
    many, state, weights = tmp_path / "many.zarr", None, network().state_dict()
    for k in range(resumes + 1):
        run, model, optimizer = recorder(many, resume="allow", **settings)
        model.load_state_dict(weights)
        if state:
            run.load_state_dict(state)
        train(run, model, optimizer, 10 * k + 1, 10 * k + 10)
        state, weights = run.state_dict(), {name: value.clone() for name, value in model.state_dict().items()}
        if k < resumes:
            train(run, model, optimizer, 10 * k + 11, 10 * k + 14)  # taken back
        if k % 3 < 2 or k == resumes:
            run.close(("complete", "interrupted (test)")[k % 2] if k < resumes else "complete")
        else:  # as if killed
            run.flush()
            run._end.detach()
            run._updates.remove()
            run._session.store.release()
    whole, resumed = Run(tmp_path / "one.zarr"), Run(many)
    assert resumed.resumed == list(range(10, 10 * resumes + 10, 10))
    for quantity in ("distance", "update_norm"):
        pd.testing.assert_frame_equal(resumed.layers(quantity), whole.layers(quantity), check_exact=True)
    pd.testing.assert_frame_equal(resumed.layers(origin=60), whole.layers(origin=60), check_exact=True)
    pd.testing.assert_frame_equal(resumed.metrics, whole.metrics, check_exact=True)
    assert (resumed.events, resumed.snapshots, resumed.status) == (whole.events, whole.snapshots, whole.status)
    for step in whole.snapshots:
        for name, tensor in whole.state_dict(step).items():
            assert torch.equal(resumed.state_dict(step)[name], tensor)
    assert verify(many) == []
    assert sorted(os.listdir(many)) == sorted(os.listdir(tmp_path / "one.zarr"))


def test_a_step_stands_in_for_a_state(interrupted):
    path, _, _ = interrupted
    recorder(path, origins=[20, 60], resume="allow", step=70)[0].close()
    assert list(Run(path).distance.index) == list(range(1, 71))
    recorder(path, origins=[20, 60], resume="allow", step=0)[0].close()
    assert len(Run(path).distance) == 0
    assert Run(path).resumed == []


def test_no_update_is_made_before_it_is_known_which(interrupted):
    path, _, _ = interrupted
    run, model, optimizer = recorder(path, origins=[20, 60], resume="allow")
    before = model.weight.clone()
    with pytest.raises(RecordingError, match=r"not from which step; call load_state_dict\(\)"):
        updates(model, optimizer, 1)
    assert torch.equal(model.weight, before)
    with pytest.raises(RecordingError, match="not from which step"):
        run.log(loss=1.0)
    run.close()
    assert (len(Run(path).distance), Run(path).status) == (100, "interrupted (killed)")
    assert verify(path) == []


def test_another_run_or_another_network_is_refused(interrupted, tmp_path):
    path, state, _ = interrupted
    for arguments, sentence in (
        ({"model": network(4), "origins": [20, 60]}, r"other trainable parameters there than here \(\['weight'"),
        ({"origins": [20]}, r"other origins there than here \(60 there, none here\)"),
        ({"origins": [20, 60], "quantities": ["distance", "norm"]}, "other quantities there"),
    ):
        with pytest.raises(StoreError, match=sentence) as caught:
            recorder(path, resume="must", **arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="no such run"):
        recorder(tmp_path / "none.zarr", resume="must")
    with pytest.raises(StoreError, match="no run there to resume after 40 updates"):
        recorder(tmp_path / "none.zarr", resume="allow", step=40)
    with pytest.raises(RecordingError, match="expected 'never', 'allow' or 'must'"):
        recorder(path, resume="yes")
    with pytest.raises(RecordingError, match="step=40 with resume='never'"):
        recorder(path, step=40)
    fresh, _, _ = recorder(tmp_path / "fresh.zarr", resume="allow")
    with pytest.raises(RecordingError, match="is not the run the checkpoint belongs to"):
        fresh.load_state_dict(state)
    fresh.close()
    run, _, _ = recorder(path, origins=[20, 60], resume="must", step=40)
    with pytest.warns(RuntimeWarning, match="after update 40; it is closed, and its run is resumed"):
        again, _, _ = recorder(path, origins=[20, 60], resume="must", step=40)
    for one in (run, again):
        one.close()


@pytest.fixture(params=[Every(1), Every(7), LogSpaced(20)], ids=str)
def shortened(tmp_path, request):
    """A run killed at update 900, whose journal then lost its end, as by a power failure; and its last state."""
    run, model, optimizer = recorder(tmp_path / "run.zarr", schedule=request.param, snapshots=Every(25))
    updates(model, optimizer, 900)
    state = run.state_dict()
    shutil.copytree(tmp_path / "run.zarr", tmp_path / "killed.zarr")
    run.close()
    (journal,) = (tmp_path / "killed.zarr").glob("journal.*")
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 2])
    return tmp_path / "killed.zarr", state, request.param


@pytest.mark.parametrize("schedule", [None, Every(3)])
def test_a_state_beyond_the_rows_is_refused_and_an_earlier_one_is_not(shortened, schedule):
    path, state, before = shortened
    last = int(Run(path).distance.index[-1])
    missing = next(t for t in range(last + 1, 901) if t in before)
    schedule = schedule or before
    run, _, _ = recorder(path, resume="must", schedule=schedule)
    with pytest.raises(StoreError, match=f"holds no row of step {missing}, the next one after {last}, and so cannot"):
        run.load_state_dict(state)
    run.close()
    for step in (missing, 900, 10**15):
        with pytest.raises(StoreError, match=f"holds no row of step {missing}"):
            recorder(path, resume="must", step=step, schedule=schedule)
    run, model, optimizer = recorder(path, resume="must", step=missing - 1, schedule=schedule)
    updates(model, optimizer, 60)
    run.close()
    expected = [t for t in range(1, missing + 60) if t in (before if t < missing else schedule)]
    assert Run(path).distance.index.tolist() == expected
    assert verify(path) == []


def test_a_gap_in_the_rows_is_named(interrupted):
    path, _, _ = interrupted
    store = reopen_store(open_backend(path), Every(1))
    store.cut(60)
    store.append_rows(np.full((1, store.metadata.columns.width), 70.0))
    store.close("complete")
    assert [problem.message for problem in verify(path)] == [
        "rows are missing: after step 60, the next one was to be 61"
    ]


def test_a_store_that_does_not_say_its_schedule_is_taken_to_have_that_of_now(shortened):
    path, state, before = shortened
    root = json.loads((path / "zarr.json").read_text())
    del root["attributes"]["ultraslow"]["schedules"], root["attributes"]["ultraslow_blake3"]
    (path / "zarr.json").write_text(json.dumps(root))
    run, _, _ = recorder(path, resume="must", schedule=before)
    with run, pytest.raises(StoreError, match="holds no row of step"):
        run.load_state_dict(state)
    other = At([5])  # the rows are not of this schedule, so that nothing is known of the missing ones
    with recorder(path, resume="must", schedule=other)[0] as run:
        run.load_state_dict({**state, "events": 0})
    assert Run(path).resumed == [900]


def test_lost_events_are_not_passed_over(interrupted):
    path, state, _ = interrupted
    run, _, _ = recorder(path, origins=[20, 60], resume="must")
    with run, pytest.raises(StoreError, match="holds 0 of the 3 events that were filed until step 40"):
        run.load_state_dict({**state, "events": 3})


@pytest.mark.parametrize(
    "change",
    [{"step": -1}, {"step": 1.5}, {"step": "40"}, {"step": 10**400}, {"step": True}, {"events": None}, {"run": 3}],
    ids=str,
)
def test_a_state_of_another_make_is_refused(interrupted, change):
    path, state, _ = interrupted
    with recorder(path, origins=[20, 60], resume="must")[0] as run:
        ((key, _),) = change.items()
        for wrong in ({**state, **change}, {k: v for k, v in state.items() if k != key}, [1]):
            with pytest.raises(RecordingError, match=r"give what state_dict\(\) returned") as caught:
                run.load_state_dict(wrong)
            assert len(str(caught.value)) < 400
    for step in (-1, 1.5, "40", 2**70):
        with pytest.raises(RecordingError, match="expected a number of updates, 0 or more"):
            recorder(path, origins=[20, 60], resume="must", step=step)
    assert len(Run(path).distance) == 100


@pytest.mark.parametrize("write", [1, 2, 10])
def test_a_store_that_was_left_half_made_is_made_anew(tmp_path, monkeypatch, write):
    """Ctrl-C at one of the writes that make it, also in a process that goes on."""
    path, make, writes = tmp_path / "run.zarr", zarr.Group.create_array, itertools.count(1)

    def interrupted(*arguments, **named):
        if next(writes) == write:
            raise KeyboardInterrupt
        return make(*arguments, **named)

    monkeypatch.setattr(zarr.Group, "create_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorder(path)
    with pytest.raises(StoreError, match="no run yet: a recorder is making it, or was stopped before it had"):
        Run(path)
    recorder(path, resume="allow")[0].close()
    assert Run(path).status == "complete"


@settings(max_examples=12)
@given(data=st.data(), lengths=st.lists(st.integers(1, 900), min_size=1, max_size=4))
def test_cut_and_recorded_again_is_as_if_never_cut(data, lengths):
    """Wherever the chunks and the journal end."""
    rng = np.random.default_rng(0)
    table = np.column_stack([np.arange(1, sum(lengths) + 1), rng.normal(size=(sum(lengths), 3))])
    entries = [(int(step), {"loss": float(step)} | ({"late": 1.0} if step > 300 else {})) for step in table[:, 0]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.zarr"
        store, at = make_store(path), 0
        for length in lengths:
            store.append_rows(table[at : at + length])
            store.append_metrics(entries[at : at + length])
            store.append_event(Event(at, "block", {}))
            at += length
            if data.draw(st.booleans(), "cut"):
                if data.draw(st.booleans(), "reopened"):
                    store.close("complete") if data.draw(st.booleans(), "closed") else store.release()
                    store = reopen_store(open_backend(path))
                at = data.draw(st.integers(0, at), "step")
                store.cut(at)
                run = Run(path)
                np.testing.assert_array_equal(run.distance, table[:at, 1])
                np.testing.assert_array_equal(run.layers(), table[:at, 2:])
                np.testing.assert_array_equal(run.metrics.get("loss", []), table[:at, 0])
                assert all(event.step <= at for event in run.events)
                seen = xarray.open_zarr(path)["distance"].to_numpy()
                np.testing.assert_array_equal(seen, table[: min(len(seen), at), 1])
        store.append_rows(table[at:])
        store.append_metrics(entries[at:])
        store.close("complete")
        run = Run(path)
        np.testing.assert_array_equal(run.layers(), table[:, 2:])
        np.testing.assert_array_equal(run.metrics["loss"], table[:, 0])
        if len(table) > 300:
            np.testing.assert_array_equal(run.metrics["late"].dropna().index, table[300:, 0])
        assert verify(path) == []


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
