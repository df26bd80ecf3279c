import pytest
from hypothesis import given
from hypothesis import strategies as st

from trajectory import At, Every, LogSpaced, RecordingError
from trajectory.schedule import as_schedule, origin_steps


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


def test_origins_are_steps_or_multiples_of_the_memory_time():
    assert origin_steps([100, 3, 3, 0], None) == (3, 100)
    assert origin_steps(["5tau", "1tau", "0.5 τ", "30", 7], 200.0) == (7, 30, 100, 200, 1000)


@pytest.mark.parametrize("origin", ["five", "5t", "tautau", "1.5"])
def test_an_origin_that_is_neither_is_refused(origin):
    with pytest.raises(RecordingError, match="expected a step, or a multiple of τ such as '5tau'"):
        origin_steps([origin], 100.0)


def test_a_multiple_of_a_memory_that_is_not_known_is_refused():
    with pytest.raises(RecordingError, match="needs SGD or AdamW with a learning rate and weight decay"):
        origin_steps(["5tau"], None)
