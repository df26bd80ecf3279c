"""Forecasts against exact first-passage laws, and their coverage where the law they assume is true."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis import Curve, Reference, fit
from analysis import synthetic as simulate
from analysis.errors import AnalysisError, MatchError
from analysis.matching.forecast import _first_passage, predict_match
from analysis.matching.posterior_predictive import Draws, Point, log_distance_now, posterior, seen_up_to

CROSSING = 5000
FAR = 1_000_000  # an origin beside which the updates after it are few
U = np.arange(np.log(30), np.log(CROSSING) + 3, 0.01)
T = np.exp(U)


def reference(target):
    return Reference((target,), (np.nan,), (CROSSING,), (0.1,), 0.1, None, {"parameters": []}, False, ("truth",))


def law(t, alpha=1.0):
    return simulate.distance("ultraslow", t, alpha=alpha, t0=1.0)


TARGET = reference(float(law(np.array([CROSSING]))[0]))


def noisy(seed, kind="OU", std=0.008):
    """(t, d) of Sinai's law with noise in log time."""
    return T, law(T) * np.exp(simulate.noise(np.random.default_rng(seed), U, 1, kind=kind, std=std, length=1.0)[0])


def crossing(d):
    return T[np.argmax(d >= TARGET.targets[0])]


@pytest.mark.parametrize("drift", [0.0, 0.5, -0.2])
def test_first_passage_of_brownian_motion_with_drift(drift):
    """Inverse Gaussian: P(passage ≤ U) = Φ((μU − a)/σ√U) + e^(2μa/σ²) Φ((−μU − a)/σ√U)."""
    n, a, sigma = 20_000, 0.3, 0.4
    draws = Draws(np.full(n, 1e-12), np.full(n, drift), np.full(n, sigma), 0.0)
    passage = np.log(_first_passage(draws, Point(2.0, 1.0), 1.0 + a, np.random.default_rng(0))) - 2.0
    for ahead in (0.05, 0.3, 1.0, 4.0, 9.0):
        spread = sigma * ahead**0.5
        exact = stats.norm.cdf((drift * ahead - a) / spread)
        exact += np.exp(2 * drift * a / sigma**2) * stats.norm.cdf((-drift * ahead - a) / spread)
        error = 4 * (exact * (1 - exact) / n) ** 0.5 + 1e-4
        assert np.mean(passage <= ahead) == pytest.approx(exact, abs=error)


@pytest.mark.parametrize("s", [0.4, -0.2])
def test_first_passage_without_noise_is_the_laws_crossing(s):
    """z − z_now = q (g_s(x) − g_s(0)) = 0.1 at x = (e^(0.1 s/q) − 1)/s."""
    draws = Draws(np.full(5, s), np.full(5, 0.25), np.full(5, 1e-9), 6.0)
    passage = _first_passage(draws, Point(6.0, 0.0), 0.1, np.random.default_rng(0))
    np.testing.assert_allclose(np.log(passage) - 6.0, np.expm1(0.1 * s / 0.25) / s, atol=2e-4)


def test_law_that_blows_up_arrives_before():
    draws = Draws(np.full(5, -0.5), np.full(5, 0.25), np.full(5, 1e-6), 6.0)
    passage = _first_passage(draws, Point(6.0, 0.0), 3.0, np.random.default_rng(0))
    assert np.all(np.log(passage) < 8.0 + 1e-6)  # 1 + s x = 0 at x = 2


def test_forecast_of_a_quiet_run_is_close():
    t, d = noisy(0, std=0.0005)
    found = predict_match((t, d), TARGET, until=CROSSING / 2, t_min=30, budget=CROSSING * 2)
    assert found.step == pytest.approx(CROSSING, rel=0.02)
    assert found.interval[0] < CROSSING < found.interval[1] < 1.05 * CROSSING
    assert (found.beyond, found.hit) == (0.0, True)
    assert found.seen == pytest.approx(CROSSING / 2, rel=0.01)


def test_the_forecast_is_the_quantiles_of_the_paths():
    t, d = noisy(0)
    curve = seen_up_to(Curve(t, d), 2000)
    rng = np.random.default_rng(0)
    passage = _first_passage(posterior(curve, 30, 1000, rng), log_distance_now(curve), np.log(TARGET.targets[0]), rng)
    for level in (0.9, 0.5):
        options = {"until": 2000, "t_min": 30, "budget": 6000, "samples": 1000}
        found = predict_match((t, d), TARGET, confidence_level=level, **options)
        below = [np.mean(passage <= end) for end in (found.interval[0], found.step, found.interval[1])]
        assert below == pytest.approx([(1 - level) / 2, 0.5, (1 + level) / 2], abs=2e-3)
        assert found.beyond == np.mean(passage > 6000)


