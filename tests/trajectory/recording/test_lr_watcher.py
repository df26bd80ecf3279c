"""Drops of the learning rate: filed by the loop, or seen in the optimizer."""

import math

import pytest
import torch
from small_training import network, train
from torch import nn

from trajectory import Recorder, Run


def test_a_drop_nobody_filed_is_seen_in_the_optimizer(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4], gamma=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for _ in range(8):
            train(model, optimizer, 1)
            schedule.step()
    (drop,) = Run(tmp_path / "run.zarr").drops
    assert drop.step == 4
    assert drop.details["lr_from"] == pytest.approx(0.1)
    assert drop.details["lr_to"] == pytest.approx(0.01)


def test_a_filed_drop_is_not_filed_twice_and_smooth_schedules_have_none(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(30):
            train(model, optimizer, 1)
            cosine.step()
        recorder.event("lr_drop", lr_from=optimizer.param_groups[0]["lr"], lr_to=1e-4)
        optimizer.param_groups[0]["lr"] = 1e-4
        train(model, optimizer, 2)
    assert [event.step for event in Run(tmp_path / "run.zarr").drops] == [30]


@pytest.mark.parametrize("every", [1, 5], ids=["each update", "each epoch"])
@pytest.mark.parametrize("shape", ["linear", "cosine", "square root", "exponential"])
def test_a_schedule_that_ends_at_zero_files_no_drop(tmp_path, shape, every):
    rate = {
        "linear": lambda x: 1 - x,
        "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
        "square root": lambda x: 1 - math.sqrt(x),
        "exponential": lambda x: 1e-3**x,
    }[shape]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: rate(min(t // every / 20, 1.0)))
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for _ in range(21 * every + 1):
            train(model, optimizer, 1)
            schedule.step()
    assert not Run(tmp_path / "run.zarr").drops


def test_drops_within_a_schedule_and_after_it_is_resumed_are_told_from_it(tmp_path):
    def go_on(recorder, steps):
        for t in steps:
            optimizer.param_groups[0]["lr"] = (0.1 if t < 8 else 0.01 if t < 10 else 0.001) * (1 - t / 20)
            train(model, optimizer, 1)

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        go_on(recorder, range(18))
        state = recorder.state_dict()
    with Recorder(tmp_path / "run.zarr", model, optimizer, resume="must") as recorder:
        recorder.load_state_dict(state)
        go_on(recorder, range(18, 21))
    assert [event.step for event in Run(tmp_path / "run.zarr").drops] == [8, 10]


def test_a_rate_of_zero_does_not_drop_at_every_update(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for rate in (0.0, 0.0, 0.1, 0.0, 0.0):
            optimizer.param_groups[0]["lr"] = rate
            train(model, optimizer, 1)
    assert [event.step for event in Run(tmp_path / "run.zarr").drops] == [3]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the weights are NaN from there on
def test_a_rate_that_is_no_number_is_logged_and_no_drop(tmp_path):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for rate in (0.1, 0.1, float("nan"), 0.1):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    run = Run(tmp_path / "run.zarr")
    assert run.status == "complete"
    assert run.drops == []
    assert run.metrics["learning_rate"].isna().tolist() == [False, False, True, False]
