"""Sharpness of losses whose maximum in the box is known, and what rescaling does to it."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import LandscapeError
from analysis.landscape import Objective, adaptive_sharpness, rising, sharpness
from analysis.landscape.maximum import l_bfgs_b
from analysis.landscape.subspace import RandomSubspace
from analysis.potential_result import Probe

CURVATURES = torch.tensor([1.0, 10.0, 100.0, 0.5], dtype=torch.float64)
W = torch.tensor([1.0, -2.0, 0.0, 3.0], dtype=torch.float64)


def bowl(function):
    return function(lambda w: 0.5 * (CURVATURES * (w - W) ** 2).sum(), W)


def test_ascent_finds_the_corner_of_a_bowl(function):
    found = sharpness(bowl(function), eps=0.01)
    exact = 50 * float((CURVATURES * (0.01 * (W.abs() + 1)) ** 2).sum())
    assert found.phi == pytest.approx(exact, rel=1e-9)
    assert found.loss == 0
    assert found.gradients == 2  # the start and the corner, from which no step leads further


def test_l_bfgs_b_finds_no_way_up_from_an_exact_minimum(function):
    found = sharpness(bowl(function), eps=0.01, method="l-bfgs-b")
    assert found.phi == 0
    assert "may miss by far" in repr(found)
    assert "Andriushchenko" in found.to_dict()["note"]


def test_l_bfgs_b_stays_in_the_box(function):
    slope = torch.tensor([1.0, -1.0], dtype=torch.float64)
    found = sharpness(function(lambda w: w @ slope, [1.0, 0.0]), eps=0.1, method="l-bfgs-b")
    assert found.largest - found.loss == pytest.approx(0.2 + 0.1, rel=1e-9)


def test_a_step_that_does_not_rise_is_halved(function):
    """A loss whose maximum is inside the box: the corner lies lower."""
    found = sharpness(function(lambda w: -((w - 0.02) ** 2).sum(), [0.0]), eps=0.1, steps=30)
    assert found.largest == pytest.approx(0, abs=1e-6)


def test_the_rise_counts_in_units_of_1_plus_the_loss(function):
    found = sharpness(function(lambda w: 3 + w.sum(), [0.0, 1.0]), eps=0.1)
    assert found.phi == pytest.approx(100 * (0.1 + 0.2) / (1 + 4), rel=1e-9)


def test_at_a_maximum_nothing_rises(function):
    """All points of the box lie lower than the weights, which are one of them."""
    for method in ("ascent", "l-bfgs-b"):
        found = sharpness(function(lambda w: 1 - w @ w, [0.0, 0.0]), eps=0.1, method=method)
        assert found.phi == 0
        assert found.largest == found.loss == 1


def test_l_bfgs_b_keeps_the_largest_value_of_a_search_that_fails():
    """By a gradient that points down every trial is worse than the start."""
    box = torch.full((2,), 0.1, dtype=torch.float64)
    assert l_bfgs_b(lambda x: (-float(x @ x), torch.ones_like(x)), box, steps=10).value == 0


def test_the_largest_loss_of_a_subspace(function):
    objective = bowl(function)
    basis = RandomSubspace.of(objective, 2, seed=0)
    a = torch.stack([basis.expand(row) for row in torch.eye(2, dtype=torch.float64)]).T
    y = torch.linalg.lstsq(a, W[:, None]).solution[:, 0]
    torch.testing.assert_close(basis.coordinates(W), y)
    torch.testing.assert_close(basis.project(W), a.T @ W)
    box = 0.01 * (y.abs() + 1)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2) * box
    exact = max(0.5 * float((CURVATURES * (a @ corner) ** 2).sum()) for corner in corners)
    found = sharpness(objective, eps=0.01, subspace=2)
    assert 0 < found.largest <= exact * (1 + 1e-9)
    assert found.subspace == 2


def test_a_slope_rises_to_the_corner_of_a_subspace(function):
    """Σ_i b_i |(Aᵀ g)_i| with b_i = ε (|(A⁺w)_i| + 1), for any A."""
    slope = torch.tensor([1.0, -1.0, 0.5, 2.0], dtype=torch.float64)
    objective = function(lambda w: 10 + w @ slope, W)
    basis = RandomSubspace.of(objective, 2, seed=0)
    corner = 0.01 * (basis.coordinates(W).abs() + 1) * basis.project(slope).abs()
    found = sharpness(objective, eps=0.01, subspace=2)
    assert found.largest - found.loss == pytest.approx(float(corner.sum()), rel=1e-9)


def test_a_large_subspace_is_drawn_again_from_its_seed(function, monkeypatch):
    objective = bowl(function)
    kept = RandomSubspace.of(objective, 3, seed=1).expand(torch.ones(3, dtype=torch.float64))
    monkeypatch.setattr("analysis.landscape.subspace._KEPT", 0)
    monkeypatch.setattr("analysis.landscape.subspace._ROWS", 4)
    again = RandomSubspace.of(objective, 3, seed=1)
    for _ in range(2):
        torch.testing.assert_close(again.expand(torch.ones(3, dtype=torch.float64)), kept)
    assert not again._chunks


def test_a_subspace_beyond_memory_is_refused(monkeypatch):
    monkeypatch.setattr("analysis.landscape.subspace._MOST", 7)
    objective = Objective(nn.Linear(3, 2), [(torch.ones(2, 3), torch.tensor([0, 1]))])
    with pytest.raises(LandscapeError, match="subspace = 8: expected 7 dimensions at most"):
        sharpness(objective, subspace=8)


def test_the_chunks_of_a_subspace_are_other_numbers(function, monkeypatch):
    monkeypatch.setattr("analysis.landscape.subspace._ROWS", 2)
    column = RandomSubspace.of(bowl(function), 1, seed=0).expand(torch.ones(1, dtype=torch.float64))
    assert len(set(column.tolist())) == 4


def test_rescaling_a_pair_of_layers_moves_the_box_sharpness_alone(batches):
    """Dinh et al. 2017: relu(c x) = c relu(x), so that (c W₁, W₂ / c) is the same function."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
    before = Objective(model, batches())
    box, adaptive = sharpness(before, eps=0.01), adaptive_sharpness(before)
    with torch.no_grad():
        model[0].weight *= 8
        model[0].bias *= 8
        model[2].weight /= 8
    after = Objective(model, batches())
    assert after.loss() == pytest.approx(before.loss(), rel=1e-12)
    assert adaptive_sharpness(after).phi == pytest.approx(adaptive.phi, rel=1e-6)
    assert sharpness(after, eps=0.01).phi > 1.2 * box.phi


