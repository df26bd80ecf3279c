"""How long a step that takes a snapshot stands still, and when the snapshot is written."""

from math import prod
from statistics import median

from recording.networks import Weights, layers, transformer_shapes
from recording.report import comparison, in_turns, ratios, scratch, where
from recording.snapshots import snapshot_variants

from on_gpu.measured import FEWEST_ROUNDS, Measured

ROUNDS = 15


def measure(report: Measured) -> None:
    """A table of the stall and one of the whole, for 124 M weights."""
    shapes = layers(10**6) if report.trial else transformer_shapes()
    with scratch() as folder:
        variants = snapshot_variants(Weights(shapes, report.device), folder, report.device)
        in_turns(variants, 1)
        results = in_turns(variants, FEWEST_ROUNDS if report.trial else ROUNDS)
    names = ["clone on the device", *(name for name in results if name != "clone on the device")]
    stalls = {name: [stood for stood, _ in results[name]] for name in names}
    totals = {name: [total for _, total in results[name]] for name in ("plain file", *names[1:])}
    size = 4e-6 * sum(map(prod, shapes))
    head = ["", "ms", "ratio", "quartiles"]
    report.table(f"The step stands still, {size:.0f} MB, {where(report.device)}", head, comparison(stalls, 1e3, 2))
    report.table(f"Until it is written, {where(report.device)}", head, comparison(totals, 1e3, 1))
    value = median(ratios(stalls, "Recorder", "clone on the device"))
    report.target("a snapshot's stall over a clone on the device", value, at_most=1.2)
