"""On which task is the large batch worse? The settings tried for `ultraslow demo`, for docs/matching.md.

    OMP_NUM_THREADS=1 python bench/demo_task.py --out runs/demo-task

F1 reduced, on scikit-learn's digits: batch 16, the large batch in as many epochs, and the large batch matched to
batch 16 with the √-scaled rate, ghost batches of 16 and a warm-up over 100 updates. The rate is divided by 10 after
half of the epochs, or at the matched distance. Three seeds each; the demo's setting also on five further ones. Runs
that are there and complete are kept.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from real_curves import complete

from train.configs.recipes import f1_digits
from train.engine.run_training import train
from trajectory import Run


class Setting(NamedTuple):
    """What is changed in the recipe, and the seeds."""

    epochs: int
    input_noise: float = 0.5
    label_noise: float = 0.0
    large: int = 256
    seeds: range = range(3)


SETTINGS = (
    *(Setting(epochs) for epochs in (5, 10, 20, 30)),
    Setting(10, seeds=range(10, 15)),
    *(Setting(epochs, input_noise=1.0) for epochs in (10, 20)),
    Setting(10, input_noise=0.0),
    *(Setting(epochs, input_noise=0.0, label_noise=0.2) for epochs in (10, 30)),
    Setting(10, label_noise=0.2),
    *(Setting(epochs, large=640) for epochs in (10, 30)),
)


def trained(out: Path, setting: Setting) -> dict[str, list[Run]]:
    """The runs of each method, trained where they are not there yet."""
    small = replace(
        f1_digits(),
        epochs=setting.epochs,
        drops=((setting.epochs / 2, 0.1),),
        input_noise=setting.input_noise,
        label_noise=setting.label_noise,
        snapshots_per_decade=0,
    )
    folder = out / "-".join(map(str, (*setting[:-1], setting.seeds[0])))
    reference = tuple(str(folder / f"small-{seed}.zarr") for seed in setting.seeds)
    large = replace(small, batch_size=setting.large)
    matched = replace(
        large, lr_scaling="sqrt", ghost_batch_size=16, warmup_steps=100, regime_adaptation=True, match=reference
    )
    runs: dict[str, list[Run]] = {}
    for name, config in (("small", small), ("large", large), ("matched", matched)):
        for seed in setting.seeds:
            path = folder / f"{name}-{seed}.zarr"
            if not complete(path):
                train(replace(config, seed=seed), path, overwrite=True, checkpoint_every=None)
            runs.setdefault(name, []).append(Run(path))
    return runs


def cells(runs: list[Run]) -> str:
    """The errors of the seeds in %, after their mean."""
    errors = [100 * float(run.metrics["validation_error"].dropna().iloc[-1]) for run in runs]
    return f"{sum(errors) / len(errors):.2f} ({', '.join(f'{error:.2f}' for error in errors)})"


def main() -> None:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-task"))
    out = parser.parse_args().out
    columns = ("epochs", "input noise", "labels shuffled", "large batch", "seeds", "batch 16", "large", "matched")
    print(f"| {' | '.join((*columns, 'matched at'))} |\n{'|---' * 9}|")
    for setting in SETTINGS:
        runs = trained(out, setting)
        drops = [str(run.drops[0].step) if run.drops else "none" for run in runs["matched"]]
        seeds = f"{setting.seeds[0]}–{setting.seeds[-1]}"
        row = (*setting[:-1], seeds, *map(cells, runs.values()), ", ".join(drops))
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
