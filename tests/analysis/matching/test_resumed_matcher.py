"""A matcher's state is the same however its distances come: at once, one by one, or through a checkpoint.

It takes distances one at a time as Python's numbers, so that bits can be compared.
"""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy_power import STEPS, power

from analysis.errors import MatchError
from analysis.matching.distance_matcher import DistanceMatcher


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
