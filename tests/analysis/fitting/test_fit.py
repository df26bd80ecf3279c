"""`fit` on curves whose truth is known: without noise, against curve_fit, and with noise by its coverage."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

from analysis import Curve, Fit, fit
from analysis.errors import (
    AnalysisError,
    GrowthError,
    LawError,
    OffsetError,
    SeedError,
    ShortCurveError,
)
from analysis.fitting.laws import growth
from analysis.fitting.noise_models import ornstein_uhlenbeck
from analysis.fitting.variable_projection import centred, fixed_alpha, variable_projection
from analysis.synthetic import noise

ALPHAS = [-1.0, -0.5, -1e-8, 0.0, 1e-8, 0.5, 1.0, 2.0, 3.0, 4.0]
u = np.log(np.geomspace(10, 1e4, 37))
x = centred(u)


def family(alpha: float, q: float = 0.12) -> np.ndarray:
    return np.exp(0.3 + q * growth(alpha * q / 2, x))


def seeds(n: int, std: float = 0.008, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """n curves of (log t/0.1)^(2/2) at every update to 1e4, with OU noise of correlation length 1."""
    t = np.arange(1.0, 10001.0)
    grid = np.linspace(0, np.log(t[-1]), 200)
    factor = np.linalg.cholesky(ornstein_uhlenbeck(np.abs(grid[:, None] - grid), 1.0))
    noise = std * np.random.default_rng(seed).normal(size=(n, 200)) @ factor.T
    return [(t, np.log(t / 0.1) * np.exp(np.interp(np.log(t), grid, row))) for row in noise]


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("noise", ["brownian", "independent"])
def test_projection_returns_the_noiseless_law(alpha, noise):
    found = variable_projection(u, np.log(family(alpha))[None], noise)
    assert found.alpha[0] == pytest.approx(alpha, abs=1e-9)
    assert found.q[0] == pytest.approx(0.12, abs=1e-9)
    assert found.a[0] == pytest.approx(0.3, abs=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_fit_returns_the_noiseless_law_to_a_millionth(alpha, n):
    # one point a bin, so that the bins' means are the curve itself
    d = family(alpha)
    found = fit([(np.exp(u), scale * d) for scale in (1.0, 1.1, 1.2)[:n]], t_min=10)
    assert found.alpha == pytest.approx(alpha, abs=1e-6)
    assert found.local_exponent == pytest.approx(0.12, abs=1e-6)
    assert found.predict(np.exp(u)) == pytest.approx(np.exp(found.z.mean(axis=0)), rel=1e-6)


@pytest.mark.parametrize(("alpha", "t0"), [(0.5, 0.1), (1.0, 0.01), (2.0, 0.1)])
def test_binning_every_update_moves_alpha_by_less_than_a_hundredth(alpha, t0):
    t = np.arange(1, 10001)
    found = fit((t, 3 * np.log(t / t0) ** (2 / alpha)), t_min=10)
    assert found.alpha == pytest.approx(alpha, abs=0.01)


def test_projection_agrees_with_curve_fit_on_noisy_curves():
    rng = np.random.default_rng(5)
    z = np.log(family(1.6, 0.25)) + 0.01 * np.cumsum(rng.normal(size=(20, 37)), axis=1) * np.sqrt(u[1] - u[0])
    found = variable_projection(u, z, "independent")
    for row, s, q, alpha in zip(z, found.s, found.q, found.alpha, strict=True):
        (_, q_ls, s_ls), _ = curve_fit(
            lambda x, a, q, s: a + q * growth(s, x), x, row, (0.3, q * 1.1, s * 0.9), xtol=1e-14, ftol=1e-14
        )
        assert 2 * s_ls / q_ls == pytest.approx(alpha, abs=1e-5)


def test_brownian_projection_agrees_with_curve_fit_on_increments():
    rng = np.random.default_rng(6)
    root = np.sqrt(np.diff(u))
    z = np.log(family(0.4, 0.3)) + 0.01 * np.cumsum(rng.normal(size=(20, 37)), axis=1) * root[0]
    found = variable_projection(u, z)
    for row, s, q, alpha in zip(z, found.s, found.q, found.alpha, strict=True):
        (q_ls, s_ls), _ = curve_fit(
            lambda x, q, s: q * np.diff(growth(s, x)) / root,
            x,
            np.diff(row) / root,
            (q * 1.1, s * 0.9),
            xtol=1e-14,
            ftol=1e-14,
        )
        assert 2 * s_ls / q_ls == pytest.approx(alpha, abs=1e-5)


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 1.0, 2.0])
def test_a_held_alpha_is_the_constrained_least_squares(alpha):
    z = np.log(family(1.0)) + 0.003 * np.sin(u)
    held, free = fixed_alpha(u, z, alpha), variable_projection(u, z[None])
    assert held.alpha[0] == alpha
    assert held.s[0] == pytest.approx(alpha * held.q[0] / 2, abs=1e-15)
    assert held.rss[0] >= free.rss[0]
    same = fixed_alpha(u, z, float(free.alpha[0]))
    assert same.rss[0] == pytest.approx(free.rss[0], rel=1e-9)
    assert same.q[0] == pytest.approx(free.q[0], rel=1e-6)


def test_three_seeds_give_the_t_interval_of_their_alphas():
    found = fit(seeds(3), t_min=10)
    each = np.array([seed.alpha for seed in found.seeds])
    half = 4.302652729911275 * each.std(ddof=1) / np.sqrt(3)  # the t quantile, .975 on 2 degrees of freedom
    assert found.interval == pytest.approx((each.mean() - half, each.mean() + half))
    assert not found.provisional
    assert found.posterior is None


def test_the_confidence_level_is_the_readers_choice():
    narrow, wide = fit(seeds(1), t_min=10, confidence_level=0.5), fit(seeds(1), t_min=10, confidence_level=0.99)
    assert wide.interval[0] < narrow.interval[0] < narrow.alpha < narrow.interval[1] < wide.interval[1]
    with pytest.raises(AnalysisError, match="confidence_level"):
        fit(seeds(1), confidence_level=95)


def test_an_interval_of_one_run_is_refused_where_its_posterior_does_not_reach():
    for group in (seeds(1), seeds(2)):
        with pytest.raises(AnalysisError, match=r"confidence_level = 0\.999: one run's table ends at 0\.995; give"):
            fit(group, t_min=10, confidence_level=0.999)
    at_most = fit(seeds(1), t_min=10, confidence_level=0.995)
    assert at_most.interval == pytest.approx((at_most.posterior[0][0], at_most.posterior[0][-1]))
    wide, wider = (np.ptp(fit(seeds(3), t_min=10, confidence_level=level).interval) for level in (0.995, 0.9999))
    assert wider > wide


def test_a_run_that_grows_faster_than_the_posterior_knows_is_at_a_bound():
    t = np.geomspace(1, 1e4, 49)
    found = fit((t, np.log(3e4 / t) ** -0.2), t_min=1)  # α = −10: the search finds it, one run's prior ends at −3.3
    assert found.interval[0] > -9
    assert any("α is a bound and no estimate" in sentence for sentence in found.warnings)
    assert not any("is a bound" in sentence for sentence in fit((t, np.log(1e6 / t) ** -2), t_min=1).warnings)


def test_the_law_is_nothing_before_its_origin():
    found = fit(seeds(1), t_min=10)
    assert np.isnan(found.predict([0, -1])).all()


def test_two_seeds_stand_side_by_side():
    """Each run's posterior is worked out by itself, as where it is alone."""
    both = seeds(2)
    found = fit(both, t_min=10)
    alone = [fit(one, t_min=10) for one in both]
    assert [seed.interval for seed in found.seeds] == [one.interval for one in alone]
    assert found.interval == (min(o.interval[0] for o in alone), max(o.interval[1] for o in alone))
    assert found.provisional
    assert any("two runs" in sentence for sentence in found.warnings)


