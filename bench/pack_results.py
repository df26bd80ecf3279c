"""Packs a sweep's runs into one small archive: what the table and the figures show, without weights.

    ultraslow sweep docs/reproduction.toml
    python bench/pack_results.py docs/reproduction.toml --out docs/results/reproduction.tar.xz

Distances are kept at 24 updates a decade to five significant digits, and what was logged at the end of each epoch.
`ultraslow table` and `ultraslow plot` read what is in it:

    mkdir -p results && tar xf docs/results/reproduction.tar.xz -C results && ultraslow table results

Runs of the sweep that are not complete are left out, and named.
"""

import argparse
from pathlib import Path

from real_curves import complete, pack

from train.sweeps.spec import read_sweep
from trajectory import Run

METRICS = ("epoch", "train_error", "validation_error", "wall_time")


def main() -> None:
    """Packs what is complete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path, help="the sweep")
    parser.add_argument("--out", type=Path, default=Path("docs/results/reproduction.tar.xz"))
    options = parser.parse_args()
    paths = [Path(run.path) for run in read_sweep(options.spec).runs]
    done = [path for path in paths if complete(path)]
    for path in (path for path in paths if path not in done):
        print(f"{path}: left out, not complete")
    pack([Run(path) for path in done], options.out, METRICS)
    print(f"{options.out}: {len(done)} runs, {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
