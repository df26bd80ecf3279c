"""Data sets as tensors on the device: images uint8 (N, C, H, W), batches by indexing, no worker processes.

| name | files under the data root | images |
|---|---|---|
| digits | none: scikit-learn bundles it | 1280 + 517 of 8 × 8 |
| mnist, fashion-mnist | MNIST/raw/*-ubyte, FashionMNIST/raw/*-ubyte | 60,000 + 10,000 of 28 × 28 |
| cifar10 | cifar-10-batches-bin/*.bin or cifar-10-batches-py/* | 50,000 + 10,000 of 3 × 32 × 32 |
| cifar100 | cifar-100-binary/*.bin or cifar-100-python/* | 50,000 + 10,000 of 3 × 32 × 32 |

ImageNet does not fit there: `train.data.image_folder`.

Whatever is random (order, crops, flips) is drawn on the host once an epoch, so it is the same for a seed on
every device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.readers import READERS
from train.errors import DataError

_TEST_BATCH = 2000  # samples evaluated at a time: bounds the memory, changes no result
CROP_PADDING = 4  # CIFAR: "pad 4, random crop, horizontal flip" (He et al. 2016, section 4.2)


class Images(Protocol):
    """What a training needs of a data set: a `Dataset`, or an `ImageFolder` (train.data.image_folder)."""

    @property
    def classes(self) -> int:
        """The number of classes."""

    @property
    def train_size(self) -> int:
        """Samples in the training set."""

    @property
    def shape(self) -> tuple[int, ...]:
        """An image's (C, H, W)."""

    def train_batches(
        self, batch_size: int, *, seed: int, epoch: int, augment: bool, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch's batches but for the first `start`: normalized images (B, C, H, W) and labels (B,)."""

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The test set in pieces, likewise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set, whole, on one device. Images are uint8 (N, C, H, W), labels int64 (N,)."""

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    mean: Tensor  # (C, 1, 1), of the training pixels, in the pixels' units
    std: Tensor

    def normalize(self, x: Tensor) -> Tensor:
        """Images as float32, the training set's mean and standard deviation of each channel taken out."""
        return (x.float() - self.mean) / self.std

    @property
    def train_size(self) -> int:
        """Samples in the training set."""
        return len(self.train_y)

    @property
    def shape(self) -> tuple[int, ...]:
        """An image's (C, H, W)."""
        return tuple(self.train_x.shape[1:])

    def train_batches(
        self, batch_size: int, *, seed: int, epoch: int, augment: bool, start: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch's batches but for the first `start`: normalized images (B, C, H, W) and labels (B,).

        augment: each image padded by 4, cropped at random, half of them mirrored. Order and crops are fixed by seed
        and epoch. The short end of the epoch is dropped.
        """
        device = self.train_x.device
        crops = crop_choices(self.train_size, seed=seed, epoch=epoch, device=device) if augment else None
        order = batches(self.train_size, batch_size, seed=seed, epoch=epoch, device=device)
        for index in islice(order, start, None):
            x = self.train_x[index]
            if crops is not None:
                x = crop_and_flip(x, crops[index])
            yield self.normalize(x), self.train_y[index]

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The test set in pieces, likewise."""
        for x, y in zip(self.test_x.split(_TEST_BATCH), self.test_y.split(_TEST_BATCH), strict=True):
            yield self.normalize(x), y


def load(name: str, root: str | Path = "data", device: torch.device | str = "cpu") -> Dataset:
    """The data set `name` on `device`; `root` holds its files in torchvision's layout.

    Raises DataError for an unknown name, a file that is missing and cannot be downloaded, or a damaged one.
    """
    if name not in READERS:
        raise DataError(f"no data set is named {name!r}; known are {', '.join(READERS)}")
    train_x, train_y, test_x, test_y = READERS[name](Path(root))
    # exact: how often each of the 256 values occurs
    counts = np.stack([np.bincount(train_x[:, c].ravel(), minlength=256) for c in range(train_x.shape[1])])
    values, shares = np.arange(256), counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    std = np.sqrt(shares @ values**2 - mean**2)

    def on_device(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return Dataset(
        name=name,
        train_x=on_device(train_x),
        train_y=on_device(train_y.astype(np.int64)),
        test_x=on_device(test_x),
        test_y=on_device(test_y.astype(np.int64)),
        classes=int(train_y.max()) + 1,
        mean=on_device(mean.astype(np.float32)[:, None, None]),
        std=on_device(std.astype(np.float32)[:, None, None]),
    )


def shuffle_labels(labels: Tensor, fraction: float) -> Tensor:
    """The labels with this fraction of them, always the same ones, permuted among themselves."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(labels), generator=generator)[: round(fraction * len(labels))]
    permuted = chosen[torch.randperm(len(chosen), generator=generator)].to(labels.device)
    shuffled = labels.clone()
    shuffled[chosen.to(labels.device)] = labels[permuted]
    return shuffled


def epoch_seed(seed: int, epoch: int, purpose: str) -> int:
    """One 64-bit seed for each (seed, epoch, purpose): neighbours give unrelated streams."""
    words = [seed, epoch, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def batches(n: int, batch_size: int, *, seed: int, epoch: int, device: torch.device | str) -> Iterator[Tensor]:
    """Index tensors (batch_size,) of one epoch over n samples: a fresh permutation, its short end dropped."""
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "order"))
    order = torch.randperm(n, generator=generator)[: n - n % batch_size]
    yield from order.to(device).split(batch_size)


def crop_choices(n: int, *, seed: int, epoch: int, device: torch.device | str) -> Tensor:
    """For each of n samples this epoch's row and column of the crop, 0 to 8, and whether to flip: (n, 3)."""
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "crop"))
    corner = torch.randint(2 * CROP_PADDING + 1, (n, 2), generator=generator)
    flip = torch.randint(2, (n, 1), generator=generator)
    return torch.cat([corner, flip], dim=1).to(device)


def crop_and_flip(x: Tensor, choices: Tensor) -> Tensor:
    """Images (B, C, H, W) padded by 4 black pixels, cut to their size at `choices` (B, 3), some mirrored."""
    height, width = x.shape[2:]
    windows = F.pad(x, [CROP_PADDING] * 4).unfold(2, height, 1).unfold(3, width, 1)  # a view: (B, C, 9, 9, H, W)
    row, column, flip = choices.unbind(1)
    cut = windows[torch.arange(len(x), device=x.device), :, row, column]
    return torch.where(flip.bool()[:, None, None, None], cut.flip(3), cut)
