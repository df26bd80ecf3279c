"""Each status of a matcher by a constructed curve."""

from math import log

import numpy as np
import pytest
from noisy_power import DROP, STEPS, Q, power

from analysis.errors import AnalysisError, MatchError
from analysis.matching.distance_matcher import DistanceMatcher
from analysis.matching.outcome import Status


def overshooting(t):
    """Fashion-MNIST, batch 4096, √-scaled rate: methods' table of first updates, straight lines in log-log."""
    table_t, table_d = [1, 5, 10, 20, 30, 50, 100, 150], [2.4, 12.8, 27.8, 45.4, 51.8, 54.6, 53.9, 53]
    return np.exp(np.interp(np.log(t), np.log(table_t), np.log(table_d)))


def test_waits_until_a_window_is_full():
    matcher = DistanceMatcher(1.0)
    assert matcher.update(STEPS[:12], power(STEPS)[:12]) == "waiting"
    assert "too few distances to compare with the target 1" in matcher.match.sentence
    assert np.isnan(matcher.match.distance)
    assert matcher.match.to_dict()["distance"] is None


@pytest.mark.parametrize(
    "options", [{"bandwidth": "wide"}, {"bandwidth": np.nan}, {"min_step": "a"}, {"min_step": np.nan}, {"budget": -1}]
)
def test_options_that_are_no_numbers_of_their_kind_are_refused(options):
    (name,) = options
    with pytest.raises(AnalysisError, match=f"{name} .*expected a "):
        DistanceMatcher(1.0, **options)


def test_arms_below_the_target():
    matcher = DistanceMatcher(1.0)
    assert matcher.update(STEPS[:3000], power(STEPS)[:3000]) is Status.ARMED
    assert matcher.match.distance == pytest.approx((3000 / DROP) ** Q, rel=0.05 / 8 * Q)  # at the last check
    assert matcher.match.sentence.startswith("after 3000 updates the distance is 0.90")
    assert not matcher.matches


@pytest.mark.parametrize("bandwidth", [0.05, 0.1, 0.2])
def test_noiseless_crossing_fires_within_two_evaluations(bandwidth):
    matcher = DistanceMatcher(1.0, bandwidth=bandwidth)
    assert matcher.update(STEPS, power(STEPS)) is Status.MATCHED
    match = matcher.match
    assert 0 < log(match.step / DROP) <= 2 * bandwidth / 8 + 2 / DROP
    assert match.distance == pytest.approx((match.step / DROP) ** Q, rel=1e-9)
    assert match.crossing == pytest.approx(DROP, rel=1e-9)
    assert match.interval[0] <= match.crossing <= match.interval[1]


def test_sparse_record_fires_within_two_evaluations():
    steps = np.unique(np.geomspace(1, 20000, 400).astype(int))  # 93 a decade: one update to a batch
    matcher = DistanceMatcher(1.0)
    assert matcher.update(steps, power(steps)) == "matched"
    after = steps[steps > DROP]
    assert matcher.match.step in after[:3]


def test_never_reached_at_the_budget():
    matcher = DistanceMatcher(2.0, budget=5000)
    assert matcher.update(STEPS, power(STEPS)) == "never_reached"
    assert matcher.match.step == 5000
    assert matcher.match.sentence.startswith("after all 5000 updates the distance is 1.0")
    assert matcher.match.sentence.endswith("still below the target 2")


def test_a_distance_above_the_target_is_not_called_below():
    """The first of two estimates above it that a match takes."""
    matcher = DistanceMatcher(6.0, budget=1304)
    assert matcher.update(STEPS, STEPS**0.25) == "never_reached"
    assert matcher.match.distance > 6
    assert matcher.match.sentence.endswith("is 6.006, not far or long enough above the target 6")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_distance_diverges(bad):
    distances = power(STEPS)
    distances[999] = bad
    matcher = DistanceMatcher(1.0)
    assert matcher.update(STEPS, distances) == "diverged"
    assert matcher.match.sentence == f"the distance is {bad} after 1000 updates"


def test_jump_across_the_target_diverges():
    distances = power(STEPS, noise=0.001)
    distances[3000:] *= 1.3
    matcher = DistanceMatcher(1.0)
    assert matcher.update(STEPS, distances) == "diverged"
    assert 3000 < matcher.match.step < 3000 * 1.07  # once a window of the new distances is full
    assert "jumped" in matcher.match.sentence


def test_spike_across_the_target_is_passed_over():
    distances = power(STEPS, noise=0.001)
    distances[3000:3040] *= 1.3
    matcher = DistanceMatcher(1.0)
    assert matcher.update(STEPS, distances) == "matched"
    assert matcher.match.step == pytest.approx(DROP, rel=0.03)


