"""Each status by a constructed curve; the detector's error and early fires on noisy power laws; resuming.

A matcher takes distances one at a time as Python's numbers, so that its state is the same however they come.
"""

import json
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from analysis.errors import AnalysisError, MatchError
from analysis.matching.distance_matcher import DistanceMatcher
from analysis.matching.outcome import Status

Q = 0.23  # local exponent of a real run
DROP = 4690  # update of the small batch's first drop on MNIST: epoch 10 at batch 128


def correlated(rng, n, tau=30):
    """Unit normal noise with correlation e^(−lag/τ)."""
    r = np.exp(-1 / tau)
    white = rng.standard_normal(n) * np.sqrt(1 - r * r)
    white[0] /= np.sqrt(1 - r * r)
    return lfilter([1], [1, -r], white)


def power(t, noise=0.0, seed=0):
    """A distance that reaches 1 at DROP."""
    return (t / DROP) ** Q * np.exp(noise * correlated(np.random.default_rng(seed), len(t)))


def overshooting(t):
    """Fashion-MNIST, batch 4096, √-scaled rate: methods' table of first updates, straight lines in log-log."""
    table_t, table_d = [1, 5, 10, 20, 30, 50, 100, 150], [2.4, 12.8, 27.8, 45.4, 51.8, 54.6, 53.9, 53]
    return np.exp(np.interp(np.log(t), np.log(table_t), np.log(table_d)))


STEPS = np.arange(1, 7000)


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


@pytest.mark.parametrize("cut", [1, 150, 3000, 4695, 4720, 6000])
def test_resumed_in_the_middle_of_a_window_equals_uninterrupted(cut):
    distances, rates = power(STEPS, noise=0.003), np.where(STEPS < 2000, 0.1, 0.2)
    whole = DistanceMatcher([0.9, 1.0])
    whole.update(STEPS, distances, rates)
    first, second = DistanceMatcher([0.9, 1.0]), DistanceMatcher([0.9, 1.0])
    first.update(STEPS[:cut], distances[:cut], rates[:cut])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.update(STEPS[cut:], distances[cut:], rates[cut:])
    assert len(whole.matches) == 2
    assert second.matches == whole.matches
    assert json.dumps(second.state_dict()) == json.dumps(whole.state_dict())


def test_resumes_from_a_checkpoint_of_version_0_1():
    """There the running estimate's bandwidth was called width."""
    whole, first, second = (DistanceMatcher(1.0, bandwidth=0.1) for _ in range(3))
    whole.update(STEPS, power(STEPS, noise=0.003))
    first.update(STEPS[:3000], power(STEPS, noise=0.003)[:3000])
    state = first.state_dict()
    state["window"]["width"] = state["window"].pop("bandwidth")
    second.load_state_dict(state)
    second.update(STEPS[3000:], power(STEPS, noise=0.003)[3000:])
    assert second.match == whole.match
    assert second.state_dict() == whole.state_dict()


def test_refuses_the_state_of_another_target():
    with pytest.raises(MatchError, match="same reference"):
        DistanceMatcher(1.0).load_state_dict(DistanceMatcher(2.0).state_dict())


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, len(STEPS)), max_size=8), noise=st.sampled_from([0.0, 0.01, 0.05]))
def test_arrays_equal_updates_one_by_one(cuts, noise):
    distances = power(STEPS, noise)
    single, blocks = DistanceMatcher(1.0), DistanceMatcher(1.0)
    for t, d in zip(STEPS, distances, strict=True):
        single.update(t, d)
    for part in np.split(np.arange(len(STEPS)), sorted(cuts)):
        blocks.update(STEPS[part], distances[part])
    assert json.dumps(blocks.state_dict()) == json.dumps(single.state_dict())
    assert blocks.match == single.match


def test_memory_is_constant():
    matcher = DistanceMatcher(10.0)
    sizes = []
    for part in np.split(np.arange(1, 200_001), 20):
        matcher.update(part, power(part, noise=0.02))
        sizes.append(len(matcher.state_dict()["window"]["means"]))
    assert max(sizes) == sizes[0] <= 18


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
