"""Matches to a reference: its curve, its target and where a run crosses it are on the axes."""

import numpy as np

from analysis import Reference, figures, predict_match
from analysis.matching.match import Matching, match
from analysis.matching.outcome import Match, Status

T = np.arange(1, 1001)


def test_match_shows_curves_target_and_crossing(runs, lines_of):
    run = (T[:300], 1.9 * T[:300] ** 0.25)
    found = match(runs[:2], run, min_step=10)
    (ax,) = figures.match(found, runs[:2], run).axes
    assert len(lines_of(ax, "reference: small batch, 2 seeds")) == 1
    np.testing.assert_array_equal(lines_of(ax, "run: curve")[0].get_ydata(), run[1])
    (matched,) = lines_of(ax, "matched")
    assert matched.get_xdata()[0] == found.matches[0].step
    assert lines_of(ax, "target")[0].get_ydata()[0] == found.reference.targets[0]


def test_the_interval_of_a_match_where_the_run_stands_still_stays_in_the_panel():
    """After its drop a run stands still just below its target, which a tiny drift may take for ever to reach."""
    seeds = [(T[:800], np.minimum(a * T[:800] ** 0.25, a * 400**0.25)) for a in (1.0, 1.001)]
    reference = Reference((4.47,), (1e-4,), (400,), (0.1,), 0.1)
    outcome = Match(Status.MATCHED, 431, 4.47, 4.47, 1e-4, 431.0, (200.0, 2e9), "")
    (ax,) = figures.match(Matching(reference, "run", (outcome,)), seeds, seeds[0]).axes
    assert ax.get_xlim()[1] < 3000


def test_a_match_shows_a_run_that_ends_long_before_the_drop():
    reference = Reference((4.5,), (1e-4,), (400,), (0.1,), 0.1)
    run = (T[:30], T[:30] ** 0.25)
    (ax,) = figures.match(match(reference, run, min_step=10), (T[:800], T[:800] ** 0.25), run).axes
    assert ax.get_xlim()[0] == 3


def test_match_from_an_origin_counts_t_from_it_and_shows_the_forecast(lines_of):
    """d = (t − 100)^.25, at the target 4 after 356 updates; the run a tenth behind, seen up to t = 300."""
    small = (T[:1000], np.maximum(T[:1000] - 100.0, 0) ** 0.25)
    noise = np.exp(1e-3 * np.random.default_rng(3).normal(size=300))
    run = (T[:300], 0.9 * np.maximum(T[:300] - 100.0, 0) ** 0.25 * noise)
    nothing = {"parameters": []}
    reference = Reference((4.0,), (np.nan,), (356,), (0.1,), 0.1, None, nothing, False, ("small",), origin=100)
    found, forecast = match(reference, run), predict_match(run, reference)
    (ax,) = figures.match(found, small, run, forecast).axes
    assert lines_of(ax, "run: curve")[0].get_xdata()[[0, -1]].tolist() == [1, 200]
    assert lines_of(ax, "forecast, 90 %")[0].get_xdata()[0] == forecast.interval[0] - 100
    low, high = forecast.interval
    assert low < 100 + (4 / 0.9) ** 4 < high
    assert ax.get_xlabel().endswith("after update 100")
    assert "w_{100}" in ax.get_ylabel()
