"""The detector's error and early fires on noisy power laws, and its interval."""

from math import log

import numpy as np
import pytest
from noisy_power import DROP, STEPS, Q, power

from analysis.matching.distance_matcher import DistanceMatcher

# (step noise, W): mean error in log step × 100 and its tolerance; highest fraction more than 5 % early.
# Means are this detector's own, by bench/match.py with 1000 curves; 3 standard errors of a mean of 60 either way.
RATES = [
    (0.001, 0.05, 1.5, 0.2, 0.0),
    (0.001, 0.1, 2.3, 0.2, 0.0),
    (0.01, 0.05, 4.4, 1.1, 0.03),
    (0.01, 0.1, 6.7, 1.0, 0.0),
    (0.03, 0.05, 4.5, 3.0, 0.26),
    (0.03, 0.1, 12.0, 2.5, 0.07),
]


def fires(noise, bandwidth, seeds, drop=DROP):
    """log(step / noiseless crossing) × 100 at which each of the noisy curves fires."""
    steps = np.arange(int(0.45 * drop), int(1.6 * drop))
    found = []
    for seed in seeds:
        matcher = DistanceMatcher((drop / DROP) ** Q, bandwidth=bandwidth)
        assert matcher.update(steps, power(steps, noise, seed)) == "matched"
        found.append(100 * log(matcher.match.step / drop))
    return np.array(found)


@pytest.mark.parametrize(("noise", "bandwidth", "mean", "tolerance", "early"), RATES)
def test_error_and_early_fires_under_step_noise(noise, bandwidth, mean, tolerance, early):
    error = fires(noise, bandwidth, range(60))
    assert np.mean(error) == pytest.approx(mean, abs=tolerance)
    assert np.mean(error < -5) <= early


def test_bandwidth_follows_the_measured_noise():
    np.testing.assert_array_equal(fires(0.001, None, range(10)), fires(0.001, 0.05, range(10)))
    chosen, wide, narrow = (fires(0.03, bandwidth, range(40)) for bandwidth in (None, 0.1, 0.05))
    assert np.mean(np.abs(chosen - wide) < 1.5) > 0.8  # their batches are cut at other updates
    assert np.mean(chosen < -5) <= np.mean(narrow < -5)


def test_interval_covers_the_crossing():
    """The reported interval, at 2 SE, for noise whose correlation is shorter than a batch; 95.4 % nominal."""
    covered = 0
    for seed in range(60):
        noise = 0.01 * np.random.default_rng(seed).standard_normal(len(STEPS))
        matcher = DistanceMatcher(1.0)
        matcher.update(STEPS[2000:], power(STEPS)[2000:] * np.exp(noise[2000:]))
        low, high = matcher.match.interval
        covered += low <= DROP <= high
    assert covered >= 53  # 3 standard errors below .954 of 60
