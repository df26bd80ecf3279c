"""Runs of a million updates: every distance as a float64 twin has it, and memory that does not grow."""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trajectory import Recorder, Run, verify

UPDATES = 1_000_000
LAYERS, WIDTH = 20, 8
EVERY = 10_000  # updates between two readings of the memory
TOLERANCE = 1e-6  # relative: single precision, 6e-8, over a sum of 160 squares
GROWTH = 8.0  # bytes an update from half on: not so much as one number is kept of each


class Weights(nn.Module):
    """Layers whose weights lie behind each other in one array, so that the twin sees them without a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = torch.zeros(LAYERS * WIDTH)
        for k, part in enumerate(self.flat.split(WIDTH)):
            self.register_parameter(f"layer{k:02d}", nn.Parameter(part))


def judge(n: int, seed: int) -> Iterator[str]:
    """Judges long runs by their rows and by the memory of this process, counted from half the updates on."""
    for k in range(n):
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            yield outcome(Path(folder) / "run.zarr", np.random.default_rng([seed, k]))


def outcome(path: Path, rng: np.random.Generator) -> str:
    """Says what came of one run; what may not come begins with WRONG."""
    wanted, memory = record(path, rng)
    half = len(memory) // 2
    growth = (max(memory[half:]) - max(memory[half // 2 : half])) / (UPDATES / 2)
    run = Run(path)
    layers = run.layers().to_numpy()
    errors = np.abs(np.column_stack([run.distance, layers]) / wanted - 1)
    if len(errors) != UPDATES or not errors.max() <= TOLERANCE:
        return f"WRONG {len(errors)} rows, relative error {errors.max():.1e}"
    if not np.array_equal(run.metrics["loss"], np.arange(EVERY, UPDATES + 1, EVERY)) or verify(path):
        return f"WRONG metrics {len(run.metrics)}, {verify(path)}"
    if growth > GROWTH:
        return f"WRONG memory grows by {growth:.1f} bytes an update, {memory[half]} bytes at half"
    return "every row right to 1e-6, memory flat"


def record(path: Path, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Records a random walk, and returns the distances of its twin (row, 1 + layer) and the memory on the way."""
    torch.set_num_threads(1)
    model = Weights()
    motion = torch.from_numpy(rng.normal(0, 1e-3, (4099, LAYERS * WIDTH)).astype("float32"))
    starts, memory, weights = np.arange(0, LAYERS * WIDTH, WIDTH), list[int](), model.flat.numpy()
    wanted = np.full((UPDATES, 1 + LAYERS), np.nan)  # filled, so that its memory is there from the start
    with Recorder(path, model, snapshots=UPDATES // 10) as recorder:
        for t in range(1, UPDATES + 1):
            model.flat += motion[t % len(motion)]
            recorder.update()
            squares = np.add.reduceat(np.square(weights, dtype="float64"), starts)
            np.sqrt(squares, out=wanted[t - 1, 1:])
            wanted[t - 1, 0] = np.sqrt(squares.sum())
            if t % EVERY == 0:
                recorder.log(loss=float(t))
                recorder.flush()
                memory.append(resident())
    return wanted, memory


def resident() -> int:
    """Returns the bytes of this process that lie in memory, after a collection."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
