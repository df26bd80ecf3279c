"""What an interval promises, counted on curves whose truth is known.

All coverage assumes that the law is right. `bench/intervals.py` prints the whole table.
"""

import numpy as np
import pytest

from analysis.fitting.estimator import estimate
from analysis.fitting.laws import growth, growth_slope
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.noise_models import step_variance
from analysis.fitting.variable_projection import centred, variable_projection
from analysis.synthetic import distance, noise

t = np.geomspace(10, 1e4, 37)
u = np.log(t)
x = centred(u)
covered = t * (u[1] - u[0])
STEP_NOISE = 5e-4 * np.sqrt(step_variance(covered, covered))


def draw(rng: np.random.Generator, n: int, law: str, kind: str, std: float, length: float, **parameters: float):
    """n curves of log d with slow noise of that kind, and step noise as in real runs."""
    slow = noise(rng, u, n, kind=kind, std=std, length=length)
    return np.log(distance(law, t, **parameters)) + slow + STEP_NOISE * rng.normal(size=slow.shape)


def binned(z: np.ndarray) -> Bins:
    """Curves of log d as bins."""
    return Bins(u, z, covered, covered, (10.0, 1e4), ("seed",) * len(z))


def seeds_held(n: int, repetitions: int, kind: str, std: float, length: float) -> float:
    """How often the t interval over n seeds holds α = 1."""
    rng, held = np.random.default_rng(12), 0
    for _ in range(repetitions):
        z = draw(rng, n, "sinai", kind, std, length, t0=1.0)
        at = estimate(binned(z), 0.95)
        held += at.interval[0] <= 1 <= at.interval[1]
    return held / repetitions


def single_held(alpha: float, z: np.ndarray) -> float:
    """How often one run's interval holds α."""
    mixture = Mixture(binned(z))
    intervals = [mixture.posterior(row).interval(0.95) for row in z]
    return float(np.mean([low <= alpha <= high for low, high in intervals]))


def test_five_seeds_cover():
    assert 0.92 <= seeds_held(5, 400, "OU", 0.008, 1.0) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 20])
@pytest.mark.parametrize(
    ("kind", "std", "length"),
    [
        ("OU", 0.008, 1.0),
        ("OU", 0.02, 3.0),
        ("Matérn", 0.008, 1.0),
        ("Matérn", 0.008, 3.0),
        ("Matérn", 0.02, 5.0),
        ("Brownian", 0.005, 1.0),
    ],
)
def test_seeds_cover_under_every_noise(n, kind, std, length):
    assert 0.92 <= seeds_held(n, 400, kind, std, length) <= 0.98


@pytest.mark.parametrize("kind", ["OU", pytest.param("Matérn", marks=pytest.mark.slow)])
def test_one_run_covers(kind):
    z = draw(np.random.default_rng(13), 300, "pure log", kind, 0.008, 1.0, t0=1.0)
    assert single_held(2.0, z) >= 0.90


@pytest.mark.parametrize(("kind", "trend"), [("OU", 0.0), ("OU", -0.4), ("Gaussian", 0.0)])
def test_one_run_seldom_rejects_its_true_law_even_where_the_noise_is_smooth_or_shrinks(kind, trend):
    paths = noise(np.random.default_rng(16), u, 80, kind=kind, std=0.01, length=2.0) * np.exp(trend * (u - u[0]))
    z = np.log(distance("sinai", t, t0=1.0)) + paths + STEP_NOISE * np.random.default_rng(17).normal(size=paths.shape)
    mixture = Mixture(binned(z))
    s = variable_projection(u, z).s
    p = [
        mixture.p_value(row, 0 * x, np.stack([growth(b, x), growth_slope(b, x)])) for row, b in zip(z, s, strict=True)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.15  # without smooth and shrinking noise in the mixture: .4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "length", "most"), [("OU", 1.0, 0.05), ("Matérn", 1.0, 0.15), ("Matérn", 3.0, 0.15)]
)
def test_a_true_power_law_is_seldom_rejected(kind, length, most):
    z = draw(np.random.default_rng(14), 600, "power law", kind, 0.008, length, q=0.25)
    assert 1 - single_held(0.0, z) <= most


def test_one_seed_is_nearly_as_precise_as_any_estimate_can_be():
    # Cramér-Rao under the true noise, α = 2, t₀ = 1; Brownian GLS does not know the noise, and pays for it
    z = draw(np.random.default_rng(15), 2000, "pure log", "OU", 0.008, 1.0, t0=1.0)
    covariance = 0.008**2 * np.exp(-np.abs(u[:, None] - u)) + np.diag(STEP_NOISE**2)
    slopes = np.stack([np.ones_like(u), -np.log(u) / 2, -1 / u])  # of log A + (2/α) log(u − log t₀)
    bound = np.sqrt(np.linalg.inv(slopes @ np.linalg.solve(covariance, slopes.T))[1, 1])
    assert bound == pytest.approx(0.065, abs=0.003)
    spread = variable_projection(u, z).alpha.std()
    assert bound * (1 - 2 / np.sqrt(4000)) < spread < 1.25 * bound
