"""The steady walk of a small perceptron beside the loss around it: basin or random potential (docs/landscape.md).

    python bench/basin.py --data-root data --out basin
    python bench/basin.py --out basin --export docs/results/basin.json

F1 cut to 64-64-64-64-10 on images of 8 × 8, as in bench/long_curves.py. Each seed is one file, and one that is there
is kept, so that the command goes on where it was stopped. A seed takes half a minute of one free core.

--export packs the files into one, with four significant digits. `python bench/landscape_tables.py` reads it.
"""

import argparse
import json
from functools import cache
from pathlib import Path
from time import process_time

import torch
from study.basin import measure
from study.recording import eight_by_eight
from study.rounding import rounded
from study.settings import SETTINGS

SEEDS = {
    "batch-16-rate-0.05-memory-1000": 8,
    "batch-64-rate-0.05-memory-1000": 5,
    "batch-16-rate-0.05-memory-250": 3,
}
"""Settings of `study.settings`, and how many seeds of each."""


def main() -> None:
    """Measures what is missing, or packs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("basin"), help="folder of the measured seeds")
    parser.add_argument("--export", type=Path, metavar="FILE", help="pack the seeds of --out instead of measuring")
    options = parser.parse_args()
    if options.export is not None:
        found = [path.read_text() for path in sorted(options.out.glob("*.json"))]
        options.export.write_text("[\n" + ",\n".join(found) + "\n]\n")
        return
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    samples = cache(lambda name, noise: eight_by_eight(name, noise, options.data_root))
    settings = {setting.name: setting for setting in SETTINGS}
    for name, seeds in SEEDS.items():
        for seed in range(seeds):
            path = options.out / f"{name}-{seed}.json"
            if path.exists():
                continue
            clock = process_time()
            found = measure(settings[name], seed, *samples(settings[name].data, settings[name].label_noise))
            path.write_text(json.dumps(rounded(found)))
            print(f"{path}: {process_time() - clock:.0f} s", flush=True)


if __name__ == "__main__":
    main()
