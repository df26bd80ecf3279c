"""One section of bench/gpu.py, in this process: measures, and writes its Markdown after each table."""

import argparse
from collections.abc import Callable
from pathlib import Path

from on_gpu import checks, cifar, fsdp, graphs, kernel, seeds, snapshots, steps
from on_gpu.measured import Measured

SECTIONS: dict[str, Callable[[Measured], None]] = {
    "correctness": checks.correctness,
    "kernel": kernel.measure,
    "steps": steps.measure,
    "graphs": graphs.measure,
    "snapshots": snapshots.measure,
    "fsdp": fsdp.measure,
    "ghost": checks.ghost,
    "trainer": checks.trainer,
    "seeds": seeds.measure,
    "cifar": cifar.measure,
}


def main() -> None:
    """Measures the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, required=True, help="how long it is meant to take")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    options = parser.parse_args()
    given = {"out": options.out, "device": options.device, "seconds": options.seconds, "data_root": options.data_root}
    SECTIONS[options.section](Measured(**given))


if __name__ == "__main__":
    main()
