"""Walks in random potentials against their exact laws, and the family's α on what they do."""

import numpy as np
import pytest
from random_potential import (
    OVERSHOOT,
    brownian_potential,
    fractional_potential,
    golosov_valley,
    kesten_cdf,
    master_equation,
)
from scipy.linalg import expm

from analysis.fitting.variable_projection import variable_projection

SIGMA, BARRIERS = 0.5, np.arange(4.0, 19.0)
EFFECTIVE = BARRIERS + 2 * OVERSHOOT * SIGMA


@pytest.fixture(scope="module")
def valley():
    """|m| of 2500 Brownian disorders, (disorder, barrier)."""
    rng = np.random.default_rng(0)
    parts = [golosov_valley(brownian_potential(rng, 100, 20_000, SIGMA), BARRIERS) for _ in range(25)]
    m = np.abs(np.concatenate(parts))
    assert np.isfinite(m).all()
    return m


def test_golosovs_valley_lies_at_five_sixths(valley):
    scaled = valley.mean(axis=0) * SIGMA**2 / EFFECTIVE**2
    assert scaled == pytest.approx(5 / 6, abs=0.05)


def test_golosovs_valley_has_kestens_second_moment(valley):
    ratio = np.mean(valley**2, axis=0) / np.mean(valley, axis=0) ** 2
    assert ratio == pytest.approx(1.952, abs=0.12)


def test_golosovs_valley_gives_alpha_one(valley):
    slope = np.polyfit(np.log(EFFECTIVE), np.log(valley.mean(axis=0)), 1)[0]  # |m| ~ (log t)^(2/α)
    assert 2 / slope == pytest.approx(1.0, abs=0.035)


def test_golosovs_valley_follows_kestens_law(valley):
    n = len(valley)
    for scaled in (valley * SIGMA**2 / EFFECTIVE**2).T[::7]:
        expected = kesten_cdf(np.sort(scaled))
        steps = np.arange(n + 1) / n
        distance = max(np.max(steps[1:] - expected), np.max(expected - steps[:-1]))
        assert distance < 1.36 / np.sqrt(n)


def test_golosovs_rule_on_a_potential_drawn_by_hand():
    # left: a valley of depth 2 at −1 behind a hill of 1; right: one of depth 3 at 2 behind a hill of 1.5
    v = np.array([[9.0, 1.0, -1.0, 1.0, 0.0, 1.5, -1.5, 9.0, 9.0]])
    assert golosov_valley(v, np.array([1.9]))[0, 0] == -2
    assert golosov_valley(v, np.array([2.6]))[0, 0] == 2
    assert np.isnan(golosov_valley(v, np.array([20.0]))[0, 0])


def test_kestens_law_is_a_distribution_of_mean_five_sixths():
    x = np.linspace(1e-6, 30, 30_001)
    cdf = kesten_cdf(x)
    assert cdf[0] == pytest.approx(0.0, abs=1e-4)
    assert cdf[-1] == pytest.approx(1.0, abs=1e-12)
    assert np.all(np.diff(cdf) > -1e-12)
    assert np.trapezoid(1 - cdf, x) == pytest.approx(5 / 6, abs=1e-4)


def test_fractional_potential_has_its_variogram():
    v = fractional_potential(np.random.default_rng(1), 4000, 100, 0.75)
    for lag in (1, 10, 100):
        increments = v[:, lag:] - v[:, :-lag]
        # averaged over positions, which are dependent: the error is that of the disorders alone, at most
        assert np.mean(increments**2) == pytest.approx(lag**1.5, rel=4 * np.sqrt(2 / 4000))
    assert np.array_equal(v[:, 100], np.zeros(4000))


def test_valley_of_a_fractional_potential_gives_twice_its_hurst_exponent():
    rng, barriers = np.random.default_rng(2), np.geomspace(8, 48, 7)
    parts = [golosov_valley(fractional_potential(rng, 50, 8192, 0.75), barriers) for _ in range(12)]
    m = np.abs(np.concatenate(parts))
    assert np.isfinite(m).all()
    slope = np.polyfit(np.log(barriers), np.log(m.mean(axis=0)), 1)[0]  # x ~ (log t)^(1/H)
    assert 2 / slope == pytest.approx(1.5, abs=0.13)


def test_master_equation_is_the_matrix_exponential():
    rng = np.random.default_rng(3)
    potential, times = brownian_potential(rng, 2, 15), np.array([0.1, 1.0, 30.0, 1e3, 1e5])
    first, second = master_equation(potential, times)
    site = np.abs(np.arange(31) - 15)
    for v, one, two in zip(potential, first, second, strict=True):
        right, left = np.exp(-np.diff(v) / 2), np.exp(np.diff(v) / 2)
        rates = np.diag(left, 1) + np.diag(right, -1)
        rates -= np.diag(rates.sum(axis=0))
        for j, t in enumerate(times):
            p = expm(rates * t)[:, 15]
            assert one[j] == pytest.approx(p @ site, rel=1e-8)
            assert two[j] == pytest.approx(p @ site**2, rel=1e-8)


@pytest.mark.slow
def test_sinais_walk_at_finite_times_is_not_yet_at_alpha_one():
    times = np.geomspace(1e3, 1e8, 11)
    first, _ = master_equation(brownian_potential(np.random.default_rng(11), 3000, 1000), times)
    found = variable_projection(np.log(times), np.log(first.mean(axis=0))[None])
    assert found.alpha[0] == pytest.approx(0.88, abs=0.06)
