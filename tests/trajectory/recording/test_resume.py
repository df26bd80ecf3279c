"""A run that ended is resumed from a checkpoint's state or from a step, and what does not fit is refused."""

import itertools
import json
import math
import os
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from trajectory import At, Every, LogSpaced, Recorder, RecordingError, Run, StoreError, verify
from trajectory.storage import new_nodes
from trajectory.storage.location import open_backend
from trajectory.storage.opening import reopen_store


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
    recorder(path, origins=[20, 60], resume="allow", step=np.int64(70))[0].close()
    assert list(Run(path).distance.index) == list(range(1, 71))
    recorder(path, origins=[20, 60], resume="allow", step=0)[0].close()
    assert len(Run(path).distance) == 0
    assert Run(path).resumed == []


@pytest.mark.parametrize("step", [True, 70.0, "70", -1, 2**60])
def test_a_step_that_is_no_number_of_updates_is_refused(interrupted, step):
    with pytest.raises(RecordingError, match="expected a number of updates"):
        recorder(interrupted[0], origins=[20, 60], resume="must", step=step)
    assert len(Run(interrupted[0]).distance) == 100


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
    """A run killed at update 300, whose journal then lost its end, as by a power failure; and its last state."""
    run, model, optimizer = recorder(tmp_path / "run.zarr", schedule=request.param, snapshots=Every(100))
    updates(model, optimizer, 300)
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
    missing = next(t for t in range(last + 1, 301) if t in before)
    schedule = schedule or before
    run, _, _ = recorder(path, resume="must", schedule=schedule)
    with pytest.raises(StoreError, match=f"holds no row of step {missing}, the next one after {last}, and so cannot"):
        run.load_state_dict(state)
    run.close()
    for step in (missing, 300, 10**15):
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
    assert Run(path).resumed == [300]


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
    path, wait, writes = tmp_path / "run.zarr", new_nodes.sync, itertools.count(1)

    def interrupted(writing):
        if next(writes) == write:
            writing.close()
            raise KeyboardInterrupt
        return wait(writing)

    monkeypatch.setattr(new_nodes, "sync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorder(path)
    with pytest.raises(StoreError, match="no run yet: a recorder is making it, or was stopped before it had"):
        Run(path)
    recorder(path, resume="allow")[0].close()
    assert Run(path).status == "complete"


def test_a_metric_whose_name_only_another_ones_case_forbids_is_refused_at_once_after_a_resume(tmp_path):
    """Also where rows have moved to the arrays, and where the other one is in the journal."""
    long = "oss" + "x" * 100  # twice a letter too long to be told apart by percent-encoding
    first, model, optimizer = recorder(tmp_path / "run.zarr")
    updates(model, optimizer, 3)
    first.log(**{"l" + long: 1.0})
    states = [first.state_dict()]
    first.close()
    for twin in ("L" + long, "lO" + long[1:]):
        again, model, optimizer = recorder(tmp_path / "run.zarr", resume="must")
        again.load_state_dict(states[-1])
        with pytest.raises(StoreError, match="differs in upper and lower case alone"):
            again.log(**{twin: 1.0})
        again.log(**{"l" + long: 2.0})
        updates(model, optimizer, 1)
        states.append(again.state_dict())
        again.close()
    assert Run(tmp_path / "run.zarr").metrics["l" + long].dropna().tolist() == [2.0, 2.0]


def test_a_network_of_other_names_is_refused_by_them(interrupted):
    path, *_ = interrupted
    with pytest.raises(RecordingError, match=r"the run holds parameters such as weight, and the model .* 0.weight"):
        recorder(path, nn.Sequential(network()), origins=[20, 60], snapshots=Every(25), resume="must")


@pytest.mark.parametrize(
    ("momentum", "then"), [(0.0, "nothing"), (0.9, "nothing"), (0.9, "loaded"), (0.9, "another optimizer")]
)
def test_a_resumed_run_says_that_its_optimizers_state_was_not_loaded(tmp_path, momentum, then):
    def begin(**arguments):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
        return model, optimizer, Recorder(tmp_path / "run.zarr", model, optimizer, **arguments)

    model, optimizer, first = begin()
    updates(model, optimizer, 5)
    state, saved = first.state_dict(), optimizer.state_dict()
    first.close()
    model, optimizer, again = begin(resume="must")
    again.load_state_dict(state)
    if then == "loaded":
        optimizer.load_state_dict(saved)
    if then == "another optimizer":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
        again.follow(optimizer)
    lost = momentum > 0 and then == "nothing"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        updates(model, optimizer, 3)
        again.close()
    sentence = "SGD kept no state when the run was resumed after update 5"
    assert [sentence in str(warning.message) for warning in said] == [True] * lost
    assert [sentence in warning for warning in Run(tmp_path / "run.zarr").warnings] == [True] * lost


def test_a_run_that_starts_over_has_lost_no_state(tmp_path):
    recorder(tmp_path / "run.zarr")[0].close()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with Recorder(tmp_path / "run.zarr", model, optimizer, resume="must", step=0):
        updates(model, optimizer, 2)
    assert not Run(tmp_path / "run.zarr").warnings
