"""The initial transient of F1: how far the first updates carry the weights, for docs/matching.md.

    python bench/transient.py --data-root data --out runs/transient [--only mnist]

MNIST and Fashion-MNIST, the first hundred updates at batch 128 and at 4096 with learning rate .1, √-scaled or not.
A run that is there and complete is kept. Prints the distance from w_0 at a few updates. What becomes of ghost batches
and a warm-up is among the runs of bench/matching.py.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from real_curves import complete

from train.configs.config import TrainConfig
from train.configs.recipes import f1_fashion_mnist, f1_mnist
from train.engine.run_training import train
from trajectory import Run

SHOWN = (1, 5, 10, 20, 30, 50, 100)
UPDATES = SHOWN[-1]
TRAIN_SIZE = 60_000


def cases() -> dict[str, TrainConfig]:
    """The configurations, by name."""
    found = {}
    for name, small in (("mnist", f1_mnist()), ("fashion-mnist", f1_fashion_mnist())):
        found[f"{name} 128"] = small
        found[f"{name} 4096"] = replace(small, batch_size=4096)
        found[f"{name} 4096 √"] = replace(small, batch_size=4096, lr_scaling="sqrt")
    return {name: _cut(config) for name, config in found.items()}


def _cut(config: TrainConfig) -> TrainConfig:
    """The first updates alone, at a constant rate."""
    return replace(config, drops=(), epochs=UPDATES / (TRAIN_SIZE // config.batch_size), snapshots_per_decade=0)


def report(runs: Mapping[str, Run], shown: Sequence[int], origin: int = 0) -> None:
    """A table of ‖w_t − w_origin‖, by the runs' names."""
    print(f"\n| from w_{origin} | " + " | ".join(f"t = {t}" for t in shown) + " |")
    print("|---" * (1 + len(shown)) + "|")
    for name, run in runs.items():
        distance = run.displacement(origin)
        cells = [f"{distance[t]:.1f}" if t in distance.index else "" for t in shown]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Trains what is missing, then prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("runs/transient"))
    parser.add_argument("--only", default="", help="data set: mnist or fashion-mnist")
    options = parser.parse_args()
    chosen = {k: v for k, v in cases().items() if k.startswith(options.only)}
    paths = {name: options.out / f"{name.replace(' ', '-').replace('√', 'sqrt')}.zarr" for name in chosen}
    for name, config in chosen.items():
        if not complete(paths[name]):
            train(config, paths[name], data_root=options.data_root, overwrite=paths[name].exists())
    report({name: Run(path) for name, path in paths.items()}, SHOWN)


if __name__ == "__main__":
    main()
