"""Power cuts at any moment of a run that is recorded, closed, resumed and replaced, without a power switch.

The states that POSIX allows are built from the calls that the writer made (tests/oracles/crash_states.py).
"""

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trajectory import StoreError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "oracles"))
from power_cuts import open_after, record_history, states, use_small_chunks


def judge(n: int, seed: int) -> Iterator[str]:
    """Judges states: each opens with a prefix of the rows and all that was promised, and can be recorded on."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder, pytest.MonkeyPatch.context() as patch:
        use_small_chunks(patch)
        live = Path(folder) / "live"
        live.mkdir()
        history = record_history(live, patch)
        chance = random.Random(f"power {seed}")
        cuts = (chance.randrange(history.recording.now + 1) for _ in range(10 * n))
        for k, (cut, tree) in enumerate(states(history, cuts, 1, seed)):
            if k == n:
                return
            with tempfile.TemporaryDirectory(prefix="reliability-") as place:
                yield outcome(cut, tree, history, Path(place))


def outcome(cut: int, tree: object, history: object, place: Path) -> str:
    """Says what came of one state; what may not come begins with WRONG."""
    try:
        open_after(cut, tree, history, place, go_on=True)
    except (AssertionError, StoreError, StopIteration) as error:
        return f"WRONG after {cut} changes: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
    return "all that was promised there, recorded on"
