"""What an objective refuses, in one line: models, data, losses and weights that do not fit."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.errors import LandscapeError
from analysis.landscape import Objective


def refused(what, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LandscapeError, match=what) as caught:
            Objective(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_bad_input_is_refused_in_one_line(network, batches):
    model, data = network(), batches()
    refused("expected 'running' or 'batch'", model, data, statistics="own")
    refused("got no batch", model, [])
    refused(r"a batch that is a Tensor; expected pairs \(x, y\)", model, data[0])
    refused("a batch that is a tuple of Tensor, list; expected pairs", model, [(data[0][0], [0] * 7)])
    refused("give model.module", nn.DataParallel(model), data)
    refused("one sample with batch .*statistics='running'", model, batches((4, 1)), statistics="batch")
    untracked = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)).double()
    for statistics in ("running", "batch"):
        refused("one sample with batch .*larger batches$", untracked, batches((4, 1)), statistics=statistics)
    refused(r"shape \(\) for 7 samples", model, data, F.cross_entropy)
    refused("the loss is a list for 7 samples", model, data, lambda output, y: [0.0] * len(y))
    refused("two evaluations at the same weights", nn.Sequential(model, Noise()), data)
    with torch.no_grad():
        model[0].bias[0] = torch.nan
    refused("the loss is nan", model, data)


def test_a_loss_that_is_no_number_is_refused_wherever_it_is_met(function):
    wall = function(lambda w: (1 - w.sum()).sqrt(), [0.5])
    beyond = torch.tensor([2.0], dtype=torch.float64)
    for call in (wall.loss, wall.gradient, wall.hessian, lambda w: wall.hessian_vector_product(w, w)):
        with pytest.raises(LandscapeError, match="the loss is nan"):
            call(beyond)


class Noise(nn.Module):
    """Dropout that ignores evaluation."""

    def forward(self, x):
        return F.dropout(x, 0.5, training=True)


class Shard(torch.Tensor):
    """What a DTensor is known by."""

    def to_local(self):
        return self


def test_weights_that_do_not_fit_are_refused(network, batches):
    objective = Objective(network(), batches())
    state = network().state_dict()
    cases = {
        "lack 0.bias, a trainable parameter": {k: v for k, v in state.items() if k != "0.bias"},
        r"0.weight is \(4, 9\), not \(4, 3\)": state | {"0.weight": torch.zeros(4, 9)},
        "name 0.weight module.0.weight, as a wrapper": {f"module.{name}": w for name, w in state.items()},
        "hold 9.weight, which the model lacks": state | {"9.weight": torch.zeros(1)},
    }
    for message, weights in cases.items():
        with pytest.raises(LandscapeError, match=message):
            objective.at(weights)
    shard = state["0.weight"].as_subclass(Shard)
    with pytest.raises(LandscapeError, match=r"hold a shard of 0.weight; expected whole weights"):
        objective.at(state | {"0.weight": shard})
    with pytest.raises(LandscapeError, match=r"shape \(3,\); expected a tensor of shape \(34,\)"):
        objective.loss(torch.zeros(3))
    for call in (objective.at, objective.loss):
        with pytest.raises(LandscapeError, match=r"got a ndarray; expected .*tensor"):
            call(objective.weights.numpy())


def test_a_loss_without_a_gradient_is_refused(batches):
    objective = Objective(nn.Linear(3, 2).double(), batches(), lambda output, y: (output.argmax(1) != y).double())
    assert 0 <= objective.loss() <= 1
    for call in (objective.gradient, lambda: objective.hessian_vector_product(None, objective.weights)):
        with pytest.raises(LandscapeError, match="the loss has no gradient; expected differentiable functions"):
            call()
