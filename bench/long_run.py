"""A closed run of a million updates and 20 layers: its files, and how long it takes to be read.

    python bench/long_run.py [--updates 1000000] [--layers 20] [--repetitions 5] [--run KEPT]

Each row is written, with the learning rate of its update, as a recorder does it, and the run is closed. Then it is
opened again and again, its files being in the system's cache: seconds until `Run(path).distance` is there, and, from
another opening, until `Run(path).layers()` is. The run is kept where `--run` says, and not written again.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from heading import heading

from trajectory import Run
from trajectory.schedule import Every
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store

BLOCK = 64  # updates that a recorder hands on at once


def main() -> None:
    """Writes a run, or takes one that is there, and reads it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    heading("zarr")
    with tempfile.TemporaryDirectory(prefix="long-run-") as folder:
        path = options.run or Path(folder) / "run.zarr"
        if not path.exists():
            write(path, options.updates, options.layers)
        files = [file for file in path.rglob("*") if file.is_file()]
        print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB")
        readings = {"Run.distance": lambda: Run(path).distance, "Run.layers()": lambda: Run(path).layers()}
        for reading in readings.values():
            reading()  # imports what is imported late
        seconds = {
            name: np.array([clock(reading) for _ in range(options.repetitions)]) for name, reading in readings.items()
        }
        print(f"{'seconds':12s}{'median':>8s}{'least':>8s}{'processor':>11s}")
        for name, taken in seconds.items():
            wall, cpu = taken.T
            print(f"{name:12s}{np.median(wall):8.3f}{wall.min():8.3f}{np.median(cpu):11.3f}")


def write(path: Path, updates: int, layers: int) -> None:
    """Writes a closed run of a random walk."""
    names = [f"layer{k:02d}" for k in range(layers)]
    parameters = tuple(TensorSpec(name, (1,), "float32", k) for k, name in enumerate(names))
    metadata = RunMetadata(
        parameters=parameters, groups=Groups.single(names), origin_norm=1.0, schedules=((0, Every(1)),), id="long run"
    )
    store = create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=False)
    rng, weights = np.random.default_rng(0), np.zeros(layers)
    for start in range(1, updates + 1, BLOCK):
        steps = np.arange(start, min(start + BLOCK, updates + 1))
        walk = weights + np.cumsum(rng.normal(size=(len(steps), layers)), axis=0)
        weights = walk[-1]
        store.append_metrics([(int(step), {"learning_rate": 0.1}) for step in steps])
        store.append_rows(np.column_stack([steps, np.linalg.norm(walk, axis=1), np.abs(walk)]))
    store.close("complete")


def clock(call: Callable[[], object]) -> tuple[float, float]:
    """Returns the seconds that a call takes, of the clock and of the processor."""
    begun, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begun, time.process_time() - used


if __name__ == "__main__":
    main()
