"""Size beside p-value: a law that is rejected by a hair is told from one that is wrong."""

import json
import math

import numpy as np
import pytest

from analysis import compare, fit, scan
from analysis.fitting.effect_size import EffectSize, effect_size
from analysis.synthetic import synthetic

t = np.geomspace(10, 1e4, 37)


def waved(size: float, n: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """Seeds of (log t/0.1)² that differ by .05 %, with a wave of that size which all of them have."""
    return [
        (curve.t, curve.d * np.exp(size * np.sin(3 * np.log(curve.t))))
        for curve in synthetic("sinai", t=t, t0=0.1, seeds=n, std=5e-4, seed=2)
    ]


def test_the_sizes_are_those_of_the_mean_curve():
    z = np.array([[0.0, 1.0, 2.0], [0.2, 1.2, 2.2]])
    size = effect_size(z, np.array([0.1, 1.1, 2.4]))
    assert size.rms == pytest.approx(0.3 / np.sqrt(3))
    assert size.largest == pytest.approx(0.3)
    assert size.seed_spread == pytest.approx(0.2 / np.sqrt(2))
    assert size.growth == pytest.approx(2.0)
    assert size.in_spreads == pytest.approx(size.rms / size.seed_spread)
    assert math.isnan(effect_size(z[:1], z[0]).in_spreads)


@pytest.mark.parametrize(
    ("rms", "largest", "growth", "close"),
    [(0.009, 0.02, 1.0, True), (0.011, 0.02, 1.0, False), (0.009, 0.031, 1.0, False), (0.009, 0.02, 0.1, False)],
)
def test_a_law_is_close_by_the_stated_rule(rms, largest, growth, close):
    assert EffectSize(rms, largest, 0.01, growth).close == close


def test_a_rejected_law_is_close_or_wrong():
    verdicts = {size: fit(waved(size), t_min=10).verdict for size in (0.0, 0.005, 0.1)}
    assert verdicts == {0.0: "holds", 0.005: "rejected, though close", 0.1: "wrong"}
    near, far = (fit(waved(size), t_min=10) for size in (0.005, 0.1))
    assert near.rejected
    assert far.rejected
    assert any("rejected, though close" in sentence for sentence in near.warnings)
    assert any("No law of the family fits" in sentence for sentence in far.warnings)
    assert 0.002 < near.rms_residual < 0.005 < near.max_residual < 0.01
    assert near.residual_in_spreads > 3


def test_a_law_that_misses_a_twentieth_does_not_hold_because_a_lenient_test_cannot_reject_it():
    broken = np.where(t < 3000, 1.0, (t / 3000) ** -0.5)
    found = fit((t, np.log(t / 0.1) ** 2 * broken), t_min=10)
    assert (found.rejected, found.verdict) == (False, "not rejected, though far")
    assert compare((t, np.log(t / 0.1) ** 2 * broken), ["sinai"], t_min=10).fits[0].verdict != "best"


def test_every_output_holds_size_beside_p():
    found, laws = fit(waved(0.005), t_min=10), compare(waved(0.005), t_min=10)
    for document in (found.to_dict(), *found.to_dict()["scan"], *laws.to_dict()["laws"]):
        json.dumps(document, allow_nan=False)
        assert {"p_value", "rms_residual", "max_residual", "residual_in_spreads", "verdict"} <= document.keys()
    for frame in (found.to_frame(), laws.to_frame(), scan(waved(0.005))):
        assert {"p_value", "rms_residual", "max_residual", "residual_in_spreads", "verdict"} <= set(frame.columns)
    assert f"rejected, though close: p = {found.p_value:.2g}, rms residual {found.rms_residual:.2%}" in str(found)
    assert "largest" in str(laws)


def test_a_comparison_says_which_rejected_laws_are_close():
    near, far = compare(waved(0.005), t_min=10), compare(waved(0.1), t_min=10)
    assert "Rejected, though close: " in near.verdict
    assert near.fits[0].verdict == "best, but rejected, though close"
    assert far.verdict.endswith("and none is close.")
    assert far.fits[0].verdict == "best, but wrong"


@pytest.mark.parametrize("n", [1, 2])
def test_one_test_serves_fit_and_compare(n):
    curves = synthetic("sinai", t=t, t0=0.1, seeds=n, seed=4)
    found, laws = fit(curves, t_min=10), compare(curves, ["ultraslow", "power law"], t_min=10)
    own = next(one for one in laws.fits if one.law.name == "ultraslow")
    assert own.p_value == pytest.approx(found.p_value, rel=1e-3)
    assert laws.goodness_test == found.goodness_test
