"""Signals at many moments whose handlers raise: no update is lost, each row is its update's, and `close` returns."""

import os
import random
import signal
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.profiler
from torch import nn

import trajectory
from trajectory import Every, Recorder, Run, verify

PACKAGE = str(Path(trajectory.__file__).parent) + os.sep
pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that send signals")


class Timeout(Exception):
    """What a handler raises that has nothing to do with recording."""


def raise_timeout(*_):
    raise Timeout


def raise_exit(*_):
    sys.exit(3)


HANDLERS = {
    KeyboardInterrupt: signal.default_int_handler,
    Timeout: raise_timeout,
    SystemExit: raise_exit,
}


@pytest.fixture(params=HANDLERS, ids=lambda kind: kind.__name__)
def raised(request):
    # torch's first step imports modules, and takes what is raised meanwhile for a failure of that
    one_weight()[1].step()
    before = signal.signal(signal.SIGALRM, HANDLERS[request.param])
    yield request.param
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def one_weight():
    """A model whose weight is t after t updates."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.zero_()
    model.weight.grad = -torch.ones(1, 1)
    return model, torch.optim.SGD(model.parameters(), lr=1.0)


def is_inside(error):
    """Whether the recorder was at work. Between the optimizer's update and its hooks nobody can help."""
    return any(frame.filename.startswith(PACKAGE) for frame in traceback.extract_tb(error.__traceback__))


def check_rows(path, told, model, counted, *, inside):
    """Every update has the row of its own weights, snapshots are those of their steps, and the store is whole."""
    run, updates = Run(path), round(model.weight.item())
    assert counted == len(run.distance)
    assert run.status == "complete"
    np.testing.assert_array_equal(run.distance.index, range(1, counted + 1))
    np.testing.assert_array_equal(np.concatenate([rows.step for rows in told]), run.distance.index)
    assert counted == updates or (not inside and counted == updates - 1)
    if counted == updates:
        np.testing.assert_allclose(run.distance, run.distance.index, rtol=1e-6)  # squares are summed in float32
        for step in run.snapshots:
            assert run.state_dict(step)["weight"].item() == step
    assert run.snapshots == list(range(0, counted + 1, 20))
    assert not verify(path)


def interrupted(path, raised, seconds, act):
    """Train and do what `act` does until a signal's handler raises; then go on with the same recorder."""
    model, optimizer = one_weight()
    told, inside = [], True
    recorder = Recorder(path, model, optimizer, snapshots=Every(20), quantities=["distance", "update_norm"])
    recorder.subscribe(told.append)  # by one call into C, which no interrupt ends
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            while True:
                optimizer.step()
                act(recorder)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except raised as error:
        inside = is_inside(error)
    assert torch.is_grad_enabled() or not inside  # torch's own step can be interrupted before it turns them on again
    torch.set_grad_enabled(True)
    for _ in range(70):
        optimizer.step()
    counted = recorder.step
    recorder.close()
    check_rows(path, told, model, counted, inside=inside)


ACTS = {
    "step": lambda recorder: None,
    "log": lambda recorder: recorder.log(loss=1.0),
    "flush": lambda recorder: recorder.flush(),
    "event": lambda recorder: recorder.event("mark"),
}


@pytest.mark.filterwarnings("ignore:.*an interrupt came while update")
def test_one_interrupt_loses_no_update(tmp_path, raised):
    moments = random.Random(0)
    for k, act in enumerate(ACTS.values()):
        interrupted(tmp_path / f"{k}.zarr", raised, moments.uniform(1e-4, 8e-3), act)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*an interrupt came while update")
@pytest.mark.parametrize("act", ACTS)
def test_one_interrupt_at_many_moments(tmp_path, raised, act):
    moments = random.Random(1)
    for k in range(300):
        interrupted(tmp_path / f"{k}.zarr", raised, moments.uniform(1e-4, 8e-3), ACTS[act])


@pytest.mark.filterwarnings("ignore:.*an interrupt came while update")
def test_interrupts_of_close_leave_a_run_that_can_be_closed(tmp_path, raised):
    moments = random.Random(0)
    for k in range(4):
        model, optimizer = one_weight()
        told = []
        recorder = Recorder(tmp_path / f"{k}.zarr", model, optimizer, snapshots=Every(20))
        recorder.subscribe(told.append)
        for _ in range(70):
            optimizer.step()
        for _ in range(2):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-5, 5e-3))
                    recorder.close()
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except raised:
                pass
        recorder.close()
        check_rows(tmp_path / f"{k}.zarr", told, model, 70, inside=True)
        Recorder(tmp_path / f"{k}.zarr", model, optimizer, overwrite=True).close()


