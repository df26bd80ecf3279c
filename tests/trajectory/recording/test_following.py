"""Whose updates a recorder counts: one optimizer's, several ones' rounds, or those that the loop reports."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trajectory import Recorder, RecordingError, Run

UPDATES = 70  # more than one block


class Twin:
    """‖w_t − w_0‖ of a model in float64, asked for after every update."""

    def __init__(self, model):
        self.parameters = list(model.parameters())
        self.start = [p.detach().double().clone() for p in self.parameters]
        self.distance = []

    def look(self):
        moves = [(p.detach().double() - w).norm() for p, w in zip(self.parameters, self.start, strict=True)]
        self.distance.append(torch.stack(moves).norm().item())

    def check(self, path):
        run = Run(path)
        assert list(run.distance.index) == list(range(1, len(self.distance) + 1))
        np.testing.assert_allclose(run.distance, self.distance, rtol=1e-6)
        return run


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def backward(model):
    model.zero_grad()
    loss = (model(torch.randn(5, 6)) - 1).square().mean()
    loss.backward()
    return loss


def split(model, *, first=torch.optim.SGD, second=torch.optim.AdamW):
    """Return an optimizer of the matrices and one of the rest."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    return first(matrices, lr=0.1), second([p for p in model.parameters() if p.dim() != 2], lr=0.01)


class Lookahead(torch.optim.Optimizer):
    """Goes back half of the way each fifth step, after its inner optimizer's; calls no hooks, as published ones."""

    def __init__(self, optimizer):
        self.optimizer, self.param_groups, self.count = optimizer, optimizer.param_groups, 0
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self):
        self.optimizer.step()
        self.count += 1
        if self.count % 5 == 0:
            fast = [p for group in self.param_groups for p in group["params"]]
            for p, slow in zip(fast, self.slow, strict=True):
                p.copy_(slow.lerp_(p, 0.5))


def by_hand(model):
    def update():
        backward(model)
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad

    return update


def in_backward(model):
    for p in model.parameters():
        own = torch.optim.SGD([p], lr=0.1)
        p.register_post_accumulate_grad_hook(lambda _, own=own: own.step())
    return lambda: backward(model)


def looking_ahead(model):
    optimizer = Lookahead(torch.optim.SGD(model.parameters(), lr=0.1))

    def update():
        backward(model)
        optimizer.step()

    return update


