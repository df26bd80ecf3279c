"""What a form of snapshots costs and saves, on the snapshots of a real run.

    python bench/snapshots.py RUN.zarr [--rounds 5] [--out bench/results/snapshots.txt]

RUN: a run of `ultraslow train` or of a `Recorder`, whose snapshots are float32. Every snapshot is written again in
each form to a store in a temporary folder, the forms taking turns; beside them a plain file of the same bytes.
Printed: the bytes of a snapshot's weights on the disk, medians of the seconds to write and to hash it, and what a
form does to ‖w_t − w_0‖ between the run's first snapshot and each other one (largest relative error).
"""

import argparse
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import zarr

from trajectory import Run
from trajectory.measure.tracked_parameters import weight_specs
from trajectory.schema.metadata import RunMetadata, SnapshotFormat
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.arrays import hash_of
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store
from trajectory.storage.writer import StoreWriter

FORMS = [(dtype, compression) for dtype in ("float32", "bfloat16") for compression in (None, "zstd")]


def flat(run: Run, step: int) -> torch.Tensor:
    """A snapshot's trainable weights, one after the other."""
    state = run.state_dict(step)
    return torch.cat([state[name].float().reshape(-1) for name, *_ in run.parameter_specs["parameters"]])


def new_store(path: Path, weights: torch.Tensor, dtype: str, compression: str | None) -> StoreWriter:
    """An empty store that keeps snapshots in a form."""
    specs = weight_specs({"weights": weights})
    return create_store(
        open_backend(path),
        RunMetadata(
            parameters=tuple(specs),
            groups=Groups.single(spec.name for spec in specs),
            snapshot=SnapshotFormat(dtype, compression),
            origin_norm=1.0,
        ),
        weight_dtype="float32",
        buffer_bytes=0,
        overwrite=False,
    )


def stored(weights: torch.Tensor, dtype: str) -> np.ndarray:
    """The weights as a snapshot's thread gets them."""
    if dtype == "float32":
        return weights.numpy()
    return weights.bfloat16().view(torch.int16).numpy().view("uint16")


def main() -> None:
    """Writes every snapshot in every form and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    run = Run(options.run)
    weights = [flat(run, step) for step in run.snapshots]
    none = np.empty(0, dtype="uint8")
    seconds: dict[object, list[float]] = {form: [] for form in [*FORMS, "plain file", "hash"]}
    sizes: dict[tuple[str, str | None], list[int]] = {form: [] for form in FORMS}
    for round_ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            stores = {form: new_store(Path(folder) / f"{k}.zarr", weights[0], *form) for k, form in enumerate(FORMS)}
            for k, snapshot in enumerate(weights):
                for form in FORMS:
                    values = stored(snapshot, form[0])
                    started = time.perf_counter()
                    stores[form].append_snapshot(k, values, none)
                    seconds[form].append(time.perf_counter() - started)
                started = time.perf_counter()
                (Path(folder) / "plain").write_bytes(snapshot.numpy())
                seconds["plain file"].append(time.perf_counter() - started)
                started = time.perf_counter()
                hash_of(snapshot.numpy())
                seconds["hash"].append(time.perf_counter() - started)
            if round_ == 0:
                for form in FORMS:
                    chunks = Path(folder, f"{FORMS.index(form)}.zarr", "snapshots", "weights", "c")
                    sizes[form] = [file.stat().st_size for file in chunks.glob("*/0")]
            for store in stores.values():
                store.close("complete")
    exact = [float((w.double() - weights[0].double()).norm()) for w in weights]
    rounded = [float((w.bfloat16().double() - weights[0].bfloat16().double()).norm()) for w in weights]
    error = max(abs(a - b) / a for a, b in zip(exact, rounded, strict=True) if a > 0)
    lines = [
        f"python bench/snapshots.py {Path(options.run).name} --rounds {options.rounds}",
        f"{len(weights)} snapshots of {len(weights[0]):,} weights, updates {run.snapshots[0]} to {run.snapshots[-1]}",
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, zarr {zarr.__version__}",
        "",
        f"{'form':<18}{'MB':>8}{'of raw':>9}{'ms':>9}   error of the distance",
    ]
    raw = 4 * len(weights[0])
    for dtype, compression in FORMS:
        size = statistics.mean(sizes[dtype, compression])
        wrong = "none" if dtype == "float32" else f"{error:.1e}"
        name, took = f"{dtype}{' zstd' if compression else ''}", statistics.median(seconds[dtype, compression])
        lines.append(f"{name:<18}{size / 1e6:>8.2f}{size / raw:>8.0%} {1e3 * took:>9.1f}   {wrong}")
    for name in ("plain file", "hash"):
        lines.append(f"{name:<18}{raw / 1e6:>8.2f}{'':>9}{1e3 * statistics.median(seconds[name]):>9.1f}")
    print("\n".join(lines))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
