"""Images in files: generated ones, whose every pixel is known."""

import os
import signal
from dataclasses import replace
from itertools import pairwise
from multiprocessing import active_children
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from train.configs.recipes import get
from train.configs.toml import write_recipe
from train.data.image_folder import ImageFolder, load_image_folder, random_box
from train.errors import DataError
from trajectory import Run
from ultraslow.cli import app

# As torchvision's documentation has them.
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CLASSES = ("n01", "n02", "n10")


@pytest.fixture
def root(tmp_path):
    """Three classes of 4 + 2 images of noise; a grey one and a PNG among them; and a file that is none."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for label in CLASSES:
            folder = tmp_path / "imagenet" / part / label
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (30 + k, 45 - k, 3), dtype=np.uint8)
                image = Image.fromarray(pixels[:, :, 0] if k == 1 else pixels)
                image.save(folder / (f"{label}_{k}.JPEG" if k else f"{label}_{k}.png"))
            (folder / "notes.txt").write_text("no image")
    return tmp_path


def _small(root: Path, workers: int = 0) -> ImageFolder:
    return replace(load_image_folder("imagenet", root, workers=workers), size=16)


def _epoch(data: ImageFolder, **changes) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(data.train_batches(5, **{"seed": 3, "epoch": 0, "augment": True, **changes}))


def _equal(some: list[tuple[torch.Tensor, torch.Tensor]], others: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return len(some) == len(others) and all(
        torch.equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_batches_are_fixed_by_seed_and_epoch_whatever_the_number_of_workers(root):
    data = _small(root)
    state = torch.get_rng_state()
    found = _epoch(data)
    assert [(x.shape, x.dtype, y.dtype) for x, y in found] == [((5, 3, 16, 16), torch.float32, torch.int64)] * 2
    assert _equal(found, _epoch(_small(root, workers=2)))
    assert _equal(found[1:], _epoch(data, start=1))
    assert _equal(list(data.test_batches()), list(_small(root, workers=1).test_batches()))
    for change in ({"seed": 4}, {"epoch": 1}, {"augment": False}):
        assert not _equal(found, _epoch(data, **change))
    assert torch.equal(torch.get_rng_state(), state)


def test_workers_go_on_after_ctrl_c(root):
    batches = _small(root, workers=1).train_batches(1, seed=3, epoch=0, augment=True)
    first = next(batches)
    (worker,) = active_children()
    os.kill(worker.pid, signal.SIGINT)
    assert _equal([first, *batches], list(_small(root).train_batches(1, seed=3, epoch=0, augment=True)))


def test_labels_follow_the_folders_names(root):
    data = _small(root)
    assert (data.train_size, data.classes, data.shape) == (12, 3, (3, 16, 16))
    for files, labels in ((data.train_files, data.train_y), (data.test_files, data.test_y)):
        assert [CLASSES.index(Path(file).parent.name) for file in files] == labels.tolist()
    ((_, y),) = data.test_batches()
    assert y.tolist() == [0, 0, 1, 1, 2, 2]


def test_processes_of_torchrun_share_the_cores(root, monkeypatch):
    found = []
    for ranks in ("1", "2", "64"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        monkeypatch.setattr("os.cpu_count", lambda: 24)
        found.append(load_image_folder("imagenet", root).workers)
    assert found == [16, 12, 1]


def test_a_test_image_is_its_centre(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(
        0, 256, (256, 300, 3), dtype=np.uint8
    )  # the shorter side is 256 already: cropped, not scaled
    for part in ("train", "val"):
        (tmp_path / "imagenet" / part / "a").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "imagenet" / part / "a" / "0.png")
    data = load_image_folder("imagenet", tmp_path, workers=0)
    ((x, _),) = data.test_batches()
    expected = (pixels[16:240, 38:262] / 255 - MEAN) / STD
    torch.testing.assert_close(x[0].permute(1, 2, 0), torch.from_numpy(expected).float(), rtol=1e-5, atol=1e-5)
    ((untouched, _),) = data.train_batches(1, seed=0, epoch=0, augment=False)
    assert torch.equal(untouched, x)


def test_a_training_image_is_a_scaled_part_of_it_and_half_of_them_are_mirrored(tmp_path):
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 150, axis=0).repeat(3, axis=2)  # pixel = column
    for part in ("train", "val"):
        (tmp_path / "imagenet" / part / "a").mkdir(parents=True)
        Image.fromarray(ramp).save(tmp_path / "imagenet" / part / "a" / "0.png")
    data = replace(load_image_folder("imagenet", tmp_path, workers=0), size=8)
    mirrored, widths = [], []
    for epoch in range(60):
        ((x, _),) = data.train_batches(1, seed=0, epoch=epoch, augment=True)
        rows = (x[0, 0] * STD[0] + MEAN[0]) * 255
        assert torch.equal(rows, rows[:1].expand(8, 8))
        row = rows[0].tolist()
        mirrored.append(row[0] > row[-1])
        assert all((b < a) == mirrored[-1] for a, b in pairwise(row))
        widths.append(abs(row[-1] - row[0]) * 8 / 7)
    assert 18 < sum(mirrored) < 42  # 30 ± 3 σ
    assert 40 < min(widths) < 80 < 150 < max(widths) <= 201  # √(.08 · 30,000 · 3/4) = 42 columns at least


def test_a_random_part_has_the_published_area_and_ratio():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(500, 400, rng) for _ in range(2000)])
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 500).all()
    assert (boxes[:, 3] <= 400).all()
    area, ratio = width * height / 200_000, width / height
    assert 0.078 < area.min() < 0.1  # rounding to whole pixels, and what 2000 draws reach
    assert area.max() > 0.95
    assert 0.74 < ratio.min() < 0.76
    assert 1.32 < ratio.max() < 1.35
    assert random_box(1000, 12, rng) == (492, 0, 508, 12)  # no part of it has such a ratio: the centre, 4 : 3


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_is_no_image_is_named_in_one_line(root, workers):
    file = root / "imagenet" / "val" / "n02" / "n02_1.JPEG"
    file.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"n02_1\.JPEG cannot be read as an image \(\w+\); replace it") as caught:
        list(_small(root, workers).test_batches())
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_missing_or_foreign_is_named(root):
    with pytest.raises(DataError, match=r"nowhere/imagenet/train is missing; expected images as .*/CLASS/\*\.JPEG"):
        load_image_folder("imagenet", root / "nowhere")
    (root / "imagenet" / "val" / "n03").mkdir()
    with pytest.raises(DataError, match=r"val/n03 holds no image; expected"):
        load_image_folder("imagenet", root)
    (root / "imagenet" / "val" / "n03" / "a.jpg").touch()
    with pytest.raises(DataError, match=r"val holds the class n03, .*/train does not"):
        load_image_folder("imagenet", root)
    (root / "empty" / "imagenet" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="train holds no folder of a class; expected"):
        load_image_folder("imagenet", root / "empty")


def _trained(root: Path, recipe: str, *options: str) -> Run:
    command = ["ultraslow", "train", recipe, "--data-root", str(root), "--batch-size", "5", "--epochs", "1"]
    with mock.patch("sys.argv", [*command, "--out", str(root / "run.zarr"), *options]):
        app.main()
    return Run(root / "run.zarr")


def test_the_command_trains_on_image_files(root):
    write_recipe(replace(get("alexnet-imagenet"), network="f1-small", snapshots_per_decade=0), root / "small.toml")
    run = _trained(root, str(root / "small.toml"))
    assert run.distance.index.tolist() == [1, 2]
    assert run.metrics["validation_error"].notna().iloc[-1]
    assert (run.config["dataset"], run.config["train_size"]) == ("imagenet", 12)


@pytest.mark.slow  # AlexNet's weights and a gigabyte of snapshots
def test_the_command_trains_alexnet(root):
    run = _trained(root, "alexnet-imagenet", "--ghost-batch-size", "2")
    assert run.distance.index.tolist() == [1, 2]
    assert run.snapshots == [0, 1, 2]
