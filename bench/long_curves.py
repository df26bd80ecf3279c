"""Curves of a million updates of a small perceptron, for docs/what-the-data-say.md.

    python bench/long_curves.py --data-root data --out long [--only decay-5e-4]
    python bench/long_curves.py --out long --export docs/curves

F1 cut to 64-64-64-64-10 on images of 8 × 8. `study.settings` lists data, labels, batch norm, batch size, learning
rate and weight decay of each setting, and its seeds. A run is one file; one that is there is kept, so that the
command goes on where it was stopped. A million updates at batch 16 take about a minute of one free core.

--export packs the seeds that are there, three or more of a setting, into one file DIR/long-NAME.npz, rounded to four
significant digits. `python bench/what_the_data_say.py` reads them.
"""

import argparse
from functools import cache
from pathlib import Path

import numpy as np
from study.curve_files import pack
from study.recording import eight_by_eight, record
from study.settings import SETTINGS, Setting

FEWEST_SEEDS = 3  # that give an interval


def train(settings: list[Setting], folder: Path, data_root: str) -> None:
    """Trains what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = cache(lambda name, noise: eight_by_eight(name, noise, data_root))
    for setting in settings:
        for seed in range(setting.seeds):
            path = folder / f"{setting.name}-{seed}.npz"
            if path.exists():
                continue
            curves = record(setting, seed, *samples(setting.data, setting.label_noise))
            part = path.with_suffix(".part.npz")
            np.savez(part, **curves)
            part.rename(path)
            print(f"{path}: {curves['seconds']:.0f} s, loss {curves['loss'][-1]:.3f}", flush=True)


def export(settings: list[Setting], folder: Path, out: Path) -> None:
    """Packs what is there."""
    for setting in settings:
        runs = [folder / f"{setting.name}-{seed}.npz" for seed in range(setting.seeds)]
        there = [run for run in runs if run.exists()]
        if len(there) >= FEWEST_SEEDS:
            path = pack(setting, there, out)
            print(f"{path}: {len(there)} of {setting.seeds} seeds, {path.stat().st_size / 1e3:.0f} kB", flush=True)


def main() -> None:
    """Trains, or exports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("long"), help="folder of the runs")
    parser.add_argument("--export", type=Path, metavar="DIR", help="pack the runs of --out instead of training")
    parser.add_argument("--only", help="one setting's name")
    options = parser.parse_args()
    chosen = [setting for setting in SETTINGS if options.only in (None, setting.name)]
    if options.export is not None:
        export(chosen, options.out, options.export)
    else:
        train(chosen, options.out, options.data_root)


if __name__ == "__main__":
    main()
