"""Distance curves of a small convolutional network, steady, for docs/what-the-data-say.md.

    python bench/conv_curves.py --data-root data --out curves [--only cifar10]
    python bench/conv_curves.py --out curves --export docs/curves

ResNet8 (He et al. 2016, n = 1; 75,290 parameters) on Fashion-MNIST, the grey images in each of its three channels,
and on CIFAR-10; batch 16, learning rate .1, weight decay 2e-3 and momentum .9: a memory time of 500 updates. Five
seeds each of 7000 updates, about two epochs without augmentation, so that nothing is learnt by heart; distances from
the origins of bench/real_curves.py's steady runs. A run that is there and complete is kept. Each takes two to three
minutes on one core.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from real_curves import KEPT_STEADY, complete, pack, steady_origins
from torch import Tensor, nn

from train.data.images import Dataset, load
from train.models import resnet
from trajectory import Recorder, Run

NAMES = {"fashion-mnist": "conv-steady-16", "cifar10": "cifar10-steady-16"}
SEEDS, UPDATES, MEMORY = 5, 7000, 500
METRICS = ("learning_rate", "train_loss")
CONFIG = {
    "network": "resnet8",
    "batch_size": 16,
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 2e-3,
    "max_grad_norm": 5.0,
    "updates": UPDATES,
}


def batches(data: Dataset, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch after the other, without end."""
    epoch = 0
    while True:
        yield from data.train_batches(CONFIG["batch_size"], seed=seed, epoch=epoch, augment=False)
        epoch += 1


def record(path: Path, data: Dataset, seed: int) -> None:
    """Train one seed."""
    noted = {"dataset": data.name, "label": f"{data.name}, resnet8, weight decay 2e-3, batch 16", "seed": seed}
    torch.manual_seed(seed)
    network = resnet(8, data.classes)
    rates = {"lr": CONFIG["lr"], "momentum": CONFIG["momentum"], "weight_decay": CONFIG["weight_decay"]}
    optimizer = torch.optim.SGD(network.parameters(), **rates)
    options = {"origins": steady_origins(MEMORY), "config": CONFIG | noted, "seed": seed, "overwrite": path.exists()}
    with Recorder(path, network, optimizer, **options) as recorder:
        for _, (images, labels) in zip(range(UPDATES), batches(data, seed), strict=False):
            loss = nn.functional.cross_entropy(network(images.expand(-1, 3, -1, -1)), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CONFIG["max_grad_norm"])
            optimizer.step()
            recorder.log(train_loss=loss)


def main() -> None:
    """Trains what is missing, or packs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("curves"), help="folder of the recorded stores")
    parser.add_argument("--export", type=Path, metavar="DIR", help="pack the stores of --out instead of training")
    parser.add_argument("--only", choices=NAMES, help="one data set's name")
    options = parser.parse_args()
    for dataset, name in NAMES.items():
        paths = [options.out / f"{name}-{seed}.zarr" for seed in range(SEEDS)]
        if options.only not in (None, dataset):
            continue
        if options.export is not None:
            archive = options.export / f"{name}.tar.xz"
            pack([Run(path) for path in paths], archive, METRICS, KEPT_STEADY, by_layer=False)
        else:
            train(dataset, paths, options.data_root)


def train(dataset: str, paths: list[Path], data_root: str) -> None:
    """Trains what is missing."""
    data = load(dataset, data_root)
    for seed, path in enumerate(paths):
        if not complete(path):
            record(path, data, seed)
        print(path, flush=True)


if __name__ == "__main__":
    main()
