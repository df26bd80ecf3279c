"""Distance curves of F1 at a constant learning rate, for docs/what-the-data-say.md.

    python bench/real_curves.py --data-root data --out curves [--only mnist-wd]

Small batch 128, learning rate .1, five seeds of 10,296 updates (22 epochs): MNIST and Fashion-MNIST, weight
decay 1e-4 and 0; and one run of MNIST with a fifth of its labels shuffled, which the network does not learn
by heart within the window. Distances from w_0 and from origins after the transient, at 300 updates a
decade. A run that is there and complete is kept. Each takes about three minutes on one core.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from train.loop import train
from train.recipes import Config, f1_fashion_mnist, f1_mnist
from trajectory import Run, UltraslowError

ORIGINS = (100, 1000)


def experiments() -> dict[str, tuple[Config, int]]:
    """name: configuration and number of seeds."""
    found = {}
    for name, recipe in (("mnist", f1_mnist()), ("fashion-mnist", f1_fashion_mnist())):
        constant = replace(recipe, drops=(), epochs=22, snapshots=0, rows=300, origins=ORIGINS)
        found[f"{name}-wd"] = (replace(constant, label=f"{name}, weight decay 1e-4"), 5)
        found[f"{name}-no-wd"] = (replace(constant, weight_decay=0.0, label=f"{name}, no weight decay"), 5)
    shuffled = replace(found["mnist-wd"][0], label_noise=0.2, label="mnist, a fifth of the labels shuffled")
    return {**found, "mnist-shuffled": (shuffled, 1)}


def complete(path: Path) -> bool:
    """Whether an earlier call recorded this run to its end."""
    try:
        return Run(path).status == "complete"
    except UltraslowError:
        return False


def main() -> None:
    """Trains what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("curves"))
    parser.add_argument("--only", help="one experiment's name")
    options = parser.parse_args()
    for name, (config, seeds) in experiments().items():
        for seed in range(seeds if options.only in (None, name) else 0):
            path = options.out / f"{name}-{seed}.zarr"
            if not complete(path):
                train(replace(config, seed=seed), path, data_root=options.data_root, overwrite=path.exists())
            print(path, flush=True)


if __name__ == "__main__":
    main()
