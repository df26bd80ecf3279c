"""Updates a second: our batches against a DataLoader, what an update is made of, switches, and batched seeds.

    python bench/training.py [--networks f1 resnet44] [--device cuda] [--workers 2] [--threads N] [--turns 5]
                             [--no-compile]

For each network, then for the seeds:

- Batches: cropped, indexed and normalized on the device (`Dataset.train_batches`), against a DataLoader with worker
  processes and transforms image by image, as torchvision's MNIST and CIFAR-10 do it: image to PIL, padded, cropped
  and mirrored (CIFAR), to a tensor, normalized. torchvision's own transforms where it is installed, the same
  operations written out where not. The trainer's update for both, not recorded; "update alone" sees one batch over
  and over. Random images: values do not matter here.
- An update's parts, each by itself.
- The trainer's switches, each by itself: bfloat16, channels_last, compile (on a CPU F1's alone: ResNet44's takes
  minutes), cuda_graph (on a GPU).
- Batched seeds (`train_batched`) against one after another (`train`), recorded, in updates of one seed a second.

In a turn the rows run one after the other; shown are medians over turns with quartiles, ratios of each turn's own.
Every row begins with updates off the clock, which use up what a DataLoader has ready.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice, repeat
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from heading import heading
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from train import RECIPES, TrainConfig, train, train_batched
from train.data.images import Dataset, load
from train.engine.train_step import GraphedTrainStep, TrainStep, clip
from train.errors import DataError
from train.models import NETWORKS

SAMPLES, BATCH = 20_000, 128
IMAGES = {"f1": (1, 28, 28), "resnet44": (3, 32, 32)}
CONFIGS = {"f1": RECIPES["f1-mnist"](), "resnet44": RECIPES["resnet44-cifar10"]()}
UPDATES = {"f1": 100, "resnet44": 3}  # on the clock in a turn, on a CPU
MEAN, STD = 127.5, 63.75  # of the random images, roughly
Batches = Iterator[tuple[Tensor, Tensor]]


def random_images(network: str, device: str) -> Dataset:
    """Noise in the shape of MNIST or CIFAR-10."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (SAMPLES, *IMAGES[network]), dtype=torch.uint8, generator=generator).to(device)
    y = torch.randint(0, 10, (SAMPLES,), generator=generator).to(device)
    mean, std = (torch.full((len(x[0]), 1, 1), value, device=device) for value in (MEAN, STD))
    return Dataset(name="noise", train_x=x, train_y=y, test_x=x, test_y=y, classes=10, mean=mean, std=std)


class Pictures(TorchDataset):
    """One image at a time, through PIL and a transform."""

    def __init__(self, data: Dataset):
        self.images, self.labels = data.train_x.permute(0, 2, 3, 1).squeeze(3).cpu(), data.train_y.cpu()
        self.transform = transform(augment=data.shape[0] == 3)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index].numpy())), int(self.labels[index])


def transform(*, augment: bool) -> Callable[[Image.Image], Tensor]:
    """Torchvision's transforms of one image, or the same written out."""
    channels = 3 if augment else 1
    mean, std = [MEAN / 255] * channels, [STD / 255] * channels
    try:
        from torchvision import transforms
    except (ImportError, RuntimeError):  # RuntimeError: a build for another torch
        return lambda image: written_out(image, mean, std, augment=augment)
    cut = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()] if augment else []
    return transforms.Compose([*cut, transforms.ToTensor(), transforms.Normalize(mean, std)])


def written_out(image: Image.Image, mean: list[float], std: list[float], *, augment: bool) -> Tensor:
    """The same operations, one after the other."""
    if augment:
        row, column = torch.randint(9, (2,)).tolist()
        image = ImageOps.expand(image, 4).crop((column, row, column + image.width, row + image.height))
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(image)).view(image.height, image.width, -1)
    x = pixels.permute(2, 0, 1).contiguous().float().div(255)
    return x.sub_(torch.tensor(mean).view(-1, 1, 1)).div_(torch.tensor(std).view(-1, 1, 1))


