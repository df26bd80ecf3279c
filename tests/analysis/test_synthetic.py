"""Synthetic curves against what was asked for."""

import numpy as np
import pytest

from analysis import fit
from analysis.errors import AnalysisError, LawError
from analysis.fitting.rival_laws import LAWS
from analysis.synthetic import FORMULAS, distance, noise, synthetic


@pytest.mark.parametrize("kind", ["OU", "Matérn", "Brownian", "independent"])
def test_noise_has_the_covariance_asked_for(kind):
    u = np.array([1.0, 1.5, 3.0, 6.0])
    paths = noise(np.random.default_rng(4), u, 40_000, kind=kind, std=0.02, length=2.0)
    lag = np.abs(u[:, None] - u)
    expected = {
        "OU": np.exp(-lag / 2),
        "Matérn": (1 + np.sqrt(3) * lag / 2) * np.exp(-np.sqrt(3) * lag / 2),
        "Brownian": np.minimum.outer(u, u) - 1,
        "independent": np.eye(4),
    }[kind]
    assert np.cov(paths.T) / 0.02**2 == pytest.approx(expected, abs=4 * expected.max() * np.sqrt(2 / 40_000))


def test_unknown_noise_and_laws_are_refused_by_name():
    with pytest.raises(AnalysisError, match="'pink'"):
        noise(np.random.default_rng(0), np.arange(3.0), 1, kind="pink")
    with pytest.raises(LawError, match="'cubic'"):
        distance("cubic", np.arange(1.0, 5.0))


def test_every_rival_law_can_be_simulated():
    assert set(FORMULAS) == set(LAWS)


def test_synthetic_curves_are_the_law_times_its_noise_and_repeat_for_a_seed():
    clean = synthetic("sinai", t0=0.1, amplitude=2.0, std=0.0, step_std=0.0)[0]
    assert clean.d == pytest.approx(2 * np.log(clean.t / 0.1) ** 2)
    one, two = (synthetic("sinai", t0=0.1, seeds=3, seed=5) for _ in range(2))
    assert all(np.array_equal(a.d, b.d) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].d, one[1].d)
    found = fit(one, t_min=10)
    assert found.interval[0] < 1.0 < found.interval[1]
