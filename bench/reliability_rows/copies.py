"""Stores copied file by file while a run is recorded, closed, resumed and replaced: each file as of some moment."""

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trajectory import Run, StoreError, verify

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "oracles"))
from crash_states import Recording, Tree, plant
from power_cuts import FIRST, SECOND, THIRD, record_history, use_small_chunks

MOMENTS = 5  # at which files are copied


def judge(n: int, seed: int) -> Iterator[str]:
    """Judges copies that were begun at random moments and took a random time."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda fd: None)  # nothing is cut off here
        use_small_chunks(patch)
        live = Path(folder) / "live"
        live.mkdir()
        recording = record_history(live, patch).recording
        chance = random.Random(f"copies {seed}")
        for _ in range(n):
            with tempfile.TemporaryDirectory(prefix="reliability-") as place:
                plant(copied(recording, chance), Path(place))
                yield outcome(Path(place) / "run.zarr")


def copied(recording: Recording, chance: random.Random) -> Tree:
    """Copies the files in the order of their names, in the other one, or in none."""
    start, length = chance.randrange(20, recording.now), chance.choice([3, 10, 40, 120])
    last = min(start + length, recording.now)
    moments = [recording.state(cut, {}) for cut in sorted(chance.randint(start, last) for _ in range(MOMENTS))]
    names = sorted({name for tree in moments for name in tree})
    order = {name: k * MOMENTS // len(names) for k, name in enumerate(names)}
    way = chance.choice(["names", "backwards", "any"])
    tree: Tree = {}
    for name in names:  # folders come before what is in them
        k = {"names": order[name], "backwards": MOMENTS - 1 - order[name]}.get(way, chance.randrange(MOMENTS))
        folder = name.rpartition("/")[0]
        if name in moments[k] and (not folder or folder in tree):
            tree[name] = moments[k][name]
    return tree


def outcome(path: Path) -> str:
    """Says what came of one copy; what may not come begins with WRONG."""
    try:
        run = Run(path)
        rows, layers, losses = run.distance, run.layers(), run.metrics.get("loss", [])
    except StoreError:
        return "refused"
    tables = [table[: len(rows)] for table in (FIRST, SECOND, THIRD)]
    if not any(np.array_equal(np.column_stack([rows.index, rows, layers]), table) for table in tables):
        return f"WRONG rows {rows.index.tolist()}, {run.status}"
    if not any(np.array_equal(losses, table[: len(losses), 1]) for table in (FIRST, SECOND, THIRD)):
        return f"WRONG losses {losses.index.tolist()}, {run.status}"
    try:
        verify(path, repair=True)
    except StoreError:
        return "the rows of one moment, not repaired"
    return "the rows of one moment"