def test_one_run_is_provisional_and_carries_its_posterior():
    found = fit(seeds(1)[0], t_min=10)
    assert found.provisional
    assert any("Provisional" in sentence for sentence in found.warnings)
    alpha, cdf = found.posterior
    assert np.all(np.diff(alpha) >= 0)
    assert np.interp([0.025, 0.5, 0.975], cdf, alpha) == pytest.approx(
        [found.interval[0], found.alpha, found.interval[1]]
    )


def test_a_power_law_is_reported_as_not_excluded():
    t = np.geomspace(1, 1e4, 60)
    noise = seeds(1)[0]
    found = fit((t, 2 * t**0.25 * np.interp(t, noise[0], noise[1] / np.log(noise[0] / 0.1))), t_min=10)
    assert not found.power_law_excluded
    assert any("contains 0" in sentence for sentence in found.warnings)
    assert "not excluded" in str(found)


def test_a_curve_outside_of_the_family_is_said_to_be_so():
    wave = [(t, d * np.exp(0.1 * np.sin(3 * np.log(t)))) for t, d in seeds(5)]
    found = fit(wave, t_min=10)
    assert found.p_value < 0.05
    assert any("No law of the family fits" in sentence for sentence in found.warnings)


def test_the_result_reads_as_table_dictionary_and_frame():
    found = fit(seeds(3))
    text = str(found)
    assert "95 % confidence interval" in text
    assert "t_min" in text
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["alpha"] == found.alpha
    assert len(again["scan"]) == len(found.scan)
    frame = pd.concat([found.to_frame(), fit(seeds(1)[0]).to_frame()])
    assert list(frame.n) == [3, 1]
    assert found.exponent == 2 / found.alpha
    law = found.amplitude * np.abs(np.log(50 / found.t0)) ** found.exponent
    assert found.predict(50) == pytest.approx(law, rel=1e-9)
    assert isinstance(found, Fit)


