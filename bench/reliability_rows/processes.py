"""Recording processes that are killed, and such that fork."""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trajectory import Run, StoreError, verify

SCRIPT = """
import os, signal, sys, time
import torch
from trajectory import Recorder
torch.set_num_threads(1)
model = torch.nn.Linear(1, 1, bias=False)
torch.nn.init.zeros_(model.weight)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
model.weight.grad = -torch.ones(1, 1)
recorder = Recorder(sys.argv[1], model, optimizer, snapshots=700, origins=[100], sketch=4)
if sys.argv[2] == "forks" and os.fork() == 0:
    time.sleep(float(sys.argv[3]) + 1)
    os._exit(0)
print("begun", flush=True)
while True:
    optimizer.step()
    recorder.log(t=float(recorder.step))
    if recorder.step % 5000 == 0:
        recorder.flush()
"""


def killed(kind: str, seconds: float) -> Iterator[Path]:
    """Yields the store of a process that was killed some time after it had begun."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        path = Path(folder) / "run.zarr"
        command = [sys.executable, "-c", SCRIPT, str(path), kind, str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
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
    for k in range(n):
        seconds = random.Random(f"kill {seed} {k}").uniform(0, 1.5)
        for path in killed("kills", seconds):
            yield judge(path, seconds)


def forks(n: int, seed: int) -> Iterator[str]:
    """Judges the same where a forked child outlives the process: it keeps nobody off."""
    for k in range(n):
        seconds = random.Random(f"fork {seed} {k}").uniform(0, 1)
        for path in killed("forks", seconds):
            yield judge(path, seconds)
