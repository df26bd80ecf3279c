"""A disk that is full or broken at any call of a run that is recorded, closed and resumed (tests/oracles)."""

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "oracles"))
from failing_disk import draw, fail
from power_cuts import use_small_chunks


def judge(n: int, seed: int) -> Iterator[str]:
    """Judges failures, half of them followed by a kill: what was taken is there, and nothing wrong beside it."""
    chance = random.Random(f"failures {seed}")
    with pytest.MonkeyPatch.context() as patch:
        use_small_chunks(patch)
        patch.setattr("os.fsync", lambda fd: None)  # nothing is cut off here
        with tempfile.TemporaryDirectory(prefix="reliability-") as place:
            calls = len(fail(Path(place), patch).calls)
        for _ in range(n):
            failure = draw(calls, chance)
            with tempfile.TemporaryDirectory(prefix="reliability-") as place:
                yield outcome(failure, Path(place), patch)


def outcome(failure: tuple[int, str, int], place: Path, patch: pytest.MonkeyPatch) -> str:
    """Says what came of one failure; what may not come begins with WRONG."""
    try:
        fail(place, patch, *failure)
    except Exception as error:
        return f"WRONG after {failure}: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
    return "all that was taken there, repaired without loss"