@pytest.mark.parametrize("factor", [0.9, 1.04])
def test_jump_elsewhere_only_restarts_the_window(factor):
    distances = power(STEPS, noise=0.001)
    distances[3000:] *= factor  # the target is reached at 3955 or 7415
    matcher = DistanceMatcher(1.0)
    matcher.update(STEPS[:3100], distances[:3100])
    assert matcher.status == "waiting"
    matcher.update(STEPS[3100:], distances[3100:])
    assert matcher.status == ("matched" if factor > 1 else "armed")


def test_a_run_that_overshoots_is_already_above_and_the_sentence_says_what_to_do():
    steps = np.arange(1, 151)
    matcher = DistanceMatcher(38.0)
    assert matcher.update(steps, overshooting(steps)) == "already_above"
    assert all(means in matcher.match.sentence for means in ("origin", "warm", "floor in steps"))


def test_already_above_can_fall_below_and_come_back():
    steps = np.arange(1, 4000)
    distances = 1.2 - 0.4 * np.exp(-((np.log(steps / 1000) / 0.3) ** 2))  # 1.2, down to .8 at 1000, and back
    matcher = DistanceMatcher(1.0)
    assert matcher.update(steps[:300], distances[:300]) == "already_above"
    assert matcher.update(steps[300:1000], distances[300:1000]) == "armed"
    assert matcher.update(steps[1000:], distances[1000:]) == "matched"


def test_match_is_latched():
    matcher = DistanceMatcher(1.0)
    distances = power(STEPS)
    distances[6000:] = 0.5
    matcher.update(STEPS[:6000], distances[:6000])
    first = matcher.match
    assert matcher.update(STEPS[6000:], distances[6000:]) == "matched"
    assert matcher.match == first


def test_nothing_counts_before_the_floor():
    matcher = DistanceMatcher(1.0, min_step=5500)
    assert matcher.update(STEPS, power(STEPS)) == "already_above"
    matcher = DistanceMatcher(1.0, min_step=4000)
    assert matcher.update(STEPS, power(STEPS)) == "matched"


def test_learning_rate_change_restarts_the_window():
    """The rate's rise carries the run across the target while the new window fills: that is no match."""
    distances = power(STEPS)
    distances[4400:] *= np.minimum(1 + np.arange(len(STEPS) - 4400) / 5000, 1.04)  # crosses at 4457
    rates = np.where(STEPS <= 4400, 0.1, 0.3)
    informed, uninformed = DistanceMatcher(1.0), DistanceMatcher(1.0)
    assert uninformed.update(STEPS, distances) == "matched"
    assert informed.update(STEPS, distances, rates) == "already_above"


def test_a_run_that_crosses_as_its_own_rate_drops_has_matched():
    """The window restarts, but the run was seen below, and a lower rate causes no overshoot."""
    distances = power(np.minimum(STEPS, 4400))
    rates = np.where(STEPS <= 4400, 0.1, 0.01)
    watch = DistanceMatcher(power(np.array([4390.0]))[0])
    assert watch.update(STEPS, distances, rates) == "matched"
    assert watch.match.step == pytest.approx(4400, rel=0.1)


def test_slow_decay_of_the_learning_rate_does_not_restart():
    """2 % over a window, as a cosine schedule falls."""
    informed, uninformed = DistanceMatcher(1.0), DistanceMatcher(1.0)
    informed.update(STEPS, power(STEPS), 0.1 * STEPS**-0.2)
    uninformed.update(STEPS, power(STEPS))
    assert abs(log(informed.match.step / uninformed.match.step)) <= 2 * 0.05 / 8


def test_several_targets_in_turn():
    matcher = DistanceMatcher([0.8, 0.9, 1.0, 9.0])
    assert matcher.update(STEPS, power(STEPS)) == "armed"
    steps = [match.step for match in matcher.matches]
    np.testing.assert_allclose(np.log(steps), np.log(DROP) + np.log([0.8, 0.9, 1.0]) / Q, atol=0.02)
    assert matcher.target == 9.0


def test_zero_distances_and_replayed_steps_are_passed_over():
    distances = power(STEPS)
    plain, odd = DistanceMatcher(1.0), DistanceMatcher(1.0)
    plain.update(STEPS[20:], distances[20:])
    odd.update(STEPS[:20], np.zeros(20))
    odd.update(STEPS[20:3000], distances[20:3000])
    odd.update(STEPS[2000:], np.where(STEPS[2000:] < 3000, 7.0, distances[2000:]))
    assert odd.match == plain.match


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": -1.0}, "target distance -1"),
        ({"targets": [1.0, np.nan]}, "target distance nan"),
        ({"targets": 1.0, "bandwidth": 0.0}, "bandwidth 0"),
        ({"targets": []}, "no target"),
    ],
)
def test_refuses_what_makes_no_sense(arguments, message):
    with pytest.raises(MatchError, match=message) as error:
        DistanceMatcher(**arguments)
    assert "\n" not in str(error.value)
