"""Whether α moves with the fit range or the origin, and what noise that seeds share does to an interval."""

import json
import math

import numpy as np
import pytest

from analysis import Curve, compare, fit
from analysis.fitting.invariance import origin_invariance, range_invariance
from analysis.fitting.log_bins import Bins
from analysis.fitting.shared_noise import shared_share, widening
from analysis.synthetic import noise, synthetic

t = np.geomspace(10, 1e4, 37)
u = np.log(t)
covered = t * (u[1] - u[0])


def bins(z: np.ndarray) -> Bins:
    return Bins(u, z, covered, covered, (10.0, 1e4), ("seed",) * len(z))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_law_is_seldom_said_to_move(n):
    rng, law = np.random.default_rng(1), 2 * np.log(u - np.log(0.1))
    moved = sum(range_invariance(bins(law + noise(rng, u, n))).moves for _ in range(60))
    assert moved <= 60 * 0.05 + 3 * np.sqrt(60 * 0.05 * 0.95)


def test_seeds_that_change_their_law_midway_are_said_to_move():
    rng = np.random.default_rng(2)
    bent = np.where(u < u[18], 0.4 * (u - u[18]), np.log1p(0.4 * np.maximum(u - u[18], 0)))
    found = [range_invariance(bins(bent + noise(rng, u, 3, std=0.003))) for _ in range(10)]
    assert sum(one.moves for one in found) >= 9
    assert all(one.changes[0].value > one.changes[1].value for one in found)


def test_too_short_a_range_is_not_asked():
    found = fit(synthetic("sinai", t=t, t0=0.1, seeds=3), t_min=10, t_max=200)
    assert found.invariance.changes == ()
    assert math.isnan(found.invariance.p_value)
    assert not found.invariance.moves
    assert "not asked" in str(found)


def test_noiseless_seeds_do_not_move():
    curves = [(t, scale * np.log(t / 0.1) ** 2) for scale in (1.0, 1.1, 1.3)]
    assert not fit(curves, t_min=10).invariance.moves
    assert not fit(curves[0], t_min=10).invariance.moves


def test_what_bins_smear_is_no_misfit():
    """Whole numbers of updates lie unevenly in the bins at small t."""
    recorded = np.unique(np.round(np.geomspace(1, 1e4, 200)))
    found = fit([(recorded, scale * np.log(recorded / 0.1) ** 2) for scale in (1.0, 1.1, 1.2)], t_min=10)
    assert found.verdict == "holds"
    assert found.alpha == pytest.approx(1, abs=5e-4)


def test_a_fit_whose_alpha_moves_does_not_hold():
    rng = np.random.default_rng(4)
    curves = [(t, np.sqrt(300 + 0.3 * t) * np.exp(path)) for path in noise(rng, u, 5, std=0.002)]
    found = fit(curves, t_min=10)
    assert found.invariance.moves
    assert found.verdict != "holds"
    assert any("α moves with the fit range" in sentence for sentence in found.warnings)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))["invariance"]
    assert document["moves"]
    assert [change["parameter"] for change in document["changes"]] == ["alpha", "alpha"]


def test_the_best_law_of_a_comparison_is_asked_too():
    curves = synthetic("jump + power", t=t, nu=0.4, c2=200.0, seeds=5)
    held = compare(curves, ["jump + power", "power law"], t_min=10)
    assert {change.parameter for change in held.invariance.changes} == {"nu", "c2", "K"}
    assert not held.invariance.moves
    moving = compare(curves, ["power law", "normal"], t_min=10)
    assert moving.invariance.moves
    assert compare(curves[0], t_min=10).invariance.changes == ()


def test_origins_are_compared_seed_by_seed():
    rng, law = np.random.default_rng(6), 2 * np.log(u - np.log(0.1))
    shared = 5 * noise(rng, u, 4)  # what both origins of a seed have in common
    same, other = (bins(law + shared + noise(rng, u, 4, std=0.001)) for _ in range(2))
    moved = bins(0.3 * u + shared + noise(rng, u, 4, std=0.001))
    assert not origin_invariance([(1000, other, same)]).moves
    found = origin_invariance([(1000, moved, same)])
    assert found.moves
    assert found.moves_with == "the origin"
    assert "from update 1000, " in str(found.changes[0])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_share_of_common_noise_is_estimated(share):
    rng = np.random.default_rng(7)
    common, own = rng.normal(size=(1, 4000)), rng.normal(size=(5, 4000))
    residuals = np.sqrt(share) * common + np.sqrt(1 - share) * own
    assert shared_share(residuals) == pytest.approx(share, abs=0.03)


