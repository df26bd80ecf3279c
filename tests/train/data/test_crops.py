"""Random crops and mirrors of images, against one image at a time."""

import torch

from train.data import images as data


def test_crops_are_shifts_of_the_padded_image_and_its_mirror():
    torch.manual_seed(0)
    x = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)
    choices = data.crop_choices(40, seed=0, epoch=0, device="cpu")
    cropped = data.crop_and_flip(x, choices)
    assert cropped.dtype == torch.uint8
    for image, (row, column, flip), got in zip(x, choices.tolist(), cropped, strict=True):
        padded = torch.zeros(3, 40, 40, dtype=torch.uint8)  # one image at a time: the slow twin
        padded[:, 4:36, 4:36] = image
        expected = padded[:, row : row + 32, column : column + 32]
        assert torch.equal(got, expected.flip(2) if flip else expected)


def test_every_crop_is_as_likely_and_half_are_flipped():
    n = 81_000
    choices = data.crop_choices(n, seed=0, epoch=0, device="cpu")
    counts = (9 * choices[:, 0] + choices[:, 1]).bincount(minlength=81)
    chi_square = float(((counts - 1000) ** 2 / 1000).sum())
    assert chi_square < 80 + 4 * (2 * 80) ** 0.5  # 80 degrees of freedom, four standard deviations
    assert abs(float(choices[:, 2].double().mean()) - 0.5) < 4 * 0.5 / n**0.5
    assert set(choices[:, 2].tolist()) == {0, 1}


def test_crops_are_fixed_by_seed_and_epoch():
    def choices(seed: int, epoch: int) -> list:
        return data.crop_choices(50, seed=seed, epoch=epoch, device="cpu").tolist()

    assert choices(0, 0) == choices(0, 0)
    assert choices(0, 0) != choices(0, 1) != choices(1, 0)
