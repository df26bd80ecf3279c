"""The first transient of F1: how far the first updates throw the weights, for docs/matching.md.

    python bench/transient.py --data-root data --out runs/transient [--only mnist] [--cases 1024]

MNIST and Fashion-MNIST, learning rate .1, √-scaled or not, ghost batches of 128 or not, with warm-ups of several
lengths. A run that is there and complete is kept; those that are missing are trained first, for some minutes each.
Prints the distance from w_0, and from an origin after the transient, at a few updates.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from real_curves import complete

from train.loop import train
from train.recipes import Config, f1_fashion_mnist, f1_mnist
from trajectory import Run

SHOWN = (1, 5, 10, 20, 30, 50, 100, 150, 200)
ORIGINS = (100,)
TRAIN_SIZE = 60_000
WARM_UPS = (0, 50, 100)


def cases() -> dict[str, Config]:
    """The configurations, by name."""
    found = {}
    for name, small in (("mnist", f1_mnist()), ("fashion-mnist", f1_fashion_mnist())):
        found[f"{name} 128"] = _cut(small, 200)
        found[f"{name} 4096"] = _cut(replace(small, batch_size=4096), 100)
        found[f"{name} 4096 √"] = _cut(replace(small, batch_size=4096, lr_rule="sqrt"), 100)
        for batch_size in (1024, 4096):
            scaled = replace(small, batch_size=batch_size, lr_rule="sqrt", ghost_batch_size=128)
            for warm_up in WARM_UPS:
                label = f"{name} {batch_size} √ ghost" + f" warm-up {warm_up}" * bool(warm_up)
                found[label] = _cut(replace(scaled, warm_up=warm_up), 200)
    return found


def _cut(config: Config, updates: int) -> Config:
    """The first updates alone, at a constant rate."""
    return replace(config, drops=(), epochs=updates / (TRAIN_SIZE // config.batch_size), snapshots=0, origins=ORIGINS)


def report(paths: dict[str, Path]) -> None:
    """‖w_t − w_0‖ of every case, then ‖w_t − w_{t_w}‖ for each origin."""
    for origin in (0, *ORIGINS):
        print(f"\n| from w_{origin} | " + " | ".join(f"t = {t}" for t in SHOWN) + " |")
        print("|---" * (1 + len(SHOWN)) + "|")
        for name, path in paths.items():
            distance = Run(path).displacement(origin)
            cells = [f"{distance[t]:.1f}" if t in distance.index else "" for t in SHOWN]
            print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Trains what is missing, then prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("runs/transient"))
    parser.add_argument("--only", default="", help="data set: mnist or fashion-mnist")
    parser.add_argument("--cases", default="", help="part of the cases' names")
    options = parser.parse_args()
    chosen = {k: v for k, v in cases().items() if k.startswith(options.only) and options.cases in k}
    paths = {name: options.out / f"{name.replace(' ', '-').replace('√', 'sqrt')}.zarr" for name in chosen}
    for name, config in chosen.items():
        if not complete(paths[name]):
            train(config, paths[name], data_root=options.data_root, overwrite=paths[name].exists())
    report(paths)


if __name__ == "__main__":
    main()
