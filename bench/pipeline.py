"""Updates a second: batches by indexing on the device, against a DataLoader with workers and transforms by sample.

    python bench/pipeline.py [--network f1|resnet44] [--device cuda] [--updates 200] [--workers 2] [--threads N]

The same network, optimizer and batch size; random images in the shape of MNIST or CIFAR-10, since the values do not
matter here. The two are measured in turns, and the medians over the turns compared; a DataLoader's workers are
started before the clock. Distances are not recorded: bench/recorder.py measures that.
"""

import argparse
from collections.abc import Iterator
from itertools import chain, islice, repeat
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from train.data import batches, crop_and_flip, crop_choices
from train.models import NETWORKS

SAMPLES, BATCH = 20_000, 128
IMAGES = {"f1": (1, 28, 28), "resnet44": (3, 32, 32)}
Batches = Iterator[tuple[Tensor, Tensor]]


class BySample(Dataset):
    """One image at a time: to float, cropped and flipped (CIFAR), normalized: what a transform pipeline does."""

    def __init__(self, x: Tensor, y: Tensor):
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.x[index].float().div(255)
        if len(image) == 3:
            row, column = torch.randint(9, (2,)).tolist()
            image = F.pad(image, [4] * 4)[:, row : row + 32, column : column + 32]
            image = image.flip(2) if torch.rand(()) < 0.5 else image
        return (image - 0.5) / 0.25, int(self.y[index])


def from_loader(x: Tensor, y: Tensor, workers: int, device: str) -> Batches:
    """Batches of a DataLoader, epoch after epoch, copied to the device."""
    loader = DataLoader(
        BySample(x, y),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device != "cpu",
    )
    for images, labels in chain.from_iterable(repeat(loader)):
        yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def on_device(x: Tensor, y: Tensor, device: str) -> Batches:
    """Batches as train.loop makes them, epoch after epoch."""
    x, y = x.to(device), y.to(device)
    epoch = 0
    while True:
        crops = crop_choices(len(x), seed=0, epoch=epoch, device=device)
        for index in batches(len(x), BATCH, seed=0, epoch=epoch, device=device):
            images = crop_and_flip(x[index], crops[index]) if x.shape[1] == 3 else x[index]
            yield (images.float() - 127.5) / 63.75, y[index]
        epoch += 1


def seconds(model: nn.Module, source: Batches, updates: int) -> float:
    """Time of a number of updates with SGD and momentum, data included."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    start = perf_counter()
    for x, y in islice(source, updates):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    if next(model.parameters()).is_cuda:
        torch.cuda.synchronize()
    return perf_counter() - start


def main() -> None:
    """Print updates a second of both pipelines, and of the update alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=sorted(IMAGES), default="f1")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--updates", type=int, default=100, help="in one turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    image = IMAGES[args.network]
    x, y = torch.randint(0, 256, (SAMPLES, *image), dtype=torch.uint8), torch.randint(0, 10, (SAMPLES,))
    model = NETWORKS[args.network](image, 10).to(args.device)
    one = (torch.randn(BATCH, *image, device=args.device), y[:BATCH].to(args.device))
    sources = {
        "update alone": repeat(one),
        "on the device": on_device(x, y, args.device),
        "DataLoader": from_loader(x, y, args.workers, args.device),
    }
    times: dict[str, list[float]] = {name: [] for name in sources}
    for turn in range(args.turns + 1):
        for name, source in sources.items():
            elapsed = seconds(model, source, args.updates)
            if turn:  # the first starts workers and warms caches
                times[name].append(elapsed)
    rates = {name: args.updates / median(values) for name, values in times.items()}
    print(f"{args.network}, batch {BATCH}, {args.device}, torch {torch.__version__}", end=", ")
    print(f"{args.threads} threads, {args.workers} workers")
    for name, rate in rates.items():
        print(f"{name:>14}: {rate:8.1f} updates/s")
    print(f"on the device / DataLoader: {rates['on the device'] / rates['DataLoader']:.2f}")


if __name__ == "__main__":
    main()
