"""ImageNet, or any data set of its layout: a folder for each class; worker processes decode and crop the images.

    ROOT/imagenet/train/CLASS/*.JPEG    ROOT/imagenet/val/CLASS/*.JPEG

It offers what `images.Dataset` does, but the images stay in their files until a batch asks for them. Training images
are cropped as by Szegedy et al. 2015 (arXiv 1409.4842, section 6): 8 % to 100 % of the image's area, with sides in a
ratio of 3/4 to 4/3, scaled to 224 × 224; half of them are mirrored. Of validation images the shorter side is scaled
to 256, and the centre of 224 × 224 is cropped. The published code of Hoffer, Hubara and Soudry 2017 does both alike.

The random numbers of an image depend on (seed, epoch, its number), and not on the process that crops it.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset

from train.data.images import IMAGENET_MEAN, IMAGENET_STD, batches, epoch_seed
from train.errors import DataError

_SUFFIXES = (".jpeg", ".jpg", ".png")
_TEST_BATCH = 256  # samples evaluated at a time: bounds the memory, changes no result
_TRIES = 10  # to draw a crop that lies within the image; then its centre is taken

Box = tuple[int, int, int, int]  # left, upper, right, lower


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFolder:
    """Images in files, by class. `train_batches` and `test_batches` put them on the device, normalized."""

    name: str
    """Name of the data set."""
    train_files: Sequence[str]
    """Files of the training images."""
    train_y: Tensor
    """Their labels, int64 (N,)."""
    test_files: Sequence[str]
    """Files of the test images."""
    test_y: Tensor
    """Their labels, int64 (N,)."""
    classes: int
    """Number of classes."""
    device: torch.device
    """The device that batches are put on."""
    workers: int
    """Processes that decode images; 0: this process decodes them."""
    size: int = 224
    """Height and width of the images as the network sees them."""
    whole_scale: bool = False
    """Crop training images out of the scaled image, as test images are, at random places; not a part of any scale."""

    @property
    def train_size(self) -> int:
        """Samples in the training set."""
        return len(self.train_files)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (C, H, W) of an image."""
        return 3, self.size, self.size

    def train_batches(
        self, batch_size: int, *, seed: int, epoch: int, augment: bool, start: int = 0, keep_short: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches of an epoch: normalized images (B, C, H, W) and labels (B,).

        Args:
            batch_size: samples in a batch, B.
            seed: fixes order and crops, with the epoch, whatever the number of workers.
            epoch: number of the epoch, from 0.
            augment: crop each image at random and mirror half of them; otherwise they are cropped as test images.
            start: batches of the epoch to leave out.
            keep_short: end with the short batch that is left over; otherwise it is dropped.

        Raises:
            DataError: for a file that is no image.
        """
        order = batches(self.train_size, batch_size, seed=seed, epoch=epoch, device="cpu", keep_short=keep_short)
        crop_seed = epoch_seed(seed, epoch, "crop") if augment else None
        samples = _Samples(self.train_files, self.train_y, self.size, crop_seed, self.whole_scale)
        return self._load(samples, islice(order, start, None))

    def test_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the test set in pieces: normalized images (B, C, H, W) and labels (B,).

        Raises:
            DataError: for a file that is no image.
        """
        samples = _Samples(self.test_files, self.test_y, self.size, None)
        return self._load(samples, iter(torch.arange(len(self.test_files)).split(_TEST_BATCH)))

    def _load(self, samples: "_Samples", order: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the samples that each tensor of `order` names."""
        mean, std = (255 * torch.tensor(v, device=self.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        loader = DataLoader(
            samples,
            batch_sampler=(index.tolist() for index in order),
            num_workers=self.workers,
            collate_fn=_collate,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_leave_ctrl_c,
            generator=torch.Generator(),  # a loader draws from the global one otherwise
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            x, y = (part.to(self.device, non_blocking=True) for part in batch)
            yield (x.float() - mean) / std, y


def _leave_ctrl_c(worker: int) -> None:
    """Ignores Ctrl-C, which a terminal sends to every process: the training needs its batch until it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def load_image_folder(
    name: str, root: str | Path, device: torch.device | str = "cpu", *, workers: int | None = None
) -> ImageFolder:
    """Find the images of a data set.

    Args:
        name: its folder under `root`.
        root: folder of the data sets.
        device: the device that batches are put on.
        workers: processes that decode images. None: one for each core, up to 16; the processes that torchrun has
            started on this machine share the cores.

    Returns:
        The data set.

    Raises:
        DataError: if a folder is missing or holds no image, or if val has a class that train lacks.
    """
    root = Path(os.path.expanduser(root)) / name
    train, test = _by_class(root, "train"), _by_class(root, "val")
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        raise DataError(f"{root / 'val'} holds the class {unknown[0]}, {root / 'train'} does not; add or remove it")
    number = {label: k for k, label in enumerate(train)}
    files, labels = {}, {}
    for part, found in (("train", train), ("val", test)):
        files[part] = tuple(file for listed in found.values() for file in listed)
        labels[part] = torch.tensor([number[label] for label, listed in found.items() for _ in listed])
    return ImageFolder(
        name=name,
        train_files=files["train"],
        train_y=labels["train"],
        test_files=files["val"],
        test_y=labels["val"],
        classes=len(train),
        device=torch.device(device),
        workers=_workers() if workers is None else workers,
    )


def _workers() -> int:
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(max(cores, 1), 16)


def _by_class(root: Path, part: str) -> dict[str, list[str]]:
    """The images of each class's folder, both in order of their names."""
    folder = root / part
    layout = f"expected images as {root / part}/CLASS/*.JPEG"
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; {layout}")
    found: dict[str, list[str]] = {}
    for label in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        names = sorted(entry.name for entry in os.scandir(folder / label))
        found[label] = [str(folder / label / name) for name in names if name.lower().endswith(_SUFFIXES)]
        if not found[label]:
            raise DataError(f"{folder / label} holds no image; {layout}, or remove the folder")
    if not found:
        raise DataError(f"{folder} holds no folder of a class; {layout}")
    return found


class _Samples(TorchDataset):
    """Images (3, size, size), uint8, and labels by number, as a worker makes them.

    crop_seed: seed of the epoch's crops; None for the centre of every image.
    whole_scale: `ImageFolder.whole_scale`.
    """

    def __init__(
        self, files: Sequence[str], labels: Tensor, size: int, crop_seed: int | None, whole_scale: bool = False
    ):
        self.files, self.labels, self.size = files, labels, size
        self.crop_seed, self.whole_scale = crop_seed, whole_scale

    def __getitem__(self, number: int) -> "tuple[Tensor, Tensor] | DataError":
        try:
            with Image.open(self.files[number]) as file:
                image = file.convert("RGB")
        except OSError as error:  # an exception would reach the training as a worker's traceback
            return DataError(f"{self.files[number]} cannot be read as an image ({type(error).__name__}); replace it")
        if self.crop_seed is None:
            image = scaled_crop(image, self.size)
        else:
            rng = np.random.default_rng([self.crop_seed, number])
            if self.whole_scale:
                image = scaled_crop(image, self.size, rng)
            else:
                box, sides = random_box(*image.size, rng), (self.size, self.size)
                image = image.crop(box).resize(sides, Image.Resampling.BILINEAR)
            if rng.random() < 0.5:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1), self.labels[number]


def random_box(width: int, height: int, rng: np.random.Generator) -> Box:
    """Draw a part of an image: 8 % to 100 % of its area, its sides in a ratio of 3/4 to 4/3, log-uniform.

    Szegedy et al. 2015 (arXiv 1409.4842, section 6).

    Args:
        width: width of the image, in pixels.
        height: height of the image, in pixels.
        rng: source of random numbers.

    Returns:
        Left, upper, right and lower side of the part, in pixels.
    """
    for _ in range(_TRIES):
        area = width * height * rng.uniform(0.08, 1.0)
        ratio = exp(rng.uniform(log(3 / 4), log(4 / 3)))
        w, h = round(sqrt(area * ratio)), round(sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, upper = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, upper, left + w, upper + h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, upper = (width - w) // 2, (height - h) // 2
    return left, upper, left + w, upper + h


def scaled_crop(image: Image.Image, size: int, rng: np.random.Generator | None = None) -> Image.Image:
    """Scale an image so that its shorter side is 8/7 of `size` (256 for 224), and crop it.

    Args:
        image: the image.
        size: height and width of the crop, in pixels.
        rng: source of the random place; None for the centre.

    Returns:
        The crop.
    """
    scale = size * 8 / 7 / min(image.size)
    width, height = (round(scale * side) for side in image.size)
    spare = width - size, height - size
    left, upper = (n // 2 if rng is None else int(rng.integers(n + 1)) for n in spare)
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    return scaled.crop((left, upper, left + size, upper + size))


def _collate(samples: list[Any]) -> Any:
    """A batch of the samples, or the first one's error."""
    errors = [sample for sample in samples if isinstance(sample, DataError)]
    return errors[0] if errors else default_collate(samples)
