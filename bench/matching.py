"""F1 at large batches: distance-matched drop, fixed-epoch drop and regime adaptation, for docs/matching.md.

    python bench/matching.py --data-root data --out runs/matching [--only mnist]
    python bench/matching.py --out runs/matching --report [--figures FOLDER]

The reference is batch 128 at learning rate .1 for three epochs, ÷ 10 after two: 936 of 1404 updates, three seeds. The
large batches, 1024 (two seeds) and 4096 (one), have the √-scaled rate and ghost batches of 128:

    fixed    the reference's epochs: 1/8 and 1/32 of its updates
    adapted  regime adaptation: its updates, 8 and 32 times its epochs
    matched  the drop where the run has travelled as far as the reference at its drop (mean of the seeds), then
             as many updates as the reference makes after it; 1.5 times its updates at the most; a warm-up over 100

and, one seed each, the first two with that warm-up (at 4096 the fixed run is over before it) and matched runs at 1024
with one over 50 and 200 updates. Runs that are there and complete are kept. One thread each is enough:
OMP_NUM_THREADS=1, and one call for each data set side by side.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from math import nan
from pathlib import Path

import pandas as pd
from real_curves import complete
from transient import report as first_updates

from analysis import figures, match
from train.configs.config import MATCH_WARMUP_STEPS, TrainConfig
from train.configs.plan import LONGEST
from train.configs.recipes import f1_fashion_mnist, f1_mnist
from train.engine.run_training import train
from trajectory import Run

SMALL_SEEDS = 3
LARGE_SEEDS = {1024: 2, 4096: 1}  # an update at 4096 costs as much as 32 of the reference's
ORIGIN = 100  # recorded by every run, so that all can be matched from there as well
FIRST_UPDATES = (5, 20, 50, 100, 150, 200, 300)
METHODS = ("matched", "fixed", "adapted")
WARM = {"fixed": (1024,), "adapted": (1024, 4096)}  # controls of one seed: who gets the warm-up too
WARM_UPS = {1024: (50, 200)}  # further ones of matched runs, of one seed


def experiments(out: Path) -> Iterator[tuple[Path, TrainConfig]]:
    """Path and configuration of every run, the first seed of everything before further ones."""
    for name, recipe in (("mnist", f1_mnist()), ("fashion-mnist", f1_fashion_mnist())):
        small = replace(recipe, epochs=3, drops=((2, 0.1),), origins=(ORIGIN,), label="128")
        reference = [out / f"{name}-128-{seed}.zarr" for seed in range(SMALL_SEEDS)]
        for seed, path in enumerate(reference):
            yield path, replace(small, seed=seed)
        for seed in range(max(LARGE_SEEDS.values())):
            for batch_size in (size for size, seeds in LARGE_SEEDS.items() if seed < seeds):
                chosen: list[tuple[str, int | None]] = [(method, None) for method in METHODS]
                if seed == 0:
                    chosen += [(method, MATCH_WARMUP_STEPS) for method, sizes in WARM.items() if batch_size in sizes]
                    chosen += [("matched", warmup_steps) for warmup_steps in WARM_UPS.get(batch_size, ())]
                for method, warmup_steps in chosen:
                    config = replace(_large(small, batch_size, method, reference), seed=seed)
                    run = f"{name}-{batch_size}-{method}"
                    if warmup_steps is not None:
                        config = replace(
                            config, warmup_steps=warmup_steps, label=f"{config.label}, warm-up {warmup_steps}"
                        )
                        run += f"-warm-{warmup_steps}"
                    yield out / f"{run}-{seed}.zarr", config


def _large(small: TrainConfig, batch_size: int, method: str, reference: list[Path]) -> TrainConfig:
    large = replace(
        small, batch_size=batch_size, lr_scaling="sqrt", ghost_batch_size=128, label=f"{batch_size} {method}"
    )
    if method == "fixed":
        return large
    large = replace(large, regime_adaptation=True)
    if method == "adapted":
        return large
    return replace(large, epochs=LONGEST * small.epochs, match=tuple(map(str, reference)))


COLUMNS = {
    "updates": 0,
    "epochs": 1,
    "wall time, s": 0,
    "drop at": 0,
    "distance there": 2,
    "validation error, %": 2,
}  # and their digits


def measured(run: Run) -> dict[str, float]:
    """One run's numbers; NaN for a drop that it did not make."""
    end = run.metrics.dropna(subset=["validation_error"]).iloc[-1]
    drop = run.drops[0].step if run.drops else None
    values = (
        run.distance.index[-1],
        end["epoch"],
        end["wall_time"],
        nan if drop is None else drop,
        nan if drop is None else run.distance[drop],
        100 * end["validation_error"],
    )
    return dict(zip(COLUMNS, map(float, values), strict=True))


