"""The words for errors that nobody has foreseen."""

import pytest

from trajectory.errors import kind_and_message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "MemoryError"),
        (ValueError("no number\nat all"), "ValueError: no number"),
        (KeyError("step"), "KeyError: 'step'"),
    ],
)
def test_a_failure_is_told_by_its_kind_and_its_message_if_it_has_one(error, words):
    assert kind_and_message(error) == words