def test_the_mode_is_printed(network, batches, statistics):
    found = sharpness(Objective(network(), batches(), statistics=statistics))
    assert f"{statistics} statistics" in repr(found)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["statistics"] == statistics
    assert written["phi"] > 0


def test_rising_counts_directions_by_radius():
    z = np.array([0.1, 0.2])
    delta = np.array([[[[1.0, 2.0], [-1.0, 3.0]], [[-1.0, 4.0], [-2.0, -1.0]]]])
    one = np.ones(1)
    frame = rising(Probe(z, delta, one, 9, one, one, "batch", "float32"))
    assert frame.index.names == ["origin", "z"]
    assert frame["rises"].tolist() == [0.25, 0.75]
    assert frame["both_ways"].tolist() == [0.0, 0.5]
    assert frame["worst"].tolist() == [1.0, 4.0]
    assert frame["phi"].tolist() == [50.0, 200.0]
    two = Probe(
        z, np.concatenate([delta, delta]), np.ones(2), 9, np.array([1.0, 3.0]), np.ones(2), "batch", "float32"
    )
    assert rising(two)["phi"].tolist() == [50.0, 200.0, 25.0, 100.0]
    with pytest.raises(LandscapeError, match="the loss is -2: φ divides by 1"):
        rising(Probe(z, delta, one, 9, -2 * one, one, "batch", "float32"))


def test_bad_input_is_refused_in_one_line(function, batches):
    single = Objective(nn.Linear(3, 2), [(x.float(), y) for x, y in batches()])
    cases = {
        "subspace = 9: expected a dimension from 1 to the 8 weights": lambda: sharpness(single, subspace=9),
        "expected a radius that float32 weights resolve, 6e-06 or more": lambda: sharpness(single, eps=1e-8),
        "rho = -1": lambda: adaptive_sharpness(single, rho=-1),
        "steps = 0": lambda: sharpness(single, steps=0),
        "expected 'ascent' or 'l-bfgs-b'": lambda: sharpness(single, method="adam"),
        "the loss is nan": lambda: sharpness(function(lambda w: -(1 - w.sum()).sqrt(), [0.9]), eps=1.0),
        "expects a loss above -1": lambda: sharpness(function(lambda w: w.sum(), [-2.0])),
    }
    for message, call in cases.items():
        with pytest.raises(LandscapeError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
