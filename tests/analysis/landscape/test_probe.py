"""Directions and probes, against losses that are written out."""

import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import LandscapeError
from analysis.landscape import Objective, between, filter_normalised, isotropic, potential, probe
from analysis.potential_result import Probe
from trajectory import Recorder, Run

Z = np.geomspace(0.01, 1, 5)


def test_isotropic_directions_are_uniform_on_the_sphere(function):
    objective = function(lambda w: w.sum(), torch.ones(3))
    draws = torch.stack([isotropic(objective, i) for i in range(2000)])
    torch.testing.assert_close(draws.norm(dim=1), torch.ones(2000, dtype=torch.float64))
    assert (draws.T @ draws / 2000 - torch.eye(3) / 3).abs().max() < 4 * 0.01  # standard error .0067 and below
    assert torch.equal(isotropic(objective, (1, 2)), isotropic(objective, (1, 2)))
    assert not torch.equal(isotropic(objective, (1, 2)), isotropic(objective, (1, 3)))


def test_filters_have_the_norms_of_the_weights(batches):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.BatchNorm1d(2), nn.Flatten()).double()
    objective = Objective(model, batches())
    d = objective.by_name(filter_normalised(objective, 1))
    kernel = model[1].weight
    torch.testing.assert_close(d["1.weight"].flatten(1).norm(dim=1), kernel.flatten(1).norm(dim=1))
    assert all(float(d[name].norm()) == 0 for name in ("1.bias", "2.weight", "2.bias"))


def test_between_snapshots(tmp_path):
    model = nn.Linear(2, 1, bias=False)
    start = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=1):
        model.weight.grad = torch.tensor([[3.0, 4.0]])
        optimizer.step()
    run = Run(tmp_path / "run.zarr")
    way = between(run, 0, 1)
    assert torch.equal(way["weight"], model.weight.detach().double() - start.double())
    Recorder(tmp_path / "bare.zarr", model, optimizer).close()
    with pytest.raises(LandscapeError, match="holds no snapshot"):
        between(Run(tmp_path / "bare.zarr"), 0, 1)


def test_a_linear_loss(function):
    a = torch.tensor([3.0, 4.0], dtype=torch.float64)
    objective = function(lambda w: w @ a, [0.0, 0.0])
    found = probe(objective, torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).double(), Z, directions=3)
    v = isotropic(objective, (0, 2, 1))
    np.testing.assert_allclose(found.delta[2, 1, 0], float(v @ a) * Z, atol=1e-12)
    np.testing.assert_allclose(found.delta[:, :, 1], -found.delta[:, :, 0], atol=1e-12)
    np.testing.assert_allclose(found.gradient_norm, 5)
    np.testing.assert_allclose(potential(found).each, 2, atol=1e-9)
    assert found.dimension == 2
    other = probe(objective, [objective.weights], Z, directions=1, seed=5)
    np.testing.assert_allclose(other.delta[0, 0, 0], float(isotropic(objective, (5, 0, 0)) @ a) * Z, atol=1e-12)


def test_a_bowl_at_its_minimum(function):
    objective = function(lambda w: 1.5 * w @ w, [0.0, 0.0, 0.0])
    found = potential(probe(objective, [objective.weights] * 2, Z))
    np.testing.assert_allclose(found.each, 4, atol=1e-9)
    assert found.taylor_share == 0


def test_an_origin_that_is_probed_twice_is_named(function):
    """In directions of its own each time, so that the differences are others."""
    objective = function(lambda w: w.sin().sum(), [1.0, 2.0, 3.0])
    there = objective.weights + 1
    once, twice = (potential(probe(objective, some, Z)) for some in ([objective.weights, there], [there] * 2))
    said = "Two origins have the same loss, gradient and norm, as one that is given twice"
    assert not any(said in sentence for sentence in once.warnings)
    assert twice.warnings[0].startswith(said)


def test_each_origin_counts_with_its_running_statistics(network, batches):
    states = [network(seed).state_dict() for seed in range(2)]
    found = probe(Objective(network(9), batches()), states, Z)
    for state, loss in zip(states, found.loss, strict=True):
        model = network()
        model.load_state_dict(state)
        assert loss == Objective(model, batches()).loss()
    apart = [probe(Objective(network(9), batches()), [states[0]], Z)]
    np.testing.assert_array_equal(Probe.joined(apart).delta[0], found.delta[0])


def test_progress_counts_evaluations(function):
    seen = []
    objective = function(lambda w: w.sum(), [1.0])
    probe(objective, [objective.weights] * 3, Z, 2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 60) for done in range(5, 61, 5)]


def test_bad_input_is_refused_in_one_line(function, batches):
    objective = Objective(nn.Linear(3, 2), [(x.float(), y) for x, y in batches()])
    with pytest.raises(LandscapeError, match=r"lost in the rounding of float32 weights .* expected .*e-06 or more"):
        probe(objective, [objective.weights], [1e-9, 1.0])
    with pytest.raises(LandscapeError, match="increase from above 0"):
        probe(objective, [objective.weights], [1.0, 0.5])
    with pytest.raises(LandscapeError, match="an array of numbers; it holds text"):
        probe(objective, [objective.weights], ["near", "far"])
    assert probe(objective, [objective.weights], torch.tensor([0.1, 1.0], requires_grad=True)).z.tolist() == [
        pytest.approx(0.1),
        1.0,
    ]
    with pytest.raises(LandscapeError, match="directions = 0"):
        probe(objective, [objective.weights], Z, directions=0)
    wall = function(lambda w: (1 - w.sum()).sqrt(), [0.5])
    with pytest.raises(LandscapeError, match="the loss is nan"):
        probe(wall, [wall.weights], [0.1, 1.0])
