"""What recording costs a training step, a snapshot and a pass over the weights, and how the costs grow.

    python bench/recorder.py [--only step|fixed|parts|snapshot|kernel|growth] [--rounds 1.0] [--results bench/results]

Everything is timed against what one would write instead, in turns: each round runs every variant once, in random
order, and a variant's ratio is its time over the first one's of the same round. Tables hold medians over rounds and
the quartiles of the ratio. With a GPU everything is measured there as well; without one, the results say so where
its figures would stand. `--rounds 0.1` is a tenth of the rounds, to try it out.

step: F1 and ResNet44 at batch 128 and a transformer of GPT-2's smallest shape (124 M weights), SGD with momentum.
fixed: a step of 20 tensors of 8×8, which is short, so that what recording costs for any weights shows.
parts: where the time of that goes.
snapshot: the weights of the transformer and of a network of 25 M weights, to a local file system. The thread that
writes begins when the weights are copied, which is what the step stands still for. What it writes is compared with a
plain file as it is, and when both are on the disk, where `Recorder.flush` and `async_save` wait for it.
kernel: the pass over the weights and a whole recorded update, whose optimizer has nothing to do, against reading w
and w_0 once.
growth: such an update against the number of weights, a step against that of layers; time, store and memory against
the number of updates.
"""

import argparse
import os
import platform
from collections.abc import Callable
from pathlib import Path

import torch
import zarr
from recording.fixed_cost import measure_fixed_cost
from recording.fixed_parts import measure_fixed_parts
from recording.growth import measure_growth
from recording.kernel import measure_kernel
from recording.report import Report
from recording.snapshots import measure_snapshots
from recording.steps import measure_steps


def machine() -> str:
    """What the figures belong to."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    processor = models[0].split(": ")[1] if models else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {gpu}; {platform.system()}, Python"
        f" {platform.python_version()}, torch {torch.__version__}, zarr {zarr.__version__}."
        f" Load when it began: {os.getloadavg()[0]:.1f}."
    )


SECTIONS: dict[str, tuple[str, Callable[[Report, float], None]]] = {
    "step": ("Training steps", measure_steps),
    "fixed": ("What an update costs whatever the weights' number", measure_fixed_cost),
    "parts": ("Where the time of an update goes, whatever the weights' number", measure_fixed_parts),
    "snapshot": ("Snapshots", measure_snapshots),
    "kernel": ("A pass over the weights", measure_kernel),
    "growth": ("How the costs grow", measure_growth),
}


def main() -> None:
    """Measures, prints, and writes one file a section."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--rounds", type=float, default=1.0, help="times the usual number of rounds")
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for name in options.only or SECTIONS:
        title, measure = SECTIONS[name]
        host, report = machine(), Report()
        measure(report, options.rounds)
        command = f"python bench/recorder.py --only {name}" + (
            f" --rounds {options.rounds:g}" if options.rounds != 1 else ""
        )
        text = f"# {title}\n\nWritten by `{command}`.\n{host}\n{report.text()}"
        print(text, flush=True)
        (options.results / f"recorder-{name}.md").write_text(text)


if __name__ == "__main__":
    main()
