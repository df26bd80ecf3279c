"""α from the potential: exact on fields whose α is known, and the warnings of what is no roughness."""

import json
import math

import numpy as np
import pytest
import torch

from analysis.errors import AnalysisError, LandscapeError
from analysis.potential import potential
from analysis.potential_result import TAYLOR, Probe
from analysis.synthetic import fractional_potential

Z = np.geomspace(0.1, 10, 9)


def probe(delta, gradient_norm, *, dimension=100, precision="float64", weight_norm=1.0):
    n = len(delta)
    ones = np.ones(n)
    losses = np.linspace(0, 0.1, n)
    return Probe(Z, delta, gradient_norm * ones, dimension, losses, weight_norm * ones, "running", precision)


def linear(rng, origins=10, directions=8, dimension=100):
    """L = a·w: differences ± (a·v) z."""
    slopes = rng.normal(size=(origins, directions, 1, 1)) / math.sqrt(dimension)
    return slopes * np.array([1, -1])[:, None] * Z


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5])
def test_alpha_of_exact_fields(alpha):
    rng = np.random.default_rng(int(10 * alpha))
    found = [potential((Z, fractional_potential(rng, alpha, Z))) for _ in range(100)]
    estimates = np.array([one.alpha for one in found])
    assert abs(estimates.mean() - alpha) < 3 * estimates.std(ddof=1) / 10
    centred = np.array([one.centred.value for one in found])
    assert abs(centred.mean() - alpha) < 3 * centred.std(ddof=1) / 10 + 0.01  # the pooled variance's bias
    held = sum(one.interval[0] <= alpha <= one.interval[1] for one in found)
    assert held >= 88  # of 95 expected, standard error 2.2
    assert sum(one.curvature_p < 0.05 for one in found) <= 12


def test_the_field_has_the_structure_function_it_claims():
    z = np.array([0.5, 1.0, 2.0])
    draws = fractional_potential(np.random.default_rng(0), 1.3, z, origins=4000, directions=2)
    for one, other, distance in (((0, 0), (0, 1), 2.0), ((0, 0), (1, 0), math.sqrt(2))):
        squares = (draws[:, *one, 1] - draws[:, *other, 1]) ** 2
        assert abs(squares.mean() - distance**1.3) < 4 * squares.std() / math.sqrt(4000)
    with pytest.raises(AnalysisError, match="between 0 and 2"):
        fractional_potential(np.random.default_rng(0), 2.0, z)


def test_a_linear_loss_has_alpha_2_at_every_origin_and_a_warning():
    found = potential(probe(linear(np.random.default_rng(0)), 1.0))
    np.testing.assert_allclose(found.each, 2, atol=1e-9)
    np.testing.assert_allclose(found.odd.each, 2, atol=1e-9)
    assert found.even is None
    assert found.curvature_p == 1
    assert 0.5 < found.taylor_share < 2  # 1, but for the draws of 80 directions
    assert "the gradient alone explains" in found.warnings[0]
    assert TAYLOR in repr(found)
    assert found.to_dict()["note"].startswith(TAYLOR)


def test_a_bowl_has_alpha_4_and_no_gradient():
    delta = np.broadcast_to(0.5 * 3.0 * Z**2, (5, 8, 2, 9))
    found = potential(probe(delta, 0.0))
    np.testing.assert_allclose(found.each, 4, atol=1e-9)
    assert found.taylor_share == 0
    np.testing.assert_allclose(found.even.each, 4, atol=1e-9)
    assert found.odd is None
    assert any("2 or above" in sentence for sentence in found.warnings)
    assert any("even part grows as z^4" in sentence for sentence in found.warnings)


def test_a_field_with_a_length_is_no_power_law():
    rng = np.random.default_rng(1)
    covariance = np.exp(-0.5 * np.subtract.outer(np.append(0, Z), np.append(0, Z)) ** 2 / 2.0**2)
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(10))
    draws = rng.normal(size=(10, 8, 10)) @ root.T
    found = potential((Z, draws[..., 1:] - draws[..., :1]))
    assert found.curvature_p < 0.01
    assert any("no power of z" in sentence for sentence in found.warnings)
    assert found.local["exponent"].iloc[0] > 1.5
    assert found.local["exponent"].iloc[-1] < 0.5


def test_an_interval_that_holds_2_is_named():
    rng = np.random.default_rng(0)
    found = potential((Z, rng.normal(size=(4, 2, 1)) * Z * Z ** rng.normal(0, 0.1, (4, 1, 1))))
    assert found.interval[0] < 2 < found.interval[1]
    assert "The interval holds 2." in found.note