def report(out: Path, folder: Path | None) -> None:
    """The table of the runs that are there, mean ± std over seeds, and figures in `folder`."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for path, config in experiments(out):
        if complete(path):
            groups.setdefault((config.dataset, config.label), []).append(Run(path))
    print("| data | run | seeds | " + " | ".join(COLUMNS) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for (dataset, label), runs in groups.items():
        frame = pd.DataFrame([measured(run) for run in runs])
        cells = [_spread(frame[name], digits) for name, digits in COLUMNS.items()]
        print(f"| {dataset} | {label} | {len(runs)} | " + " | ".join(cells) + " |")
    first = {" ".join(name): runs[0] for name, runs in groups.items() if "fixed" not in name[1]}
    first_updates(first, FIRST_UPDATES)
    first_updates(first, FIRST_UPDATES[-3:], ORIGIN)
    replays(out, [run for group in groups.values() for run in group])
    for dataset in {dataset for dataset, _ in groups} if folder else ():
        shown = (group for (data, label), group in groups.items() if data == dataset and "warm-up" not in label)
        runs = [run for group in shown for run in group]  # without the controls
        drawn = {"distance": figures.distance(runs, log_t=True), "error": figures.error(runs, against="updates")}
        for kind, figure in drawn.items():
            figures.save(figure, folder / f"matching-{dataset}-{kind}.png")


def replays(out: Path, runs: list[Run]) -> None:
    """What the matcher says of each large batch that goes beyond the transient, from w_0 and from the origin."""
    print(f"\n| run | from w_0 | from w_{ORIGIN} |\n|---|---|---|")
    for run in (run for run in runs if run.config["batch_size"] > 128 and "fixed" not in run.config["label"]):
        reference = [out / f"{run.config['dataset']}-128-{seed}.zarr" for seed in range(SMALL_SEEDS)]
        found = [match(reference, run, origin=origin).matches[0] for origin in (0, ORIGIN)]
        cells = [f"{one.status} at {one.step} ({one.distance:.2f} of {one.target:.2f})" for one in found]
        print(f"| {run.name} | " + " | ".join(cells) + " |")


def _spread(values: pd.Series, digits: int) -> str:
    if values.isna().any():
        return "none" if values.isna().all() else f"{values.count()} of {len(values)}"
    std = f" ± {values.std():.{digits}f}" if values.nunique() > 1 else ""
    return f"{values.mean():.{digits}f}{std}"


def main() -> None:
    """Trains what is missing, or reports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("runs/matching"))
    parser.add_argument("--only", help="data set: mnist or fashion-mnist")
    parser.add_argument("--report", action="store_true", help="train nothing, print the table")
    parser.add_argument("--figures", type=Path, help="with --report, the folder to draw to")
    options = parser.parse_args()
    for path, config in () if options.report else experiments(options.out):
        if options.only in (None, config.dataset) and not complete(path):
            train(config, path, data_root=options.data_root, overwrite=path.exists())
            print(path, flush=True)
    if options.report:
        report(options.out, options.figures)


if __name__ == "__main__":
    main()