def from_loader(data: Dataset, workers: int) -> Batches:
    """Batches of a DataLoader, epoch after epoch, copied to the device."""
    device = data.train_x.device
    loader = DataLoader(
        Pictures(data),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type != "cpu",
    )
    for images, labels in chain.from_iterable(repeat(loader)):
        yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def on_device(data: Dataset) -> Batches:
    """Our batches, epoch after epoch."""
    epoch = 0
    while True:
        yield from data.train_batches(BATCH, seed=0, epoch=epoch, augment=data.shape[0] == 3)
        epoch += 1


def trainer(network: str, source: Batches, device: str, **switches: Any) -> Callable[[int], None]:
    """A function that makes so many updates, as the trainer makes them, and waits for them."""
    config = replace(CONFIGS[network], **switches)
    torch.manual_seed(0)
    model = NETWORKS[network](IMAGES[network], 10).to(device)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = sgd(model, fused=True if device == "cpu" else None)
    plain = TrainStep(config, model, optimizer)
    step = GraphedTrainStep(plain, Unrecorded()) if config.cuda_graph else plain

    def updates(n: int) -> None:
        for x, y in islice(source, n):
            step(x, y, None)
        if device != "cpu":
            torch.cuda.synchronize()

    return updates


def sgd(model: nn.Module, *, fused: bool | None) -> torch.optim.SGD:
    """The recipes' optimizer, at a rate that random labels bear."""
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=fused)


class Unrecorded:
    """Stand in for a recorder that ignores a graph's replays."""

    def replayed(self) -> None:
        """Ignore the replay."""


