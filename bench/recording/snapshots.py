"""Snapshots of weights, against other ways to write them."""

import os
import shutil
from collections.abc import Callable
from itertools import count
from math import prod
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.distributed.checkpoint as checkpoint
import zarr
from recording.networks import Weights, layers, transformer_shapes
from recording.report import (
    Report,
    Turn,
    comparison,
    devices,
    in_turns,
    ratios,
    record,
    rounds_of,
    scratch,
    seconds,
    standing_still,
    where,
)

from trajectory import At
from trajectory.measure.tracked_parameters import weight_specs
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.array_writer import ArrayWriter
from trajectory.storage.arrays import hash_of
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store
from trajectory.storage.root import read_root, write_root
from trajectory.storage.writer import StoreWriter

PLAIN, SNAPSHOT = "plain file", "a snapshot"
SYNCED = ", on the disk"
NO_BUFFERS = np.empty(0, dtype="uint8")


def measure_snapshots(report: Report, scale: float) -> None:
    """Snapshots: how long the training thread stands still, and when the bytes have reached the file system."""
    throughput: dict[str, float] = {}
    stall = None
    for device in devices():
        for name, shapes, rounds in (("25 M", layers(25_000_000), 61), ("124 M", transformer_shapes(), 15)):
            with scratch() as folder:
                weights = Weights(shapes, device)
                size = 4 * sum(map(prod, shapes))
                variants = snapshot_variants(weights, folder, device)
                in_turns(variants, 1)
                results = in_turns(variants, rounds_of(rounds, scale))
                parts = writing_parts(weights, folder) if device == "cpu" else {}
                by_part = in_turns(parts, rounds_of(rounds, scale))
            stalls = {v: [stood for stood, _ in times] for v, times in results.items()}
            totals = {v: [total for _, total in times] for v, times in results.items()}
            rows = [
                [*row, f"{1e-6 * size / median(totals[row[0]]):.0f}", f"{1e3 * median(stalls[row[0]]):.1f}"]
                for row in comparison(totals, 1e3, 0)
            ]
            head = ["", "ms until written", "ratio", "quartiles", "MB/s", "ms the step stands still"]
            report.table(f"A snapshot of {name} weights ({1e-6 * size:.0f} MB), {where(device)}", head, rows)
            if device == "cpu":
                title = f"{name} weights: the thread that writes, as a whole and each part of its work by itself"
                report.table(title, ["", "ms", "ratio", "quartiles"], comparison(by_part, 1e3, 1))
                throughput[name] = median(ratios(by_part, PLAIN, SNAPSHOT))
                throughput[f"{name}, both on the disk"] = median(ratios(by_part, PLAIN + SYNCED, SNAPSHOT + SYNCED))
            elif name == "124 M":
                stall = median(ratios(stalls, "Recorder", "clone on the device"))
    for name, value in throughput.items():
        report.target(f"CPU: throughput of the thread that writes, over a plain file's, {name}", value, at_least=0.9)
    report.target("GPU: the step's stall over a clone on the device, 124 M", stall, at_most=1.2)


def snapshot_variants(weights: Weights, folder: Path, device: str) -> dict[str, Callable[[], tuple[float, float]]]:
    """Ways to keep the weights: each returns the seconds it holds up the training thread, and those until written."""
    state, host = dict(weights.state_dict()), memoryview(weights.flat().cpu().numpy()).cast("B")
    recorder = record(folder / "run.zarr", weights, weights.optimizer, schedule=At(()), snapshots=1)
    recorder.flush()

    def finished(begin: Turn, end: Turn) -> tuple[float, float]:
        clear(folder)
        stood = standing_still(begin, device)
        return stood, stood + seconds(end, device)

    def save() -> None:
        torch.save(state, folder / "save.pt")

    def save_async() -> tuple[float, float]:
        shutil.rmtree(folder / "async", ignore_errors=True)
        saving = []
        return finished(
            lambda: saving.append(checkpoint.async_save(state, checkpoint_id=folder / "async", no_dist=True)),
            lambda: saving[0].result(),
        )

    return {
        PLAIN: lambda: finished(lambda: write_plain(folder, host), lambda: None),
        PLAIN + SYNCED: lambda: finished(lambda: write_plain(folder, host, durable=True), lambda: None),
        "Recorder": lambda: finished(weights.optimizer.step, recorder.flush),
        "torch.save": lambda: finished(save, lambda: None),
        "checkpoint.async_save": save_async,
        "clone on the device": lambda: finished(lambda: weights.flat(), lambda: None),
    }


def writing_parts(weights: Weights, folder: Path) -> dict[str, Callable[[], float]]:
    """What the recorder's thread makes of weights on the host, and a plain file of them: each returns its seconds."""
    host, snapshots, written = weights.flat().numpy(), count(), count()
    store, at = new_store(folder / "whole.zarr", weights), open_backend(folder / "parts.zarr")
    new_store(folder / "parts.zarr", weights).release()
    arrays = ArrayWriter(at, zarr.open_group(at.writable, mode="r+", use_consolidated=False))

    def snapshot() -> None:
        store.append_snapshot(next(snapshots), host, NO_BUFFERS)

    def snapshot_synced() -> None:
        snapshot()
        store.sync(durable=True)

    def small_arrays() -> None:
        k = next(written)
        arrays.extend("snapshots/step", k, np.array([k]))
        arrays.extend("snapshots/blake3.weights", k, np.zeros((1, 32), "uint8"))

    def commit() -> None:
        write_root(at, read_root(at))

    def timed(part: Turn, *before: Turn) -> float:
        clear(folder)
        for turn in before:
            turn()
        return seconds(part)

    plain = memoryview(host).cast("B")
    return {
        PLAIN: lambda: timed(lambda: write_plain(folder, plain)),
        SNAPSHOT: lambda: timed(snapshot),
        "its chunk, by Zarr": lambda: timed(lambda: arrays.extend("snapshots/weights", 0, host[None])),
        "its hash": lambda: timed(lambda: hash_of(host)),
        "its step and its hash, to their arrays": lambda: timed(small_arrays),
        "its commit": lambda: timed(commit, small_arrays),
        PLAIN + SYNCED: lambda: timed(lambda: write_plain(folder, plain, durable=True)),
        SNAPSHOT + SYNCED: lambda: timed(snapshot_synced),
    }


def new_store(path: Path, weights: Weights) -> StoreWriter:
    """An empty store for snapshots of weights."""
    specs = tuple(weight_specs(dict(weights.named_parameters())))
    groups = Groups.single(spec.name for spec in specs)
    metadata = RunMetadata(parameters=specs, groups=groups, origin_norm=1.0)
    return create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=False)


def clear(folder: Path) -> None:
    """Every way writes a new file, into the memory that earlier turns have given back."""
    for earlier in ("plain", "save.pt"):
        (folder / earlier).unlink(missing_ok=True)
    for chunk in folder.glob("*.zarr/snapshots/weights/c/*"):
        shutil.rmtree(chunk)
    os.sync()


def write_plain(folder: Path, data: memoryview, *, durable: bool = False) -> None:
    """Bytes to a file."""
    with open(folder / "plain", "wb") as file:
        file.write(data)
        if durable:
            os.fsync(file.fileno())
