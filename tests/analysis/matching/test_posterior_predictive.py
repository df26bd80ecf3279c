"""The posterior predictive against Brownian paths in log time whose σ is known."""

import math

import numpy as np
import pytest

from analysis import Curve
from analysis.fitting.laws import growth
from analysis.fitting.log_bins import binned
from analysis.matching.posterior_predictive import distance_ahead, log_distance_now, posterior

SIGMA, T = 0.01, np.arange(30.0, 3001.0)
U = np.log(T)


def walk(seed):
    """z = ½ u plus a Brownian path of variance σ² for each e-fold of t."""
    steps = np.sqrt(np.diff(U)) * np.random.default_rng(seed).normal(size=len(U) - 1)
    return Curve(T, np.exp(0.5 * U + SIGMA * np.concatenate([[0.0], np.cumsum(steps)])))


def left_over(curve, draws):
    """Sum what each draw's law leaves of the increments between bins, squared, over their variance."""
    bins = binned([curve], 30)
    law = draws.q[:, None] * growth(draws.s[:, None], bins.u - draws.middle)
    m = np.minimum(bins.points[1:], bins.points[:-1])
    mean_of_points = (2 * m**2 + 1) / (3 * m**2)  # of the variance between single points
    squares = np.diff(bins.z[0] - law) ** 2 / (np.diff(bins.u) * mean_of_points)
    return squares.sum(axis=1) / draws.sigma**2


def test_the_noise_is_that_of_the_path_and_its_uncertainty_that_of_its_bins():
    """24 increments, 23 degrees of freedom: σ of one curve to 1/√46 = 15 %, of the mean over 12 to 4.3 %.

    What a draw's law leaves of the increments, over σ², has χ² with that many degrees: mean n, variance 2n.
    """
    found = [posterior(walk(seed), 30, 400, np.random.default_rng(seed)) for seed in range(12)]
    logs = np.log([draws.sigma for draws in found]) - math.log(SIGMA)
    assert logs.mean() == pytest.approx(0, abs=4 * 0.043)
    chi_squares = np.concatenate([left_over(walk(seed), draws) for seed, draws in enumerate(found)])
    assert chi_squares.mean() == pytest.approx(23, abs=4 * math.sqrt(46 / 4800))
    assert chi_squares.var() == pytest.approx(46, rel=0.15)
    # a straight line's slope under Brownian noise, σ over the root of the range of u, and more as s is free: of the
    # modes alone it is 1.1 of that
    assert np.mean([draws.q.std() for draws in found]) > 1.7 * SIGMA / math.sqrt(np.ptp(U))
    assert len(np.unique(found[0].s)) > 129  # more than the grid holds


def test_the_distance_now_is_the_running_one():
    curve = walk(0)
    now = log_distance_now(curve)
    assert now.u == U[-1]
    d = curve.d.copy()
    d[-1] *= 1.2
    assert abs(log_distance_now(Curve(T, d)).z - now.z) < 0.05


def test_the_error_ahead_grows_as_the_root_of_log_time():
    """Half of the central 68 %; near the end the path's own noise is all of it."""
    errors = np.array(
        [
            [distance_ahead(walk(seed), 3000 * math.exp(ahead), samples=1000)[1] for ahead in (0.01, 0.1)]
            for seed in range(3)
        ]
    )
    expected = SIGMA * np.sqrt([0.01, 0.1])
    assert errors.mean(axis=0) == pytest.approx(expected, rel=4 * 0.15 / math.sqrt(3))