def test_residuals_that_cancel_share_nothing_and_none_tell_nothing():
    assert shared_share(np.array([[1.0, -2.0], [-1.0, 2.0]])) == 0
    assert math.isnan(shared_share(np.zeros((3, 2))))


def test_from_a_half_on_the_share_is_warned_of():
    rng = np.random.default_rng(10)
    common, own = noise(rng, u, 1, std=0.01), noise(rng, u, 5, std=0.01)
    law = np.log(t / 0.1) ** 2
    shares = []
    for weight in (0.4, 1.4):
        found = fit([(t, law * np.exp(row)) for row in weight * common + own], t_min=10)
        shares.append(found.shared_residual)
        warned = any("is common to the seeds" in sentence for sentence in found.warnings)
        assert warned == (found.shared_residual > 0.5)
    assert 0.2 < shares[0] < 0.5 < shares[1] < 0.9


def test_shared_noise_widens_an_interval_by_what_the_spread_does_not_show():
    rng, n, share = np.random.default_rng(8), 5, 0.5
    common, own = rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, n))
    values = np.sqrt(share) * common + np.sqrt(1 - share) * own
    shown = np.mean(values.var(axis=1, ddof=1)) / n
    assert values.mean(axis=1).std() / np.sqrt(shown) == pytest.approx(widening(share, n), rel=0.03)
    assert widening(0.0, n) == 1
    assert math.isinf(widening(1.0, n))


def test_noise_that_seeds_share_is_told():
    rng = np.random.default_rng(9)
    common = noise(rng, u, 1, std=0.01)
    curves = [(t, np.log(t / 0.1) ** 2 * np.exp(row)) for row in common + noise(rng, u, 5, std=0.002)]
    found = fit(curves, t_min=10)
    assert found.shared_residual > 0.7
    assert any("is common to the seeds" in sentence for sentence in found.warnings)
    low, high = found.interval_if_shared
    assert high - low > 3 * (found.interval[1] - found.interval[0])
    independent = fit(synthetic("sinai", t=t, t0=0.1, seeds=5), t_min=10)
    assert independent.shared_residual < 0.5
    assert not any("common to the seeds" in sentence for sentence in independent.warnings)
    assert math.isnan(fit(curves[0], t_min=10).shared_residual)


@pytest.mark.parametrize("unit", [1e-30, 1e30, 1e-120, 1e120])
def test_a_comparison_does_not_depend_on_the_unit(unit):
    curves = synthetic("jump + power", t=t, nu=0.4, c2=200.0, seeds=5)
    moving = [Curve(one.t, one.d * np.where(one.t > 3000, (one.t / 3000) ** 0.2, 1.0), one.name) for one in curves]
    for group in (curves, moving):
        found = compare(group, ["jump + power"], t_min=10)
        other = compare([Curve(one.t, unit * one.d, one.name) for one in group], ["jump + power"], t_min=10)
        p_values = [[change.p_value for change in each.invariance.changes] for each in (found, other)]
        assert p_values[1] == pytest.approx(p_values[0], rel=1e-4)
        (before, after) = (each.fits[0].intervals["c2"] for each in (found, other))
        assert np.array(after) / unit / unit == pytest.approx(before, rel=1e-5)
    assert found.invariance.moves


def test_numbers_that_look_the_same_are_not_said_to_disagree():
    found = fit((np.arange(2, 10001), np.log(np.arange(2, 10001))), t_min=2)
    assert not any("give α = 2.00 and this fit gives 2.00" in sentence for sentence in found.warnings)


def test_plain_least_squares_that_disagree_are_told():
    curves = [(t, d * np.exp(0.05 * np.exp(-((u - u[0]) ** 2)))) for t, d in [(t, np.log(t / 0.1) ** 2)]]
    seeds = [(t, curves[0][1] * np.exp(path)) for path in noise(np.random.default_rng(3), u, 4, std=0.001)]
    assert any("Plain least squares give α" in sentence for sentence in fit(seeds, t_min=10).warnings)
    calm = synthetic("sinai", t=t, t0=0.1, seeds=5)
    assert not any("Plain least squares" in sentence for sentence in fit(calm, t_min=10).warnings)
