"""Snapshots of weights, against other ways to write them."""

import os
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from statistics import median

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

from trajectory import At, Recorder
from trajectory.storage.arrays import hash_of
from trajectory.storage.location import open_backend
from trajectory.storage.root import read_root, write_root


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
                title = (
                    f"{name} weights: what the writing thread does, each by itself; the hash is made beside the rest"
                )
                report.table(title, ["", "ms", "ratio", "quartiles"], comparison(by_part, 1e3, 1))
                writing = [total - stood for stood, total in results["Recorder"]]
                throughput[name] = median(ratios({**totals, "writing": writing}, "plain file", "writing"))
            elif name == "124 M":
                stall = median(ratios(stalls, "Recorder", "clone on the device"))
    for name, value in throughput.items():
        report.target(f"CPU: throughput of the thread that writes, over a plain file's, {name}", value, at_least=0.8)
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
        "plain file": lambda: finished(lambda: write_plain(folder, host), lambda: None),
        "Recorder": lambda: finished(weights.optimizer.step, recorder.flush),
        "torch.save": lambda: finished(save, lambda: None),
        "checkpoint.async_save": save_async,
        "clone on the device": lambda: finished(lambda: weights.flat(), lambda: None),
    }


def writing_parts(weights: Weights, folder: Path) -> dict[str, Callable[[], float]]:
    """What the recorder's thread makes of weights on the host, and a plain file of them: each returns its seconds."""
    host = weights.flat().numpy()
    with Recorder(folder / "parts.zarr", weights, weights.optimizer, schedule=At(()), snapshots=1) as recorder:
        at = open_backend(recorder.path)
    group, names = zarr.open_group(at.root, mode="r+", use_consolidated=False), ["weights", "blake3.weights", "step"]

    def lengthen() -> list[zarr.Array]:
        arrays = [group[f"snapshots/{name}"].with_config({"write_empty_chunks": True}) for name in names]
        for array in arrays:
            array.resize((array.shape[0] + 1, *array.shape[1:]))
        return arrays

    def write_chunk(array: zarr.Array) -> None:
        array[-1:] = host[None]

    def commit() -> None:
        write_root(at, read_root(at))

    def timed(part: Turn) -> float:
        clear(folder)
        return seconds(part)

    def timed_chunk() -> float:
        array = lengthen()[0]
        return timed(lambda: write_chunk(array))

    return {
        "plain file": lambda: timed(lambda: write_plain(folder, memoryview(host).cast("B"))),
        "the chunk, by Zarr": timed_chunk,
        "opening and lengthening three arrays": lambda: timed(lengthen),
        "the commit": lambda: timed(commit),
        "the hash": lambda: timed(lambda: hash_of(host)),
    }


def clear(folder: Path) -> None:
    """Every way writes a new file, into the memory that earlier turns have given back."""
    for earlier in ("plain", "save.pt"):
        (folder / earlier).unlink(missing_ok=True)
    for chunk in folder.glob("*.zarr/snapshots/weights/c/*"):
        shutil.rmtree(chunk)
    os.sync()


def write_plain(folder: Path, data: memoryview) -> None:
    """Bytes to a file."""
    with open(folder / "plain", "wb") as file:
        file.write(data)
