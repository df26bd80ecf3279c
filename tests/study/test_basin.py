"""The basin that the steady walk is held against: momentum SGD in an exact one, and the committed results."""

import json
from pathlib import Path

import numpy as np
import pytest
from study.basin import LAGS, WITHIN, relaxed
from study.basin_tables import at_lags, random_potential, walk_exponent

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "basin.json"
RATE, DECAY, MOMENTUM = 0.05, 2e-3, 0.9


def test_sgd_in_a_basin_goes_as_far_as_the_formula_says():
    generator = np.random.default_rng(0)
    h = np.geomspace(1e-3, 0.5, 400)
    scale = generator.uniform(0.5, 2, len(h))  # the gradients' standard deviations
    w, velocity, kept = np.zeros_like(h), np.zeros_like(h), []
    for step in range(30_000):
        gradient = (h + DECAY) * w + scale * generator.normal(size=len(h))
        velocity = MOMENTUM * velocity + gradient
        w = w - RATE * velocity
        if step >= 5_000 and step % 100 == 0:
            kept.append(w)
    walked = np.array(kept)
    for t in (100, 300, 1000, 3000):
        seen = np.sqrt(np.square(walked[t // 100 :] - walked[: -t // 100]).sum(axis=1).mean())
        # standard error: some 20 independent stretches of 400 directions; discrete steps at h = .5 add 1 %
        assert relaxed(h, scale**2, RATE / (1 - MOMENTUM), DECAY, t) == pytest.approx(seen, rel=0.03)


def test_what_weight_decay_alone_holds_diffuses_until_its_time():
    flat, noise = np.array([-0.1, 0.0]), np.ones(2)
    rate = RATE / (1 - MOMENTUM)
    assert relaxed(flat, noise, rate, DECAY, 1) == pytest.approx(rate * np.sqrt(2), rel=1e-3)
    assert relaxed(flat, noise, rate, DECAY, 1e6) == pytest.approx(np.sqrt(2 * rate / DECAY))


def test_the_committed_walks_follow_the_basin_and_not_the_potential():
    seeds = [one for one in json.loads(RESULTS.read_text()) if one["setting"] == "batch-16-rate-0.05-memory-1000"]
    assert len(seeds) == 8
    seen = np.array([at_lags(one) for one in seeds]).mean(axis=0)
    ratio = np.array([one["basin"]["d"] for one in seeds]).mean(axis=0) / seen
    within = np.array([WITHIN[0] <= lag <= WITHIN[1] for lag in LAGS])
    assert np.abs(np.log(ratio[within])).max() < 0.06
    assert ratio[-1] < 0.85  # the basin itself moves
    assert random_potential(seeds).interval[0] > 4
    assert abs(np.mean([walk_exponent(one) for one in seeds])) < 0.3
