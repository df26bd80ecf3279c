"""Welch's test of the two α's, and when they do not compare."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis import fit
from analysis.agreement import agreement
from analysis.errors import LandscapeError
from analysis.potential import potential
from analysis.synthetic import fractional_potential, synthetic

Z = np.geomspace(1, 100, 9)


def of_field(alpha, seed=0):
    return potential((Z, fractional_potential(np.random.default_rng(seed), alpha, Z)))


@pytest.fixture(scope="module")
def seeds():
    return fit(synthetic("sinai", t0=0.1, seeds=4, seed=1), t_min=10)


@pytest.fixture(scope="module")
def alone():
    return fit(synthetic("sinai", t0=0.1, seed=1), t_min=10)


def test_it_is_welchs_test(seeds):
    found = of_field(1.2)
    ours = agreement(found, seeds)
    theirs = stats.ttest_ind(found.each, [seed.alpha for seed in seeds.seeds], equal_var=False)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    interval = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(ours.interval, [interval.low, interval.high], rtol=1e-9)
    assert ours.difference == found.alpha - seeds.alpha
    assert ours.comparable


def test_one_run_is_compared_by_its_posterior(alone):
    found = of_field(1.2)
    ours = agreement(found, alone)
    rng = np.random.default_rng(0)
    alphas, cumulative = alone.posterior
    draws = found.alpha + found.standard_error * rng.standard_t(found.n - 1, 400_000)
    draws -= np.interp(rng.random(400_000), cumulative, alphas)
    np.testing.assert_allclose(ours.interval, np.quantile(draws, [0.025, 0.975]), atol=0.01)
    assert ours.p_value == pytest.approx(2 * min((draws < 0).mean(), (draws > 0).mean()), abs=0.01)


def test_any_confidence_level_has_an_interval(alone):
    """Two origins have Cauchy's distribution: its quantiles lie far out."""
    field = fractional_potential(np.random.default_rng(1), 1.1, Z, origins=2)
    for level in (0.99, 0.9999, 1 - 1e-7):
        found = potential((Z, field), confidence_level=level)
        interval = agreement(found, replace(alone, confidence_level=level)).interval
        half = found.interval[1] - found.alpha  # beside which the curve's own is small
        assert (interval[1] - interval[0]) / 2 == pytest.approx(half, rel=0.05)


def test_bad_input_is_refused_in_one_line(seeds):
    found = of_field(1.0)
    cases = {
        "got a Fit and a Potential; expected a Potential, then a Fit": (seeds, found),
        "got a tuple and a Fit": ((Z, Z), seeds),
        "the potential's intervals are of 0.95, the fit's of 0.9; expected one confidence_level": (
            found,
            replace(seeds, confidence_level=0.9),
        ),
    }
    for message, pair in cases.items():
        with pytest.raises(LandscapeError, match=message) as caught:
            agreement(*pair)
        assert "\n" not in str(caught.value)


def test_equal_and_different_exponents(seeds):
    assert agreement(of_field(1.0, seed=2), seeds).p_value > 0.05
    apart = agreement(of_field(1.6, seed=2), seeds)
    assert apart.p_value < 0.01
    assert "different" in repr(apart)
    assert json.loads(json.dumps(apart.to_dict(), allow_nan=False))["comparable"] is True


def test_not_comparable_with_the_reason(seeds):
    smooth = potential((Z, np.random.default_rng(0).normal(size=(10, 8, 1)) * Z))
    far = replace(of_field(1.0), z=1e6 * Z)
    broken = replace(seeds, p_value=0.001)
    two = fit(synthetic("sinai", t0=0.1, seeds=2, seed=1), t_min=10)
    cases = {
        "lies at 2 or above": (smooth, seeds),
        "do not overlap": (far, seeds),
        "does not follow the law": (of_field(1.0), broken),
        "Two runs give": (of_field(1.0), two),
    }
    for reason, pair in cases.items():
        found = agreement(*pair)
        assert not found.comparable
        assert any(reason in sentence for sentence in found.warnings)
        assert "not comparable" in repr(found)
        assert found.to_dict()["p_value"] is None