def test_from_a_later_origin_all_updates_move_by_it_and_the_drop_is_the_one_asked_for():
    t, d = noisy(0)
    options = {"until": 2000, "t_min": 30, "budget": 6000}
    first = predict_match((t, d), TARGET, **options)
    drops = {"target_errors": (np.nan,) * 2, "drop_steps": (FAR + 100, FAR + 200), "ratios": (0.1, 0.1)}
    later = replace(TARGET, origin=FAR, targets=(1.0, *TARGET.targets), **drops)
    moved = predict_match((t + FAR, d), later, drop=1, **{name: at + FAR for name, at in options.items()})
    assert moved.step - FAR == pytest.approx(first.step)
    assert [end - FAR for end in moved.interval] == pytest.approx(first.interval)
    assert [end - FAR for end in moved.backtest] == pytest.approx(first.backtest)
    assert (moved.seen - FAR, moved.beyond, moved.distance) == (first.seen, first.beyond, first.distance)
    assert (moved.origin, moved.hit, moved.doubts) == (FAR, first.hit, first.doubts)
    assert f"the first {(moved.seen + FAR) // 2} updates forecast" in str(moved)


def test_a_run_that_has_not_gone_on_since_half_has_no_back_test():
    t, d = noisy(0, std=0.0005)
    back = np.where(t < 1000, d, d[np.argmax(t >= 1000)] * (t / 1000) ** -0.002)
    assert predict_match((t, back), TARGET, until=3000, t_min=30).backtest is None


def test_nothing_later_than_until_or_than_a_drop_is_used():
    """The same numbers are left each time, and the same random numbers are drawn."""
    t, d = noisy(1)
    first = predict_match((t, d), TARGET, until=2000, t_min=30)
    assert predict_match((t, np.where(t > 2000, 1.0, d)), TARGET, until=2000, t_min=30) == first
    last = float(t[t <= 2000][-1])
    assert predict_match(Curve(t, d, drops=(last,)), TARGET, t_min=30) == first


def test_starts_where_the_fit_does_by_default():
    """Both forecasts are made from the same numbers."""
    t, d = noisy(2, std=0.001)
    bent = d * np.exp(-1.5 * (100 / t) ** 2)  # a transient
    seen = t <= CROSSING / 2
    start = fit((t[seen], bent[seen])).fit_range[0]
    assert start > t[0]
    found = predict_match((t, bent), TARGET, until=CROSSING / 2)
    assert found == predict_match((t, bent), TARGET, until=CROSSING / 2, t_min=start)


def test_run_that_stands_still_may_never_arrive():
    """Saturated: half the paths or more do not arrive, and the budget's probability says so."""
    t, d = noisy(3, std=0.002)
    still = d[np.argmax(t > 1000)] * np.exp(simulate.noise(np.random.default_rng(0), U, 1, kind="OU", std=0.002)[0])
    found = predict_match((t, np.where(t < 1000, d, still)), TARGET, until=4000, t_min=200, budget=8000)
    assert found.interval[1] == np.inf
    assert found.beyond > 0.5
    assert found.hit is None or found.backtest is not None
    assert "never" in str(found)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["interval"][1] is None


def test_a_forecast_of_never_is_said_once():
    t, d = noisy(3, std=0.002)
    found = predict_match((t, d), TARGET, until=4000, t_min=200, budget=8000)
    assert "it matches at update" in str(found)
    assert "it never matches (90 % interval: 5000 or later)" in str(
        replace(found, step=np.inf, interval=(5000.0, np.inf))
    )
    assert "it never matches (90 % interval: never)" in str(replace(found, step=np.inf, interval=(np.inf, np.inf)))


def test_back_test_misses_when_the_law_changes():
    t, d = noisy(4, std=0.001)
    slowed = np.where(t < 1000, d, d[np.argmax(t >= 1000)] * (t / 1000) ** 0.05)
    found = predict_match((t, slowed), TARGET, until=2000, t_min=30)
    assert found.hit is False
    assert found.backtest[1] < found.seen
    assert f"it came at {found.seen}, outside that interval" in str(found)


def test_a_quiet_run_under_the_law_leaves_no_doubt():
    found = predict_match(noisy(0, std=0.0005), TARGET, until=CROSSING / 2, t_min=30)
    assert found.doubts == ()
    assert "too early" not in str(found)