def test_a_subscriber_that_is_interrupted_takes_no_row_from_others(tmp_path):
    model, optimizer = one_weight()
    calls, told = [], []

    def interrupt(rows):
        calls.append(rows.step)
        if rows.step[-1] == 64:
            raise KeyboardInterrupt

    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        recorder.subscribe(interrupt)
        recorder.subscribe(lambda rows: told.append(rows.step))
        for _ in range(63):
            optimizer.step()
        with pytest.raises(KeyboardInterrupt):
            optimizer.step()
        assert recorder.step == 64
        for _ in range(70):
            optimizer.step()
    for steps in (calls, told):
        np.testing.assert_array_equal(np.concatenate(steps), range(1, 135))
    assert list(Run(tmp_path / "run.zarr").distance.index) == list(range(1, 135))


def test_an_update_measured_twice_says_what_is_lost(tmp_path, monkeypatch):
    model, optimizer = one_weight()
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, quantities=["distance", "update_norm", "grad_norm"])
    for _ in range(17):
        optimizer.step()
    write = recorder._session.observables.write

    def interrupted_write(*arguments, **options):
        write(*arguments, **options)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(recorder._session.observables, "write", interrupted_write)
    sentence = "update 18 was measured, so that its update_norm cannot be known"
    with pytest.warns(RuntimeWarning, match=sentence), pytest.raises(KeyboardInterrupt):
        optimizer.step()
    optimizer.step()
    recorder.close()
    run = Run(tmp_path / "run.zarr")
    np.testing.assert_array_equal(run.total("update_norm"), [1] * 17 + [np.nan, 1])
    np.testing.assert_array_equal(run.total("grad_norm"), [1] * 19)
    assert [(event.step, event.name, event.details) for event in run.events] == [
        (18, "interrupted_update", {"unknown": ["update_norm"]})
    ]


@pytest.mark.filterwarnings("ignore:.*an interrupt came while update")
def test_an_interrupt_while_moved_weights_are_laid_out_leaves_no_pointer_to_freed_memory(tmp_path, monkeypatch):
    model, optimizer = one_weight()
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer)
    for _ in range(3):
        optimizer.step()
    model.weight.data = model.weight.data.clone()

    def interrupt(*_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("trajectory.measure.observables._kernel", interrupt)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()
    for _ in range(3):
        optimizer.step()
    recorder.close()
    distance = Run(tmp_path / "run.zarr").distance
    assert len(distance) == round(model.weight.item())
    np.testing.assert_allclose(distance, distance.index, rtol=1e-6)


@pytest.mark.parametrize("raised", [Timeout], indirect=True)
def test_what_a_handler_raises_is_no_failure_of_a_compiler_or_a_subscriber(tmp_path, monkeypatch, raised):
    def signalled(*_, **__):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGALRM)

    model, optimizer = one_weight()
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer)
    for _ in range(17):
        optimizer.step()
    model.weight.data = model.weight.data.clone()
    monkeypatch.setattr("trajectory.measure.kernel_cpu.SumsOfSquares.__init__", signalled)
    with pytest.raises(raised):
        optimizer.step()
    for _ in range(70):
        optimizer.step()
    monkeypatch.setattr(recorder._pipeline.delivery.rows, "dispatch", signalled)
    with pytest.raises(raised):
        recorder.close()
    recorder.close()
    assert list(Run(tmp_path / "run.zarr").distance.index) == list(range(1, 89))


def test_a_second_interrupt_leaves_the_next_step_whole(tmp_path, monkeypatch):
    """What both have kept from being done after update 17 is done within the next step, whose hooks are being called.

    Before update 17 the weights are looked at, and before update 18 they are not.
    """

    def interrupt(*_):
        raise KeyboardInterrupt

    model, optimizer = one_weight()
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(16):
            optimizer.step()
        monkeypatch.setattr(recorder._updates._hooks, "_after_round", interrupt)
        with pytest.raises(KeyboardInterrupt):
            optimizer.step()
        monkeypatch.undo()
        for _ in range(3):
            optimizer.step()
    np.testing.assert_array_equal(Run(tmp_path / "run.zarr").distance, range(1, 21))
