"""Evaluations leave the model as it was, and do not depend on what was evaluated before."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.landscape import Objective
from ultraslow import convert_ghost_batch_norm


def everything(model):
    """All that must not change, bit for bit."""
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [id(p) for p in [*model.parameters(), *model.buffers()]],
        [(m.training, getattr(m, "track_running_stats", None)) for m in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        torch.get_rng_state(),
    )


def assert_same(before, after):
    assert before[0].keys() == after[0].keys()
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:4] == after[1:4]
    assert torch.equal(before[4], after[4])


@pytest.mark.parametrize("ghosts", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(network, batches, statistics, ghosts, training):
    model = network().train(training)
    if ghosts:
        convert_ghost_batch_norm(model, 3)
    model[4].bias.requires_grad_(False)
    before = everything(model)
    objective = Objective(model, batches(), statistics=statistics)
    far = objective.at(objective.weights + 1)
    far.loss()
    far.gradient()
    far.hessian_vector_product(None, far.weights)
    far.hessian()(far.weights)
    assert_same(before, everything(model))


def test_the_model_stays_as_it_was_after_an_exception(network, batches):
    model, calls = network().train(), []

    def breaks(output, y):
        calls.append(torch.rand(1))  # takes a random number
        if len(calls) > 2:
            raise ZeroDivisionError
        return F.cross_entropy(output, y, reduction="none")

    before = everything(model)
    objective = Objective(model, batches(), breaks, "batch")
    for call in (
        objective.loss,
        objective.gradient,
        lambda: objective.hessian_vector_product(None, objective.weights),
    ):
        with pytest.raises(ZeroDivisionError):
            call()
        assert_same(before, everything(model))


def test_a_point_is_kept_as_it_was_given(function):
    objective = function(lambda w: w.sum(), [0.0])
    w = torch.ones(1, dtype=torch.float64)
    there = objective.at(w)
    w += 1
    assert there.loss() == 1


class Counts(nn.Module):
    """Changes a buffer whenever it is evaluated, and its output with it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * self.calls


def test_buffers_begin_anew_at_each_evaluation(batches):
    model = Counts().double()
    objective = Objective(model, batches())
    expected = Objective(model.linear, batches()).loss()
    for _ in range(2):
        assert objective.loss() == pytest.approx(expected, rel=1e-12)
    assert model.calls == 0
