"""The pass over the weights, against the memory's bandwidth."""

from collections.abc import Sequence
from math import prod
from statistics import median

import torch
from recording.networks import Weights, layers, transformer_shapes
from recording.report import (
    Report,
    comparison,
    devices,
    in_turns,
    ratios,
    record,
    repeated,
    rounds_of,
    scratch,
    seconds,
    where,
)

from train.models import NETWORKS
from trajectory.measure.observables import Observables


def measure_kernel(report: Report, scale: float) -> None:
    """The pass over the weights, and recorded updates that change nothing, against the device's memory bandwidth."""
    f1 = [tuple(p.shape) for p in NETWORKS["f1"]((1, 28, 28), 10).parameters()]
    sizes = {"F1, 1.5 M": f1, "25 M": layers(25_000_000), "transformer, 124 M": transformer_shapes()}
    cpu = {}
    for name, shapes in sizes.items():
        cpu[name] = against_bandwidth(report, name, shapes, "cpu", rounds_of(30, scale))
    for name, value in cpu.items():
        report.target(f"CPU: distance of {name} weights, over reading both buffers", value, at_most=1.3)
    large = {"transformer, 124 M": transformer_shapes(), "1 B": layers(1_000_000_000)}
    for name, shapes in large.items():
        share = None
        if "cuda" in devices():
            share = 1 / against_bandwidth(report, name, shapes, "cuda", rounds_of(30, scale))
        report.target(f"GPU: bandwidth of the kernel over that of a copy, {name}", share, at_least=0.7)


def against_bandwidth(
    report: Report, name: str, shapes: Sequence[tuple[int, ...]], device: str, rounds: int
) -> float:
    """A table; returns the time of a pass over that of moving 8 bytes a weight."""
    with scratch() as folder:
        weights = Weights(shapes, device)
        flat, n, steps = weights.flat(), sum(map(prod, shapes)), max(1, 20_000_000 // sum(map(prod, shapes)))
        other = flat.clone()
        observables = Observables(list(weights.parameters()))
        row = torch.zeros(1, len(shapes), dtype=torch.float64, device=device)
        record(folder / "run.zarr", weights, weights.optimizer).flush()

        def read() -> float:
            """The fastest way found to read two vectors once; on a GPU a copy, which reads one and writes one."""
            if device == "cuda":
                return seconds(lambda: [other.copy_(flat) for _ in range(steps)], device) / steps
            ways = (lambda: torch.dot(flat, other), lambda: (flat.sum(), other.sum()))
            return min(repeated(way, lambda: None, steps, device) for way in ways)

        variants = {
            "copy" if device == "cuda" else "both read once": read,
            "the pass": lambda: repeated(lambda: observables.write(row), lambda: None, steps, device),
            "a recorded update": lambda: repeated(weights.optimizer.step, lambda: None, steps, device),
        }
        in_turns(variants, 2)
        results = in_turns(variants, rounds)
    rows = [[*row, f"{8e-9 * n / median(results[row[0]]):.1f}"] for row in comparison(results, 1e3, 3)]
    report.table(f"{name} weights, {where(device)}", ["", "ms", "ratio", "quartiles", "GB/s"], rows)
    return median(ratios(results, "the pass", next(iter(results))))
