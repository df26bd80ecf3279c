"""Costs against the number of weights and of updates, of reading what was written, and of waiting for the disk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest import mock

import numpy as np
import psutil
import torch
from recording.fixed_cost import by_layers
from recording.networks import Weights, layers
from recording.report import NOT_RUN, Report, devices, record, repeated, rounds_of, scratch, where

from analysis.figures import save
from analysis.figures.axes import updates as updates_label
from analysis.figures.colours import COLOURS
from analysis.figures.legends import legend
from analysis.figures.style import DOUBLE, PaperFigure, style
from trajectory import Every, Recorder, Run
from trajectory.recording.rows import BLOCK
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store

FIGURE = Path("docs/figures/recording-cost.png")


def measure_growth(report: Report, scale: float) -> None:
    """Time against weights and layers; time, store and memory against updates; a figure of them."""
    stages = list(updates([10**k for k in range(3, 7 if scale >= 1 else 5)]))  # before large weights take memory
    times = {}
    for device in devices():
        sizes = [10**k for k in range(5, 9 if device == "cpu" else 10)]
        times[device] = {n: recorded_update(n, device, rounds_of(15, scale)) for n in sizes}
        rows = [[f"10^{len(str(n)) - 1}", f"{1e3 * s:.3f}", f"{1e9 * s / n:.3f}"] for n, s in times[device].items()]
        report.table(f"A recorded update, {where(device)}", ["weights", "ms", "ns/weight"], rows)
    if "cuda" not in times:
        report.lines += ["\n### A recorded update, GPU\n", NOT_RUN]
    counts = by_layers([10**k for k in range(1, 5 if scale >= 1 else 4)], rounds_of(15, scale))
    rows = [[f"{n}", f"{1e3 * a:.2f}", f"{1e3 * b:.2f}", f"{b / a:.2f}"] for n, (a, b) in counts.items()]
    report.table("A step of many tensors of 8×8, CPU", ["tensors", "ms alone", "ms recorded", "ratio"], rows)
    head = ["updates", "µs/update", "store, MB", "bytes/update", "process, MB"]
    rows = [
        [f"10^{len(str(t)) - 1}", f"{1e6 * s:.1f}", f"{1e-6 * size:.2f}", f"{size / t:.1f}", f"{1e-6 * memory:.0f}"]
        for t, s, size, memory in stages
    ]
    report.table("Ten parameters of one weight each, every update recorded, CPU", head, rows)
    head = ["updates", "close, s", "files", "opened, ms", "distance, ms", "layers, ms"]
    rows = [closed(10**k, layers=20) for k in ((4, 5, 6) if scale >= 1 else (4, 5))]
    report.table("A closed run of 20 layers", head, rows)
    report.table(
        "A flush, which waits for the disk",
        ["recorded since the last one", "ms", "ms without syncing"],
        flushes(rounds_of(20, scale)),
    )
    save(draw(times, counts, stages), FIGURE)
    report.lines += [f"\nDrawn in `{FIGURE}`."]


def recorded_update(weights: int, device: str, rounds: int) -> float:
    """Seconds."""
    with scratch() as folder:
        network = Weights(layers(weights), device)
        record(folder / "run.zarr", network, network.optimizer).flush()
        steps = max(1, 5_000_000 // weights)
        turn = partial(repeated, network.optimizer.step, lambda: None, steps, device)
        turn()
        return median(turn() for _ in range(rounds))


def updates(stages: Sequence[int]) -> Iterator[tuple[int, float, int, int]]:
    """At each number of updates: median seconds an update since the stage before, the store's and process's bytes."""
    with scratch() as folder:
        network = Weights([(1,)] * 10, "cpu")
        network.optimizer.param_groups[0]["lr"] = 1e-6
        for parameter in network.parameters():  # numbers that stay the same would take no room
            parameter.grad = torch.randn_like(parameter)
        network.optimizer.step()  # seconds: torch imports its compiler at the first step
        with Recorder(folder / "run.zarr", network, network.optimizer) as recorder:
            for stage in stages:
                pieces = range(recorder.step, stage, 1000)
                taken = median(repeated(network.optimizer.step, lambda: None, 1000, "cpu") for _ in pieces)
                recorder.flush()
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                yield stage, taken, size, psutil.Process().memory_info().rss


def closed(rows: int, layers: int) -> list[str]:
    """Write random distances as a recorder does, close the run, and time what a reader asks for first."""
    with scratch() as folder:
        names = [f"layer{k}" for k in range(layers)]
        parameters = tuple(TensorSpec(name, (1,), "float32", k) for k, name in enumerate(names))
        schedules = ((0, Every(1)),)
        metadata = RunMetadata(
            parameters=parameters, groups=Groups.single(names), origin_norm=1.0, schedules=schedules
        )
        backend = open_backend(folder / "run.zarr")
        store = create_store(backend, metadata, weight_dtype="float32", buffer_bytes=0, overwrite=False)
        random = np.random.default_rng(0)
        for start in range(1, rows + 1, BLOCK):
            steps = np.arange(start, min(start + BLOCK, rows + 1))
            store.append_rows(np.column_stack([steps, random.lognormal(size=(len(steps), layers + 1))]))
            store.append_metrics([(int(step), {"learning_rate": 0.1}) for step in steps])
        seconds = [timed(partial(store.close, "complete"))]
        files = sum(file.is_file() for file in folder.rglob("*"))
        run = Run(folder / "run.zarr")
        asked = (lambda: Run(folder / "run.zarr"), lambda: run.distance, run.layers)
        milliseconds = [f"{1e3 * timed(call):.0f}" for call in asked]
    return [f"10^{len(str(rows)) - 1}", f"{seconds[0]:.1f}", str(files), *milliseconds]


def flushes(rounds: int) -> list[list[str]]:
    """Time flushes of 64 updates, of a commit besides, of a snapshot, and a close: as they are, and without syncing.

    The two take turns in one process, so that a busy machine slows both alike.
    """
    measured = []
    cases = {"64 updates": (64, 64), "1024 updates, a commit of rows": (1024, 64), "a snapshot of 40 MB": (1, 10**7)}
    for name, (updates, weights) in cases.items():
        with scratch() as folder:
            network = Weights(layers(weights), "cpu")
            network.optimizer.step()
            snapshots = 1 if weights > 64 else None
            with Recorder(folder / "run.zarr", network, network.optimizer, snapshots=snapshots) as recorder:
                synced, unsynced = [], []
                for _ in range(rounds):
                    for seconds in (synced, unsynced):
                        recorder.flush()
                        for _ in range(updates):
                            network.optimizer.step()
                        seconds.append(timed(recorder.flush, sync=seconds is synced))
        measured.append([name, f"{1e3 * median(synced):.1f}", f"{1e3 * median(unsynced):.1f}"])
    return [*measured, closes(rounds)]


def closes(rounds: int) -> list[str]:
    """Time closing runs of 1024 updates likewise."""
    synced, unsynced = [], []
    network = Weights(layers(64), "cpu")
    for _ in range(rounds):
        for seconds in (synced, unsynced):
            with scratch() as folder:
                recorder = record(folder / "run.zarr", network, network.optimizer)
                for _ in range(1024):
                    network.optimizer.step()
                recorder.flush()
                seconds.append(timed(recorder.close, sync=seconds is synced))
    return ["`close()`", f"{1e3 * median(synced):.1f}", f"{1e3 * median(unsynced):.1f}"]


def timed(call: Callable[[], object], *, sync: bool = True) -> float:
    """Seconds; without waiting for the disk where `sync` is False."""
    with nullcontext() if sync else mock.patch("os.fsync", return_value=None):
        start = perf_counter()
        call()
        return perf_counter() - start


def draw(
    times: Mapping[str, Mapping[int, float]],
    counts: Mapping[int, tuple[float, float]],
    stages: Sequence[tuple[int, float, int, int]],
) -> PaperFigure:
    """Time against weights and layers, and bytes against updates, on logarithmic axes with lines of slope 1."""
    t, _, size, memory = (np.array(column, float) for column in zip(*stages, strict=True))
    with style():
        figure = PaperFigure(DOUBLE, 2.5)
        left, middle, right = figure.subplots(1, 3)
        for colour, (device, measured) in zip(COLOURS, times.items(), strict=False):
            n, seconds = np.array(list(measured), float), np.array(list(measured.values()))
            left.plot(n, 1e3 * seconds, "o-", color=colour, label=f"recorded update, {where(device)}")
            left.plot(n, 1e3 * seconds[-1] * n / n[-1], ":", color="grey", label="proportional")
        n = np.array(list(counts), float)
        for k, label in enumerate(("step alone", "step recorded")):
            middle.plot(
                n, 1e3 * np.array([pair[k] for pair in counts.values()]), "^-", color=COLOURS[4 + k], label=label
            )
        middle.plot(n, 1e3 * counts[int(n[-1])][0] * n / n[-1], ":", color="grey", label="proportional")
        middle.set(xscale="log", yscale="log", xlabel="tensors of 8×8", ylabel="time (ms)")
        right.plot(t, 1e-6 * size, "s-", color=COLOURS[2], label="store")
        right.plot(t, 1e-6 * memory, "D-", color=COLOURS[3], label="process")
        right.plot(t, 1e-6 * size[-1] * t / t[-1], ":", color="grey", label="proportional")
        left.set(xscale="log", yscale="log", xlabel="weights", ylabel="time (ms)")
        right.set(xscale="log", yscale="log", xlabel=updates_label(), ylabel="size (MB)")
        legend(figure)
    return figure
