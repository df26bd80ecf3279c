"""The pass over the weights against a copy, from 10^6 to 10^9 weights."""

from recording.kernel import against_bandwidth
from recording.networks import layers, transformer_shapes

from on_gpu.measured import Measured

ROUNDS = 15


def measure(report: Measured) -> None:
    """A table for each size, and the share of a copy's bandwidth."""
    sizes = {f"10^{k}": layers(10**k) for k in ((6, 7) if report.trial else (6, 7, 8, 9))}
    if not report.trial:
        sizes["transformer, 124 M"] = transformer_shapes()
    for name, shapes in sizes.items():
        share = 1 / against_bandwidth(report, name, shapes, report.device, ROUNDS)
        wanted = 0.7 if name in ("10^9", "transformer, 124 M") else 0.0
        if wanted:
            report.target(f"bandwidth of the pass over a copy's, {name} weights", share, at_least=wanted)
        else:
            report.say(f"Bandwidth of the pass over a copy's, {name} weights: {share:.2f}.")
