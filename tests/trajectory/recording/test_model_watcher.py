"""What changes in a model while it is recorded: followed, or warned of and filed as an event."""

import copy

import pytest
import torch
from torch import nn
from watched_training import at_start, backward, check_told, moved, network, sgd, train

from trajectory import Recorder, Run


def test_a_replaced_layer_of_the_same_shape_is_followed_under_its_name(tmp_path):
    model = network()
    start = at_start(model)

    def replace(model, optimizer, _):
        model[2] = nn.Linear(8, 1)
        optimizer.param_groups[0]["params"] = list(model.parameters())
        optimizer.state.clear()

    run, said = train(tmp_path / "run.zarr", model, sgd(model), replace, snapshots=100)
    check_told(run, said, "replaced_parameters", ["2.weight", "2.bias"], 64)
    assert run.distance.iloc[-1] == pytest.approx(moved(model, start), rel=1e-6)
    assert all(torch.equal(run.state_dict(100)[name], p) for name, p in model.named_parameters())


class LowRank(nn.Module):
    """A linear layer and a low-rank change of it, as adapters are."""

    def __init__(self, base):
        super().__init__()
        self.base, self.change = base.requires_grad_(False), nn.Linear(8, 1)

    def forward(self, x):
        return self.base(x) + self.change(x)


def grow(model, optimizer, _):
    model[2] = nn.Linear(8, 3)
    return sgd(model)


def wrap(model, optimizer, _):
    model[2] = LowRank(model[2])
    optimizer.add_param_group({"params": list(model[2].change.parameters())})


def untie(model, optimizer, _):
    model[1].weight = nn.Parameter(model[1].weight.detach().clone())
    optimizer.add_param_group({"params": [model[1].weight]})


def resize_in_place(model, optimizer, _):
    model[2].weight.data, model[2].bias.data = torch.randn(3, 8), torch.randn(3)


def test_layers_that_cannot_be_followed_are_named(tmp_path):
    model = network()
    run, said = train(tmp_path / "wrapped.zarr", model, sgd(model), wrap)
    check_told(run, said, "added_parameters", ["2.change.weight", "2.change.bias"], 64)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    run, said = train(tmp_path / "untied.zarr", model, sgd(model), untie)
    check_told(run, said, "added_parameters", ["1.weight"], 64)
    model = network()
    run, said = train(tmp_path / "resized.zarr", model, sgd(model), resize_in_place, snapshots=10)
    check_told(run, said, "lost_parameters", ["2.weight", "2.bias"], 64)
    assert run.snapshots == list(range(0, 101, 10))
    model = network()
    run, _ = train(tmp_path / "grown.zarr", model, sgd(model), grow, snapshots=10)
    assert {"unknown_optimizer", "lost_parameters"} <= {event.name for event in run.events}


def test_weights_that_stay_in_place_are_no_news(tmp_path):
    model = network()

    def load(model, optimizer, _):
        model.load_state_dict(copy.deepcopy(model.state_dict()))
        model.to("cpu").eval().train()

    run, said = train(tmp_path / "run.zarr", model, sgd(model), load, at=64)
    assert (said, run.warnings) == ([], [])


def test_a_changed_type_is_named(tmp_path):
    model = network()
    with (
        pytest.warns(RuntimeWarning, match=r"type of 4 parameters .* has changed"),
        Recorder(tmp_path / "cast.zarr", model, sgd(model)),
    ):
        model.double()


def test_values_logged_again_and_again_under_one_t_are_noticed(tmp_path):
    model = network()
    optimizer = sgd(model)
    with Recorder(tmp_path / "accumulated.zarr", model, optimizer) as recorder:
        for _ in range(80):
            for _ in range(8):  # micro-batches
                recorder.log(loss=1.0)
            backward(model)
            optimizer.step()
        assert "repeated_log" not in recorder._pipeline.reports._warned
        for _ in range(63):
            recorder.log(loss=1.0)
        with pytest.warns(RuntimeWarning, match=r"log\(loss=...\) was called 64 times at t = 80"):
            recorder.log(loss=1.0)
    assert [event.name for event in Run(tmp_path / "accumulated.zarr").events] == ["repeated_log"]
