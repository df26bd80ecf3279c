"""Data sets as tensors on the device: images uint8 (N, C, H, W); batches are indexed, without worker processes.

| name | files under the data root | images |
|---|---|---|
| digits | none: scikit-learn bundles it | 1280 + 517 of 8 × 8 |
| mnist, fashion-mnist | MNIST/raw/*-ubyte, FashionMNIST/raw/*-ubyte | 60,000 + 10,000 of 28 × 28 |
| cifar10 | cifar-10-batches-bin/*.bin or cifar-10-batches-py/* | 50,000 + 10,000 of 3 × 32 × 32 |
| cifar100 | cifar-100-binary/*.bin or cifar-100-python/* | 50,000 + 10,000 of 3 × 32 × 32 |

ImageNet does not fit on a device; `train.data.image_folder` reads it.

Everything random (order, crops, flips) is drawn on the host once an epoch, so that a seed gives the same on every
device.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # by channel, of pixels from 0 to 1
CROP_PADDING = 4  # CIFAR: "pad 4, random crop, horizontal flip" (He et al. 2016, section 4.2)


class Images(Protocol):
    """A data set to train on: a `Dataset`, or an `ImageFolder` (train.data.image_folder)."""

    @property
    def classes(self) -> int:
        """The number of classes."""

    @property
    def train_size(self) -> int:
        """Samples in the training set."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The (C, H, W) of an image."""

    def train_batches(
        self, batch_size: int, *, seed: int, epoch: int, augment: bool, start: int = 0, keep_short: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch: normalized images (B, C, H, W) and labels (B,).

        Args:
            batch_size: samples in a batch, B.
            seed: fixes order and augmentation, with the epoch.
            epoch: number of the epoch, from 0.
            augment: crop each image at random, and mirror half of them.
            start: batches of the epoch to leave out.
            keep_short: end with the short batch that is left over; otherwise it is dropped.
        """

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the test set in pieces: normalized images (B, C, H, W) and labels (B,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set on one device."""

    name: str
    """Name of the data set."""
    train_x: Tensor
    """Training images, uint8 (N, C, H, W)."""
    train_y: Tensor
    """Their labels, int64 (N,)."""
    test_x: Tensor
    """Test images, uint8 (N, C, H, W)."""
    test_y: Tensor
    """Their labels, int64 (N,)."""
    classes: int
    """Number of classes."""
    mean: Tensor
    """Mean of the training pixels by channel, (C, 1, 1), from 0 to 255."""
    std: Tensor
    """Standard deviation of the training pixels by channel, (C, 1, 1)."""
    padding: int = CROP_PADDING
    """Pixels that an image is padded by on each side before it is cropped."""
    fill: int = 0
    """Their value."""

    def normalize(self, x: Tensor) -> Tensor:
        """Return images as float32, less `mean` and over `std`.

        Args:
            x: images, uint8 (B, C, H, W).
        """
        return (x.float() - self.mean) / self.std

    @property
    def train_size(self) -> int:
        """Samples in the training set."""
        return len(self.train_y)

    @property
    def shape(self) -> tuple[int, ...]:
        """The (C, H, W) of an image."""
        return tuple(self.train_x.shape[1:])

    def train_batches(
        self, batch_size: int, *, seed: int, epoch: int, augment: bool, start: int = 0, keep_short: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch: normalized images (B, C, H, W) and labels (B,).

        Args:
            batch_size: samples in a batch, B.
            seed: fixes order and crops, with the epoch.
            epoch: number of the epoch, from 0.
            augment: pad each image, crop it at random, and mirror half of them.
            start: batches of the epoch to leave out.
            keep_short: end with the short batch that is left over; otherwise it is dropped.
        """
        device = self.train_x.device
        crops = (
            crop_choices(self.train_size, self.padding, seed=seed, epoch=epoch, device=device) if augment else None
        )
        order = batches(self.train_size, batch_size, seed=seed, epoch=epoch, device=device, keep_short=keep_short)
        for index in islice(order, start, None):
            x = self.train_x[index]
            if crops is not None:
                x = crop_and_flip(x, crops[index], self.padding, self.fill)
            yield self.normalize(x), self.train_y[index]

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the test set in pieces: normalized images (B, C, H, W) and labels (B,)."""
        for x, y in zip(self.test_x.split(_TEST_BATCH), self.test_y.split(_TEST_BATCH), strict=True):
            yield self.normalize(x), y


def load(name: str, root: str | Path = "data", device: torch.device | str = "cpu") -> Dataset:
    """Load a data set onto a device.

    Args:
        name: one of `train.data.readers.READERS`.
        root: folder that holds its files in torchvision's layout; what is missing is downloaded.
        device: the device.

    Returns:
        The data set.

    Raises:
        DataError: for an unknown name, a file that is missing and cannot be downloaded, or a damaged one.
    """
    if name not in READERS:
        raise DataError(f"no data set is named {name!r}; known are {', '.join(READERS)}")
    train_x, train_y, test_x, test_y = READERS[name](Path(os.path.expanduser(root)))
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


def as_published(data: Dataset) -> Dataset:
    """Return a data set as the paper's published code prepares it (`preprocess.py`, commit 0c69f28).

    MNIST (and Fashion-MNIST) is padded by 2, and normalized by mean and standard deviation ½; CIFAR is padded by 4
    with grey 127, and normalized by ImageNet's statistics. Digits stay as they are.

    Args:
        data: the data set.
    """
    if data.name == "digits":
        return data
    if data.shape[0] == 1:
        half = torch.full_like(data.mean, 255 / 2)
        return replace(data, mean=half, std=half, padding=2)
    mean, std = (255 * torch.tensor(v, device=data.mean.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return replace(data, mean=mean, std=std, fill=127)


def shuffle_labels(labels: Tensor, fraction: float) -> Tensor:
    """Return labels of which a fraction, always the same ones, are permuted among themselves.

    Args:
        labels: labels (N,).
        fraction: the fraction to permute, 0 to 1.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(labels), generator=generator)[: round(fraction * len(labels))]
    permuted = chosen[torch.randperm(len(chosen), generator=generator)].to(labels.device)
    shuffled = labels.clone()
    shuffled[chosen.to(labels.device)] = labels[permuted]
    return shuffled


def epoch_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a 64-bit seed for a seed, an epoch and a purpose; neighbouring ones give unrelated streams.

    Args:
        seed: the run's seed.
        epoch: number of the epoch, from 0.
        purpose: what the random numbers are for.
    """
    words = [seed, epoch, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def batches(
    n: int, batch_size: int, *, seed: int, epoch: int, device: torch.device | str, keep_short: bool = False
) -> Iterator[Tensor]:
    """Yield the samples' numbers of each batch of an epoch, (batch_size,), out of a permutation.

    Args:
        n: samples in the training set.
        batch_size: samples in a batch.
        seed: fixes the permutation, with the epoch.
        epoch: number of the epoch, from 0.
        device: where the numbers are put.
        keep_short: end with the short batch that is left over; otherwise it is dropped.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "order"))
    order = torch.randperm(n, generator=generator)[: n if keep_short else n - n % batch_size]
    yield from order.to(device).split(batch_size)


def crop_choices(n: int, padding: int = CROP_PADDING, *, seed: int, epoch: int, device: torch.device | str) -> Tensor:
    """Draw an epoch's crop and flip of each sample.

    Args:
        n: samples in the training set.
        padding: pixels that the images are padded by on each side.
        seed: fixes the choices, with the epoch.
        epoch: number of the epoch, from 0.
        device: where the choices are put.

    Returns:
        For each sample the row and the column of its crop, 0 to 2 · padding, and 1 if it is mirrored: int64 (n, 3).
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "crop"))
    corner = torch.randint(2 * padding + 1, (n, 2), generator=generator)
    flip = torch.randint(2, (n, 1), generator=generator)
    return torch.cat([corner, flip], dim=1).to(device)


def crop_and_flip(x: Tensor, choices: Tensor, padding: int = CROP_PADDING, fill: int = 0) -> Tensor:
    """Pad images, crop them to their size, and mirror some.

    Args:
        x: images, uint8 (B, C, H, W).
        choices: `crop_choices` of these samples, (B, 3).
        padding: pixels that are added on each side.
        fill: their value.

    Returns:
        The images, (B, C, H, W).
    """
    height, width = x.shape[2:]
    padded = F.pad(x, [padding] * 4, value=fill)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (B, C, 2 padding + 1, 2 padding + 1, H, W)
    row, column, flip = choices.unbind(1)
    cropped = windows[torch.arange(len(x), device=x.device), :, row, column]
    return torch.where(flip.bool()[:, None, None, None], cropped.flip(3), cropped)
