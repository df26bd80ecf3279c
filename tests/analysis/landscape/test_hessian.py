"""Eigenvalues, trace and density against dense Hessians in float64, in both modes."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import LandscapeError
from analysis.landscape import Objective, eigenvalues, spectral_density, trace

MODES = ("running", "batch")


@pytest.fixture(scope="module", params=MODES)
def case(request, network, batches, written_out):
    """An objective, and its Hessian as written out."""
    model, data = network(), batches()
    objective = Objective(model, data, statistics=request.param)
    f = written_out(model, data, request.param)
    return objective, torch.autograd.functional.hessian(f, objective.weights).numpy()


def test_the_largest_eigenvalues_are_those_of_the_dense_hessian(case):
    objective, dense = case
    found = eigenvalues(objective, k=5, tol=1e-12)
    values, vectors = np.linalg.eigh(dense)
    assert -values[0] > values[-5]  # "largest in magnitude" would mix this in
    np.testing.assert_allclose(found.values, values[::-1][:5], atol=1e-9)
    np.testing.assert_allclose(abs(found.vectors[0] @ vectors[:, -1]), 1, atol=1e-9)
    default = eigenvalues(objective)
    np.testing.assert_allclose(default.values, found.values, rtol=1e-3, atol=1e-3 * found.values[0])
    assert default.products <= 34
    assert f"{objective.statistics} statistics" in repr(found)


def test_all_eigenvalues_of_few_weights(function):
    curvatures = torch.arange(1.0, 5.0, dtype=torch.float64)
    found = eigenvalues(function(lambda w: 0.5 * (curvatures * w**2).sum(), torch.ones(4)), k=4)
    np.testing.assert_allclose(found.values, [4, 3, 2, 1], atol=1e-12)
    assert found.products == 4


def test_the_trace_is_the_mean_over_random_signs(case):
    objective, dense = case
    found = trace(objective, probes=200)
    assert abs(found.value - np.trace(dense)) < 4 * found.error
    variance = 2 * (np.sum(dense**2) - np.sum(np.diag(dense) ** 2))  # Hutchinson 1990
    assert found.error == pytest.approx(math.sqrt(variance / 200), rel=0.25)


def test_the_trace_of_a_diagonal_is_exact(function):
    curvatures = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    found = trace(function(lambda w: 0.5 * (curvatures * w**2).sum(), torch.zeros(3)))
    assert found.value == pytest.approx(7, abs=1e-9)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.probes == 32


def test_lanczos_with_all_steps_has_the_moments_of_the_hessian(case):
    """Gauss quadrature: vᵀ H^j v / n of the same v for every j < 2 n."""
    objective, dense = case
    n = len(dense)
    found = spectral_density(objective, steps=n, probes=1)
    from analysis.landscape.hessian_product import signs

    v = signs(objective, (0, 5, 0)) / math.sqrt(n)
    for power in range(5):
        assert found.weights @ found.nodes**power == pytest.approx(
            v @ np.linalg.matrix_power(dense, power) @ v, abs=1e-9
        )
    largest = np.linalg.eigvalsh(dense)[-1]
    assert found.nodes.max() == pytest.approx(largest, rel=1e-9)


def test_the_density_of_a_known_spectrum(function):
    """30 weights of curvature 1, ten of 5: an invariant subspace after two steps."""
    curvatures = torch.tensor([1.0] * 30 + [5.0] * 10, dtype=torch.float64)
    found = spectral_density(function(lambda w: 0.5 * (curvatures * w**2).sum(), torch.zeros(40)))
    assert len(found.nodes) == 2 * found.probes
    assert found.share_above(3) == pytest.approx(0.25, abs=1e-9)
    assert found.trace == pytest.approx(80, abs=1e-9)
    grid = found.grid()
    assert np.trapezoid(found.density(grid), grid) == pytest.approx(1, abs=1e-3)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["trace"] == found.trace


def test_lanczos_stays_orthogonal_over_eight_decades(function):
    """Without that the largest eigenvalues come again and again, and the smallest not at all."""
    curvatures = torch.logspace(0, 8, 40, dtype=torch.float64)
    found = spectral_density(function(lambda w: 0.5 * (curvatures * w**2).sum(), torch.zeros(40)), probes=1)
    np.testing.assert_allclose(np.sort(found.nodes)[-20:], curvatures[-20:], rtol=1e-6)


def test_lanczos_keeps_its_vectors_orthogonal_among_eigenvalues_that_cluster(function):
    """One orthogonalisation leaves what the next step makes an eigenvalue of: nodes beyond the largest, to 5.03."""
    near = 1e-5 * torch.arange(40, dtype=torch.float64)
    curvatures = torch.tensor([1.0] * 30 + [5.0] * 10, dtype=torch.float64) + near
    found = spectral_density(function(lambda w: 0.5 * (curvatures * w**2).sum(), torch.zeros(40)), probes=1)
    np.testing.assert_allclose(np.sort(found.nodes), curvatures, rtol=1e-9)


def test_nodes_that_agree_are_drawn_as_one_eigenvalue(function):
    bowl = function(lambda w: 1.5 * w @ w, torch.zeros(30))
    assert spectral_density(bowl, steps=3).width == pytest.approx(0.03, rel=1e-6)
    assert spectral_density(function(lambda w: w.sum(), torch.zeros(30)), steps=3).width == 0.01


def test_products_are_counted(function):
    curvatures = torch.ones(30, dtype=torch.float64)
    objective = function(lambda w: 0.5 * (curvatures * w**2).sum(), torch.zeros(30))
    seen = []
    trace(objective, 3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_bad_input_is_refused_in_one_line(function):
    objective = function(lambda w: 0.5 * w @ w, torch.zeros(3))
    half = Objective(nn.Linear(2, 2).bfloat16(), [(torch.ones(2, 2).bfloat16(), torch.tensor([0, 1]))])
    cases = {
        "k = 4: expected a number of eigenvalues from 1 to the 3": lambda: eigenvalues(objective, k=4),
        "probes = 1: expected two or more": lambda: trace(objective, probes=1),
        "steps = 0": lambda: spectral_density(objective, steps=0),
        "tol = -1: expected a relative accuracy": lambda: eigenvalues(objective, k=1, tol=-1),
        "k = 1.5": lambda: eigenvalues(objective, k=1.5),
        "seed = -1: expected a whole number": lambda: trace(objective, seed=-1),
        "a linear one has only 0": lambda: eigenvalues(function(lambda w: w.sum(), torch.zeros(30))),
        "are bfloat16; expected float32 or float64": lambda: trace(half),
    }
    for message, call in cases.items():
        with pytest.raises(LandscapeError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