def test_the_power_law_itself_can_be_printed_and_predicted():
    found = fit((np.exp(u), np.exp(u) ** 0.3), t_min=10)
    assert "nan" not in str(found).lower()
    assert found.predict([10.0, 100.0]) == pytest.approx([10**0.3, 100**0.3], rel=1e-6)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        ((np.exp(u), np.full(37, 2.0)), {}, GrowthError),
        ((np.exp(u), np.exp(-u)), {}, GrowthError),
        ((np.exp(u), family(1)), {"offset": "free"}, OffsetError),
        ((np.exp(u), family(1)), {"law": "cubic"}, LawError),
        ((np.exp(u), family(1)), {"t_min": 5000}, ShortCurveError),
        ([(np.exp(u), family(1)), (np.exp(u), family(1))], {}, SeedError),
    ],
)
def test_what_cannot_be_answered_is_refused_by_name_in_one_line(data, options, error):
    with pytest.raises(error) as caught:
        fit(data, **options)
    assert "\n" not in str(caught.value)


def test_a_rival_law_is_sent_to_compare_and_an_unknown_one_is_told_the_names():
    with pytest.raises(LawError, match=r"use compare\(data, \['saturation'\]\)"):
        fit((np.exp(u), family(1)), law="saturation")
    with pytest.raises(LawError, match="compare fits power law, pure log"):
        fit((np.exp(u), family(1)), law="cubic")


def test_a_known_offset_is_taken_off_first():
    d = family(1.0)
    assert fit((np.exp(u), d + 5), offset=5.0, t_min=10).alpha == pytest.approx(1.0, abs=1e-6)


def test_a_range_too_short_says_which_of_its_ends_the_learning_rate_sets():
    t = np.arange(1.0, 801)
    with pytest.raises(ShortCurveError, match=r"99..407, from the end of the warm-up to the learning-rate drop, sp"):
        fit(Curve(t, t**0.25, drops=(407.0,), warmup_end=99.0))
    with pytest.raises(ShortCurveError, match=r"500..800 spans 0.20 decades of t; .* or lower t_min"):
        fit((t, t**0.25), t_min=500)


def test_a_fit_range_under_two_decades_is_warned_of():
    assert any("1.5 decades" in sentence for sentence in fit(seeds(3), t_min=10, t_max=316.3).warnings)
    assert not any("decades" in sentence for sentence in fit(seeds(3), t_min=10).warnings)


def test_a_run_whose_residual_is_far_above_what_seeds_differ_by_is_warned_of():
    path = noise(np.random.default_rng(0), u, 1, std=0.15, length=1.0)[0]
    assert any("a transient for noise" in sentence for sentence in fit((np.exp(u), np.exp(u / 2 + path))).warnings)
    assert not any("transient for noise" in sentence for sentence in fit(seeds(1)[0], t_min=10).warnings)


def test_a_curve_that_hardly_grows_is_warned_of():
    rng = np.random.default_rng(4)
    found = fit((np.exp(u), np.exp(0.002 * u + 0.02 * rng.normal(size=len(u)))), t_min=10)
    assert any("does not grow at all; that part is left out of α." in sentence for sentence in found.warnings)