def test_an_origin_that_is_given_twice_is_named():
    delta = fractional_potential(np.random.default_rng(0), 1.0, Z, origins=2)
    found = potential((Z, np.concatenate([delta, delta[:1]])))
    assert found.warnings[0].startswith("Two origins have the same differences")
    assert potential((Z, delta[[0, 0]])).curvature_p == 0  # both bend alike


def test_a_tensor_with_its_gradient_is_read_and_what_is_masked_is_refused():
    field = fractional_potential(np.random.default_rng(0), 1.0, Z)
    tensor = torch.tensor(field, requires_grad=True)
    assert potential((torch.tensor(Z), tensor)).alpha == potential((Z, field)).alpha
    with pytest.raises(LandscapeError, match="NaN, masked or beyond all numbers"):
        potential((Z, np.ma.masked_greater(field, 2.0)))


def test_two_draws_give_alpha_about_the_mean_no_interval():
    """Of two origins with one difference each the jackknife leaves one draw, which has no variance."""
    found = potential((Z, fractional_potential(np.random.default_rng(0), 1.0, Z, origins=2, directions=1)[:, :, 0]))
    assert found.to_dict()["centred"] == {"alpha": None, "interval": [None, None]}
    assert math.isfinite(found.alpha)


def test_the_definitions_differ_where_the_mean_rises():
    """δ = z² + noise of α = 1: about L(w₀) the rise counts, about the mean it does not."""
    field = fractional_potential(np.random.default_rng(3), 1.0, Z, origins=20)
    found = potential((Z, field + Z**2))
    assert found.alpha > 2
    assert found.centred.interval[0] < 1 < found.centred.interval[1]


def test_float32_resolves_only_so_much():
    rng = np.random.default_rng(0)
    field = fractional_potential(rng, 1.0, Z)
    found = potential(probe(1e-8 * field, 0.0, precision="float32"))
    assert "float32 weights serve to" in found.warnings[-1]
    assert (
        potential(probe(field, 0.0, precision="float32", weight_norm=5e3)).even is None
    )  # from z = 5 on: 2 distances
    assert potential(probe(field, 0.0, precision="float32", weight_norm=10.0)).even is not None


def test_results_are_json_and_tables():
    found = potential(probe(fractional_potential(np.random.default_rng(0), 1.0, Z), 0.1))
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["alpha"] == found.alpha
    assert written["origins"] == 10
    assert written["window"] == [pytest.approx(0.1), pytest.approx(10)]
    frame = found.to_dataframe()
    assert list(frame) == ["z", "S", "centred", "taylor", "odd", "even"]
    np.testing.assert_allclose(frame["odd"] + frame["even"], frame["S"])
    assert found.standard_error == pytest.approx((found.interval[1] - found.alpha) / 2.262157, rel=1e-6)


def test_bad_input_is_refused_in_one_line():
    field = fractional_potential(np.random.default_rng(0), 1.0, Z)
    cases = {
        "got 1 origin": (Z, field[:1]),
        "three distances or more": (Z[:2], field[..., :2]),
        "increasing from above 0": (Z[::-1], field),
        "expected \\(distance,\\) and": (Z, field[0, 0]),
        r"delta \(10, 0, 2, 9\); expected": (Z, field[:, :0]),
        "a difference of the loss is NaN": (Z, np.where(field == field[0, 0, 0, 0], np.nan, field)),
        "or beyond all numbers": (Z, 1e200 * field),
        "does not differ at z = 0.1": (Z, field * (Z > 0.1)),
        "arrays of numbers; delta holds text": (Z, [["a"]]),
        "arrays of numbers; delta holds complex numbers": (Z, field + 1j),
        "arrays of numbers; z holds text": (Z.astype(str), field),
        r"got a ndarray; expected a Probe, or a pair \(z, delta\)": field,
        "got a tuple; expected": (Z, field, field),
        "got a NoneType; expected": None,
        "got a list; .* Probe.joined makes one": [probe(field, 0.0)] * 3,
    }
    for message, data in cases.items():
        with pytest.raises(LandscapeError, match=message) as caught:
            potential(data)
        assert "\n" not in str(caught.value)
    with pytest.raises(AnalysisError, match="confidence_level"):
        potential((Z, field), confidence_level=95)
    with pytest.raises(LandscapeError, match="differ in their distances"):
        Probe.joined([probe(field, 0.0), probe(field, 0.0, dimension=7)])
    with pytest.raises(LandscapeError, match="weights, precision or statistics"):
        Probe.joined([probe(field, 0.0), probe(field, 0.0, precision="float32")])
    with pytest.raises(LandscapeError, match="got no origin"):
        Probe.joined([])
