"""Runs that are resumed again and again."""

import copy
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trajectory import Recorder, Run, verify

RESUMES = 50
UPDATES = 4000


class Training:
    """A small network that is trained on random gradients of its steps, with all that is recorded of it."""

    def __init__(self, path: Path, state: dict[str, Any] | None = None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        options: dict[str, Any] = {"quantities": ["distance", "norm"], "origins": [50], "snapshots": 500, "sketch": 4}
        if state:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            options["resume"] = "must"
        self.recorder = Recorder(path, self.model, self.optimizer, **options)
        if state:
            self.recorder.load_state_dict(state["recorder"])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts = {"model": self.model, "optimizer": self.optimizer, "recorder": self.recorder}
        return {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}

    def go_on(self, last: int) -> None:
        """Trains up to a step."""
        while (t := self.recorder.step + 1) <= last:
            generator = torch.Generator().manual_seed(t)
            for p in self.model.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
            self.optimizer.step()
            self.recorder.log(loss=float(t))


def judge(n: int, seed: int) -> Iterator[str]:
    """Judges runs that were resumed fifty times, half of them after a kill: they equal one that was not."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        whole = Path(folder) / "whole.zarr"
        training = Training(whole)
        training.go_on(UPDATES)
        training.recorder.close()
        for k in range(n):
            path = Path(folder) / f"{k}.zarr"
            _resumed(path, random.Random(f"resumes {seed} {k}"))
            yield _compared(whole, path)
            shutil.rmtree(path)


def _resumed(path: Path, chance: random.Random) -> None:
    """Records a run in pieces: each goes back to a checkpoint of the piece before."""
    stops = sorted(chance.sample(range(1, UPDATES), RESUMES))
    state = None
    for stop in stops:
        training = Training(path, state)
        training.go_on(chance.randint(training.recorder.step, stop))
        state = training.state()
        training.go_on(stop)
        if chance.random() < 0.5:
            training.recorder.close("interrupted (stopped)")
            continue
        training.recorder.flush()
        killed = path.with_suffix(".killed")
        shutil.copytree(path, killed, ignore=shutil.ignore_patterns("lock"))  # what a kill would leave
        training.recorder.close()
        shutil.rmtree(path)
        os.replace(killed, path)
    training = Training(path, state)
    training.go_on(UPDATES)
    training.recorder.close()


def _compared(whole: Path, path: Path) -> str:
    one, other = Run(whole), Run(path)
    problems = verify(path)
    pairs = {
        "distance": (one.distance, other.distance),
        "layers": (one.layers(), other.layers()),
        "norms": (one.layers("norm"), other.layers("norm")),
        "displacement": (one.layers(origin=50), other.layers(origin=50)),
        "metrics": (one.metrics, other.metrics),
        "sketches": (one.pairwise_distance(), other.pairwise_distance()),
    }
    different = [name for name, (before, after) in pairs.items() if not before.equals(after)]
    weights = all(
        torch.equal(value, other.state_dict(step)[name])
        for step in one.snapshots
        for name, value in one.state_dict(step).items()
    )
    if different or problems or not weights or len(other.resumed) != RESUMES:
        return f"WRONG {different}, {problems}, snapshots equal: {weights}, resumed {len(other.resumed)} times"
    return "equal to one that was not, bit for bit"