def sharpness_aware(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def update():
        backward(model)
        shifts = [0.05 * p.grad / p.grad.norm() for p in model.parameters()]
        with torch.no_grad():
            for p, shift in zip(model.parameters(), shifts, strict=True):
                p.add_(shift)
        backward(model)
        with torch.no_grad():
            for p, shift in zip(model.parameters(), shifts, strict=True):
                p.sub_(shift)
        optimizer.step()

    return update


def master_weights(model):
    """Update float32 copies of bfloat16 weights, then copy them into the model."""
    model.bfloat16()
    masters = [p.detach().float().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.SGD(masters, lr=0.1)

    def update():
        model(torch.randn(5, 6).bfloat16()).float().square().mean().backward()
        for master, p in zip(masters, model.parameters(), strict=True):
            master.grad, p.grad = p.grad.float(), None
        optimizer.step()
        with torch.no_grad():
            for master, p in zip(masters, model.parameters(), strict=True):
                p.copy_(master)

    return update


@pytest.mark.parametrize("make", [by_hand, in_backward, looking_ahead, sharpness_aware, master_weights])
def test_updates_that_the_loop_reports_are_recorded(tmp_path, make):
    model = network()
    update, twin = make(model), Twin(model)
    with Recorder(tmp_path / "run.zarr", model, quantities=["distance", "update_norm"], snapshots=35) as recorder:
        for _ in range(UPDATES):
            update()
            recorder.update()
            twin.look()
            recorder.log(seen=recorder.step)
    run = twin.check(tmp_path / "run.zarr")
    assert "learning_rate" not in run.metrics
    assert run.metrics.seen.tolist() == list(range(1, UPDATES + 1))
    assert run.total("update_norm").iloc[0] == run.distance.iloc[0]
    own = dict(model.named_parameters())
    assert all(torch.equal(weights, own[name]) for name, weights in run.state_dict(UPDATES).items())


def test_an_averaged_copy_is_recorded_once_it_is_updated(tmp_path):
    model = network()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer, twin = torch.optim.SGD(model.parameters(), lr=0.1), Twin(average)
    with pytest.raises(RecordingError, match=r"SGD holds none of the model's trainable .*recorder\.update\(\)"):
        Recorder(tmp_path / "run.zarr", average, optimizer)
    with Recorder(tmp_path / "run.zarr", average) as recorder:
        for _ in range(UPDATES):
            backward(model)
            optimizer.step()
            average.update_parameters(model)
            recorder.update(learning_rate=0.1)
            twin.look()
    assert set(twin.check(tmp_path / "run.zarr").metrics.learning_rate) == {0.1}


def test_a_wrapper_that_may_move_the_weights_later_is_refused(tmp_path):
    model = network()
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RecordingError, match=r"got a Lookahead, which holds an optimizer.* recorder\.update\(\)"):
        Recorder(tmp_path / "run.zarr", model, Lookahead(inner))
    with pytest.raises(RecordingError, match=r"got a int; expected a torch.optim.Optimizer.* recorder\.update\(\)"):
        Recorder(tmp_path / "run.zarr", model, 3)
    assert not (tmp_path / "run.zarr").exists()


def test_update_is_refused_where_steps_are_counted(tmp_path):
    model = network()
    recorder = Recorder(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(RecordingError, match="leave the optimizer out"):
        recorder.update()
    recorder.close()
    with pytest.raises(RecordingError, match="closed"):
        recorder.update()


def test_reported_updates_are_resumed_as_if_never_interrupted(tmp_path):
    """Bit for bit: both make the same updates in this process."""

    def train(recorder, update, n):
        for _ in range(n):
            update()
            recorder.update(learning_rate=0.1)

    options = {"quantities": ["distance", "update_norm"]}
    model = network()
    update = by_hand(model)
    with Recorder(tmp_path / "whole.zarr", model, **options) as recorder:
        train(recorder, update, 100)
    model = network()
    update = by_hand(model)
    with Recorder(tmp_path / "cut.zarr", model, **options) as recorder:
        train(recorder, update, 40)
        state, weights, random = recorder.state_dict(), copy.deepcopy(model.state_dict()), torch.get_rng_state()
        train(recorder, update, 30)
    model.load_state_dict(weights)
    torch.set_rng_state(random)
    with Recorder(tmp_path / "cut.zarr", model, resume="must", **options) as recorder:
        recorder.load_state_dict(state)
        train(recorder, update, 60)
    whole, cut = Run(tmp_path / "whole.zarr"), Run(tmp_path / "cut.zarr")
    assert cut.distance.equals(whole.distance)
    assert cut.total("update_norm").equals(whole.total("update_norm"))


def test_several_optimizers_make_one_update_a_round(tmp_path):
    model = network()
    matrices, rest = split(model)
    twin = Twin(model)
    with Recorder(tmp_path / "run.zarr", model, [matrices, rest], snapshots=1) as recorder:
        for t in range(UPDATES):
            backward(model)
            matrices.step()
            assert recorder.step == t
            if t % 3 == 0:  # more than once in a round
                matrices.step()
            rest.step()
            twin.look()
    run = twin.check(tmp_path / "run.zarr")
    assert not run.events
    assert set(run.metrics.learning_rate) == {0.1}
    own = dict(model.named_parameters())
    assert all(torch.equal(weights, own[name]) for name, weights in run.state_dict(UPDATES).items())


def test_an_optimizer_that_steps_seldom_is_no_mistake(tmp_path):
    model = network()
    matrices, rest = split(model)
    twin = Twin(model)
    with Recorder(tmp_path / "run.zarr", model, [matrices, rest]):
        for t in range(UPDATES):
            backward(model)
            if t % 2:
                matrices.step()
            rest.step()
            twin.look()
    assert not twin.check(tmp_path / "run.zarr").events


def test_several_optimizers_out_of_order_are_reported_once(tmp_path):
    model = network()
    matrices, rest = split(model)
    with Recorder(tmp_path / "run.zarr", model, [rest, matrices]):
        for t in range(UPDATES):
            backward(model)
            if t == 2:  # the round in which it has come twice
                with pytest.warns(RuntimeWarning, match="AdamW steps after the optimizer listed last"):
                    matrices.step()
            else:
                matrices.step()
            rest.step()
    run = Run(tmp_path / "run.zarr")
    assert [(event.name, event.details["optimizer"]) for event in run.events] == [("optimizer_order", "AdamW")]
    assert run.warnings == [f"update 2: {run.events[0].details['warning']}"]


def test_measured_parameters_that_no_optimizer_holds_are_named(tmp_path):
    model = network()
    matrices, _ = split(model)
    path = tmp_path / "run.zarr"
    with pytest.warns(RuntimeWarning, match=r"2 of 4 measured parameters are in no optimizer.*0\.bias, 2\.bias\)"):
        recorder = Recorder(path, model, matrices)
    with recorder:
        backward(model)
        matrices.step()
        state = recorder.state_dict()
    with Recorder(path, model, matrices, resume="must") as recorder:
        with pytest.warns(RuntimeWarning, match=r"0\.bias, 2\.bias"):
            recorder.load_state_dict(state)
        assert recorder.step == 1
    (event,) = Run(path).events
    assert (event.step, event.name) == (0, "uncovered_parameters")
    assert (event.details["names"], event.details["count"]) == (["0.bias", "2.bias"], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recorder(tmp_path / "chosen.zarr", model, matrices, include="*.weight").close()


def test_what_the_optimizers_may_be(tmp_path):
    model = network()
    matrices, rest = split(model)
    for wrong in ([], [matrices, rest, matrices]):
        with pytest.raises(RecordingError, match="expected each optimizer of the model once"):
            Recorder(tmp_path / "run.zarr", model, wrong)
    elsewhere = torch.optim.Adam(network().parameters())
    with pytest.raises(RecordingError, match="Adam holds none of the model's trainable parameters"):
        Recorder(tmp_path / "run.zarr", model, elsewhere)
    assert not (tmp_path / "run.zarr").exists()


def test_parameters_that_are_views_of_what_an_optimizer_holds_are_followed(tmp_path):
    model = network()
    parameters = list(model.parameters())
    flat = torch.cat([p.detach().flatten() for p in parameters]).requires_grad_()
    for p, values in zip(parameters, flat.detach().split([p.numel() for p in parameters]), strict=True):
        p.data = values.view(p.shape)
    optimizer, twin = torch.optim.SGD([flat], lr=0.1), Twin(model)
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for _ in range(UPDATES):
            backward(model)
            flat.grad = torch.cat([p.grad.flatten() for p in parameters])
            optimizer.step()
            twin.look()
    assert not twin.check(tmp_path / "run.zarr").events