def test_an_interval_that_rests_on_no_law_is_too_early_to_say():
    """Saturation, then drift: no law of the family, and each doubt is named with the interval behind it."""
    t, d = noisy(0, std=0.0005)
    rejected = predict_match((t, d * (1 + 0.2 * np.tanh((np.log(t) - 6) / 0.3))), TARGET, until=2000, t_min=30)
    assert rejected.doubts[0].startswith("the law does not hold for what was seen (wrong: p = ")
    assert "it is too early to say when it matches: the law does not hold" in str(rejected)
    assert rejected.to_dict()["doubts"] == list(rejected.doubts)
    slowed = predict_match((t, np.where(t < 1000, d, d[np.argmax(t >= 1000)])), TARGET, until=2000, t_min=30)
    assert "the back-test failed" in slowed.doubts


def test_a_jump_and_a_long_way_ahead_are_doubts():
    t = np.arange(1.0, 26.0)
    d = 0.8 * t**0.5 * np.exp(1e-3 * np.random.default_rng(0).normal(size=25))
    found = predict_match((t, d), reference(40.0))  # at t = 2500
    jump, ahead = found.doubts
    assert jump == "25 updates were seen, and the first 100 may be a jump"
    assert ahead == "the match lies further ahead than the law was seen (t = 1 .. 25)"
    from_later = predict_match((t + 30, d), replace(reference(40.0), origin=30))
    assert from_later.doubts == (ahead,)
    longer = np.arange(1.0, 151.0)
    assert not any("a jump" in said for said in predict_match((longer, 0.8 * longer**0.5), reference(40.0)).doubts)


def test_short_run_has_no_back_test():
    t, d = noisy(5)
    found = predict_match((t, d), TARGET, until=450, t_min=30)
    assert found.backtest is None
    assert found.hit is None
    assert "too short for a back-test" in str(found)


def test_shows_itself_as_a_sentence():
    found = predict_match(noisy(6), TARGET, until=2000, t_min=30)
    assert repr(found) == str(found)
    assert repr(found).startswith("forecast: the run has travelled ")
    assert found._repr_html_() == f"<div><p>{found}</p></div>"
    with pytest.warns(DeprecationWarning, match=r"Forecast.level is now Forecast.confidence_level"):
        assert found.level == 0.9


def test_same_seed_same_forecast():
    run = noisy(6)
    assert predict_match(run, TARGET, until=2000, t_min=30) == predict_match(run, TARGET, until=2000, t_min=30)


@pytest.mark.parametrize(
    ("run", "message"),
    [(noisy(7), "past the target"), ([noisy(7), noisy(8)], "got 2 runs")],
)
def test_refuses_a_run_past_its_target_and_several_runs(run, message):
    with pytest.raises(MatchError, match=message) as error:
        predict_match(run, TARGET, t_min=30)
    assert "\n" not in str(error.value)


def covered(kind, part, seeds):
    """Whether each 90 % interval, seen up to t*/part, holds the crossing."""
    inside = []
    for seed in seeds:
        t, d = noisy(seed, kind)
        if crossing(d) > CROSSING / part:
            found = predict_match((t, d), TARGET, until=CROSSING / part, t_min=30, samples=1000)
            inside.append(found.interval[0] <= crossing(d) <= found.interval[1])
    return np.array(inside)


@pytest.mark.parametrize("part", [4, 2])
def test_intervals_cover(part):
    inside = covered("OU", part, range(30))
    assert inside.mean() >= 0.9 - 3 * (0.09 / len(inside)) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Brownian", "OU", "Matérn"])
@pytest.mark.parametrize("part", [4, 2, 1.25])
def test_intervals_cover_in_the_long_run(kind, part):
    """Seen up to t*/4, /2 and /1.25, under noise of .8 %: no more than 3 standard errors below .86."""
    inside = covered(kind, part, range(1000, 1150))
    assert inside.mean() >= 0.86 - 3 * (0.12 / len(inside)) ** 0.5


def test_relative_reference_needs_a_run():
    with pytest.raises(MatchError, match="recorded run"):
        predict_match(noisy(9), replace(TARGET, relative=True), t_min=30)


def test_a_posterior_has_no_law_that_is_undefined_where_it_was_fitted():
    # half a grid step of s reached beyond the law's singular end, where numpy warns and the draw is lost
    t = np.arange(1.0, 151.0)
    d = t / (1 + (t / 80) ** 4) ** 0.25 * np.exp(0.01 * np.random.default_rng(0).normal(size=150))
    draws = posterior(Curve(t, d), 1.0, 4000, np.random.default_rng(0))
    assert np.isfinite(draws.sigma).all()


@pytest.mark.parametrize("name", ["t_min", "until", "budget", "confidence_level"])
@pytest.mark.parametrize("value", [np.nan, "10", True])
def test_an_argument_that_is_no_number_is_refused_in_one_line(name, value):
    with pytest.raises(AnalysisError, match=f"{name} = .*: expected a") as caught:
        predict_match((T, law(T)), TARGET, **{name: value})
    assert "\n" not in str(caught.value)
