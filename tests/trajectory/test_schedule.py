import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajectory import At, Every, LogSpaced, RecordingError
from trajectory.schedule import as_schedule


def test_every():
    assert [step for step in range(10) if step in Every(3)] == [0, 3, 6, 9]
    assert as_schedule(2) == Every(2)
    assert as_schedule(Every(2)) == Every(2)


def test_listed_steps():
    assert [step for step in range(6) if step in At([4, 1])] == [1, 4]


@given(per_decade=st.integers(1, 60))
def test_log_spaced_steps_are_the_rounded_grid(per_decade):
    grid = {0} | {round(10 ** (k / per_decade)) for k in range(4 * per_decade)}
    assert {step for step in range(9000) if step in LogSpaced(per_decade)} == {step for step in grid if step < 9000}


@given(per_decade=st.integers(1, 60), n=st.integers(1, 40), until=st.integers(0, 3000))
def test_a_schedule_with_an_end_lists_its_steps(per_decade, n, until):
    for schedule in (LogSpaced(per_decade, until), Every(n, until), At([7, 2, until])):
        assert list(schedule) == [step for step in range(until + 9) if step in schedule]
    for schedule in (LogSpaced(per_decade), Every(n)):
        with pytest.raises(RecordingError, match="has no end"):
            list(schedule)


@pytest.mark.parametrize("make", [lambda: Every(0), lambda: LogSpaced(0)])
def test_a_schedule_without_steps_is_refused(make):
    with pytest.raises(RecordingError, match="expected"):
        make()
