"""What the study fits and measures, on curves whose law is known."""

import numpy as np
import pytest
from study.curve_files import LongCurves
from study.laws import describe
from study.null import basin
from study.settings import Setting
from study.steady_state import AGES, confinement, local_exponent, powers

T = np.unique(np.round(np.geomspace(10, 1e5, 100)))


def seeds(d, noise=1e-4):
    """Five curves about d whose logarithms differ by Brownian noise in log t."""
    generator = np.random.default_rng(0)
    steps = generator.normal(size=(5, len(T))) * np.sqrt(np.diff(np.log(T), prepend=0))
    return [(T, d * np.exp(noise * row)) for row in np.cumsum(steps, axis=1)]


@pytest.mark.parametrize(("jump", "nu"), [(10.0, 0.3), (0.0, 0.3), (3.0, 0.5)])
def test_jump_and_power_is_recovered(jump, nu):
    d = np.sqrt(jump**2 + T ** (2 * nu))
    found = describe(seeds(d), 10, 1e5).rivals["jump + power"]
    assert found.parameters["nu"] == pytest.approx(nu, abs=2e-3)
    assert found.parameters["c2"] == pytest.approx(jump**2, rel=0.05, abs=0.5)
    assert found.rms_residual < 1e-3


def test_rivals_are_behind_where_the_law_is_true_and_ahead_where_they_are():
    law = describe(seeds(np.log(T) ** 1.0), 10, 1e5)
    assert law.alpha == pytest.approx(2, abs=0.01)
    assert law.above["power"] > 100
    assert law.above["jump + power"] > 10
    assert abs(law.above["log t"]) < 10
    assert describe(seeds(np.sqrt(100 + T)), 10, 1e5).above["jump + power"] < -100


@pytest.mark.parametrize(("m", "alpha"), [(0, 4.0), (1, 2.0)])
def test_a_basin_with_spread_relaxation_times_follows_the_law(m, alpha):
    found = describe(basin(m), 10, 1e6)
    # the last decade before the longest time bends the curve: the fit is within a tenth
    assert found.alpha == pytest.approx(alpha, rel=0.1)
    assert found.above["power"] > 100


def test_a_local_exponent_is_that_of_a_power_law_and_ends_with_the_curve():
    curves = seeds(T**0.3, noise=0)
    assert local_exponent(curves, 1000) == pytest.approx(0.3, abs=1e-12)
    assert np.isnan(local_exponent(curves, 1e5)).all()


def test_powers_of_two_predictors_are_told_apart():
    noise, memory = np.meshgrid([1.0, 2, 4], [250.0, 1000, 4000])
    (by_noise, error), (by_memory, _) = powers([noise.ravel(), memory.ravel()], (noise**0.2 * memory**-0.1).ravel())
    assert (by_noise, by_memory) == (pytest.approx(0.2, abs=1e-9), pytest.approx(-0.1, abs=1e-9))
    assert error < 1e-9


def test_a_random_walk_is_confined_by_nothing():
    setting = Setting(name="", weight_decay=0.1)  # τ = 20
    t, origins = np.arange(0, 1001), np.array([round(age * setting.memory) for age in AGES])
    d2 = np.broadcast_to(3.0 * (1 + 0.9) / (1 - 0.9) * t[:, None], (2, len(origins), len(t), 1))
    update = np.full((2, len(t), 1), 3.0)
    walk = LongCurves(setting, {"t": t, "origins": origins, "distance": d2, "update": update})
    assert confinement(walk, 40) == pytest.approx(1, abs=1e-9)
