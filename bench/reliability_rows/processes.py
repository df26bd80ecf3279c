"""Recording processes that are killed, and such that fork."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from trajectory import Run, StoreError, verify

# Imports torch once, and makes a process of itself for each case; that says by its number that it records.
SERVER = """
import os, sys, time
import torch
from trajectory import Recorder
torch.set_num_threads(1)

def record(path, kind, seconds):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.weight.grad = -torch.ones(1, 1)
    recorder = Recorder(path, model, optimizer, snapshots=700, origins=[100], sketch=4)
    if kind == "forks" and os.fork() == 0:
        time.sleep(float(seconds) + 1)
        os._exit(0)
    print(os.getpid(), flush=True)
    while True:
        optimizer.step()
        recorder.log(t=float(recorder.step))
        if recorder.step % 5000 == 0:
            recorder.flush()

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        record(*line.split())
    os.waitpid(pid, 0)
    print("ended", flush=True)
"""


class Server:
    """Makes recording processes, and kills them."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", SERVER]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    @contextmanager
    def killed(self, kind: str, seconds: float) -> Iterator[Path]:
        """Gives the store of a process that was killed some time after it had begun."""
        tell, listen = self._process.stdin, self._process.stdout
        assert tell is not None
        assert listen is not None
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            path = Path(folder) / "run.zarr"
            print(path, kind, seconds, file=tell, flush=True)
            recording = int(listen.readline())
            time.sleep(seconds)
            os.kill(recording, signal.SIGKILL)
            assert listen.readline() == "ended\n"
            yield path


def judge(path: Path, seconds: float) -> str:
    """Says what a killed process has left, before and after a repair; what may not come begins with WRONG."""
    try:
        before = Run(path).distance
        problems = verify(path, repair=True)
        after, left = Run(path).distance, verify(path)
    except StoreError as error:
        return f"WRONG after {seconds:.3f} s: {error}"
    steps = np.arange(1, len(after) + 1)  # and the distances, whose squares are rounded to float32 from 4097 on
    right = (
        np.array_equal(after.index, steps) and np.allclose(after, steps, rtol=1e-7, atol=0) and before.equals(after)
    )
    if not right or left or any(not problem.repairable for problem in problems):
        return f"WRONG after {seconds:.3f} s: {len(before)} and {len(after)} rows, {problems}, {left}"
    return "every row up to the kill right, repaired without loss"


def kills(n: int, seed: int) -> Iterator[str]:
    """Judges what is left of a process that is killed at a random moment."""
    yield from _judged("kills", [random.Random(f"kill {seed} {k}").uniform(0, 1.5) for k in range(n)])


def forks(n: int, seed: int) -> Iterator[str]:
    """Judges the same where a forked child outlives the process: it keeps nobody off."""
    yield from _judged("forks", [random.Random(f"fork {seed} {k}").uniform(0, 1) for k in range(n)])


def _judged(kind: str, moments: list[float]) -> Iterator[str]:
    with Server() as server:
        for seconds in moments:
            with server.killed(kind, seconds) as path:
                yield judge(path, seconds)