def rates(rows: Mapping[str, Callable[[int], None]], updates: int, turns: int) -> dict[str, np.ndarray]:
    """Updates a second of every row in every turn."""
    found: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(turns + 1):
        for name, run in rows.items():
            run(max(2, updates // 10))
            start = perf_counter()
            run(updates)
            if turn:  # the first starts workers and warms caches
                found[name].append(updates / (perf_counter() - start))
            sleep(0.2)  # workers fill their queues, and leave the cores to the next row
    return {name: np.array(values) for name, values in found.items()}


def show(title: str, found: Mapping[str, np.ndarray], unit: str = "updates/s") -> None:
    """Medians with quartiles, and those of each row against the first."""
    print(f"{title}\n{'':>32} {unit:>24} {'of the first row':>24}")
    first = next(iter(found.values()))
    for name, values in found.items():
        print(f"{name:>32} {spread(values):>24} {spread(values / first):>24}")
    print()


def spread(values: np.ndarray) -> str:
    """Median [quartiles]."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def batches(network: str, device: str, workers: int, updates: int, turns: int) -> None:
    """The first table."""
    data = random_images(network, device)
    one = next(on_device(data))
    rows = {
        f"DataLoader, {workers} workers": from_loader(data, workers),
        "our batches": on_device(data),
        "update alone": repeat(one),
    }
    runs = {name: trainer(network, source, device) for name, source in rows.items()}
    show(f"{network}, batch {BATCH}, {device}", rates(runs, updates, turns))


def parts(network: str, device: str, updates: int, turns: int) -> None:
    """The second table: milliseconds, each part by itself."""
    data = random_images(network, device)
    source = on_device(data)
    x, y = next(source)
    torch.manual_seed(0)
    model = NETWORKS[network](IMAGES[network], 10).to(device)
    plain, fused = sgd(model, fused=None), sgd(model, fused=True)

    def gradient() -> None:
        plain.zero_grad()
        F.cross_entropy(model(x), y).backward()

    calls: dict[str, Callable[[], Any]] = {
        "loss and gradient": gradient,
        "a batch": lambda: next(source),
        "clip_grad_norm_": lambda: nn.utils.clip_grad_norm_(model.parameters(), 5.0),
        "clipping": lambda: clip(list(model.parameters()), 5.0),
        "SGD": plain.step,
        "SGD, fused": fused.step,
    }

    def timed(call: Callable[[], Any]) -> Callable[[int], None]:
        def run(n: int) -> None:
            for _ in range(n):
                call()
            if device != "cpu":
                torch.cuda.synchronize()

        return run

    found = rates({name: timed(call) for name, call in calls.items()}, updates, turns)
    show(f"{network}, batch {BATCH}, {device}: parts", {k: 1e3 / v for k, v in found.items()}, "ms")


def switches(network: str, device: str, updates: int, turns: int, *, compiled: bool) -> None:
    """The third table."""
    source = repeat(next(on_device(random_images(network, device))))
    rows: dict[str, dict[str, Any]] = {"no switch": {}, "bfloat16": {"precision": "bfloat16"}}
    if network != "f1":
        rows["channels_last"] = {"channels_last": True}
    if compiled and (device != "cpu" or network == "f1"):
        rows["compile"] = {"compile": True}
    if device != "cpu":
        rows["cuda_graph"] = {"cuda_graph": True}
    runs = {name: trainer(network, source, device, **chosen) for name, chosen in rows.items()}
    show(f"{network}, batch {BATCH}, {device}: switches", rates(runs, updates, turns))


def batched_seeds(config: TrainConfig, updates: int, seeds: int, turns: int, options: dict[str, Any]) -> None:
    """The last table."""
    per_epoch = config.schedule(60_000 if config.dataset == "mnist" else 1280).updates / config.epochs
    config = replace(config, epochs=updates / per_epoch, drops=(), snapshots_per_decade=0)
    numbers = range(seeds)
    found: dict[str, list[float]] = {"one after another": [], "batched": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(turns + 1):
            clock = Clock(updates)
            for seed in numbers:
                train(replace(config, seed=seed), Path(folder) / "alone", overwrite=True, progress=clock, **options)
            batched = Clock(updates)
            stores = {seed: Path(folder) / str(seed) for seed in numbers}
            train_batched(config, stores, overwrite=True, progress=batched, **options)
            if turn:
                found["one after another"].append(clock.rate)
                found["batched"].append(seeds * batched.rate)
    title = f"{config.recipe}, batch {config.batch_size}, {options['device']}: {seeds} seeds"
    show(title, {name: np.array(values) for name, values in found.items()})


class Clock:
    """Told of every update, it takes the time of all but the first tenth of a run."""

    def __init__(self, updates: int):
        self.first, self.last = max(1, updates // 10), updates
        self.seconds, self.updates, self._start = 0.0, 0, 0.0

    def __call__(self, t: int, _: int) -> None:
        """Update t is made."""
        if t == self.first:
            self._start = perf_counter()
        elif t == self.last:
            self.seconds += perf_counter() - self._start
            self.updates += self.last - self.first

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", choices=sorted(IMAGES), default=["f1", "resnet44"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-root", default="data", help="where MNIST is, or is downloaded to")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--updates", type=int, help="in a turn; default so many that a turn takes seconds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes a minute")
    parser.add_argument("--seeds", type=int, default=5, help="trained batched; 0 leaves the table out")
    args = parser.parse_args()
    if args.seeds:  # said now, not behind the other tables
        try:
            load("mnist", args.data_root)
        except DataError as error:
            parser.error(f"{error}; or --seeds 0")
    torch.set_num_threads(args.threads)
    heading("torch")
    print(f"{args.threads} threads; {args.turns} turns\n")
    for network in args.networks:
        updates = args.updates or (UPDATES[network] if args.device == "cpu" else 200)
        batches(network, args.device, args.workers, updates, args.turns)
        parts(network, args.device, updates, args.turns)
        switches(network, args.device, updates, args.turns, compiled=not args.no_compile)
    options = {"device": args.device, "data_root": args.data_root}
    if args.seeds:
        digits = RECIPES["f1-digits"]()
        large = replace(digits, batch_size=256, ghost_batch_size=16)
        for config, updates in ((digits, 160), (large, 100), (RECIPES["f1-mnist"](), 40)):
            batched_seeds(config, args.updates or updates, args.seeds, args.turns, options)


if __name__ == "__main__":
    main()
