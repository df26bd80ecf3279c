"""Which step is the first that a run lacks."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajectory import At, Every, LogSpaced
from trajectory.schema.schedules import add_period, find_gap, from_json, to_json

schedules = st.one_of(
    st.builds(Every, st.integers(1, 9), st.none() | st.integers(0, 90)),
    st.builds(LogSpaced, st.integers(1, 30), st.none() | st.integers(0, 90)),
)


@given(first=schedules, second=schedules, turn=st.integers(1, 60), last=st.integers(0, 120), data=st.data())
def test_a_missing_step_is_found_and_nothing_else(first, second, turn, last, data):
    periods = add_period(((0, first),), turn, second)
    due = [t for t in range(1, last + 1) if t in (first if t <= turn else second)]
    assert find_gap(np.array(due, dtype="int64"), periods, last) is None
    if due:
        k = data.draw(st.integers(0, len(due) - 1))
        left = [*due[:k], *due[k + 1 :]]
        assert find_gap(np.array(left, dtype="int64"), periods, last) == (due[k - 1] if k else 0, due[k])


@given(schedules, schedules)
def test_schedules_are_stored_and_read(first, second):
    periods = ((0, first), (5, None), (7, second))
    assert from_json(json.loads(json.dumps(to_json(periods)))) == periods


def test_a_schedule_of_another_kind_is_stored_as_unknown():
    assert to_json(((0, At([3])),)) == [[0, None]]
    assert find_gap(np.array([3, 90]), ((0, None),), 100) is None


def test_resuming_at_an_earlier_step_forgets_later_schedules():
    periods = add_period(add_period(((0, Every(1)),), 50, Every(2)), 80, Every(2))
    assert periods == ((0, Every(1)), (50, Every(2)))
    assert add_period(periods, 30, Every(1)) == ((0, Every(1)),)
    assert add_period(periods, 0, Every(3)) == ((0, Every(3)),)


@pytest.mark.parametrize("step", [0, 1, 2, 9, 10, 99, 12345, 10**15])
def test_the_next_of_log_spaced_steps_is_one_of_them(step):
    following = LogSpaced(12).after(step)
    assert following > step
    assert following in LogSpaced(12)
    assert not any(t in LogSpaced(12) for t in range(step + 1, min(following, step + 1000)))
