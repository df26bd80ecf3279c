"""Rows of a long table, kept in a file as they are measured, so that an interrupted bench goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np


class Rows:
    """What was measured, by key: taken from the file where it is there, else measured and appended.

    Each key has random numbers of its own, so that a table is the same however often it was interrupted, and
    whichever of its rows were measured at the same time by another process.

    Args:
        path: JSON lines; None keeps nothing.
        seed: of the random numbers.
        repetitions: of each measurement, part of its key.
    """

    def __init__(self, path: Path | None, seed: int, repetitions: int) -> None:
        self.path, self.seed, self.repetitions = path, seed, repetitions
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.known = dict(json.loads(line) for line in lines)

    def __call__(self, measure: Callable[[np.random.Generator], Any], *key: object) -> Any:
        """Return what a measurement gives for a key."""
        name = json.dumps([self.seed, self.repetitions, *key])
        if name not in self.known:
            self.known[name] = measure(np.random.default_rng([self.seed, crc32(name.encode())]))
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps([name, self.known[name]]) + "\n")
        return self.known[name]
