"""Data sets in memory: their split, normalization, batches and labels."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import cifar_reader, write_cifar
from sklearn.datasets import load_digits

from train.data import images as data
from train.data import readers
from train.errors import DataError

REAL = Path(os.environ.get("ULTRASLOW_DATA", "/nowhere"))  # where the real data sets are, if they are


def test_normalization_takes_the_training_mean_and_deviation_out(mnist_root):
    mnist = data.load("mnist", mnist_root)
    x = mnist.normalize(mnist.train_x)
    assert x.dtype == torch.float32
    # summed in float64: float32's rounding of the mean, the deviation and the quotient is left, some 1e-7 each
    assert float(x.double().mean()) == pytest.approx(0, abs=1e-6)
    assert float(x.double().std(correction=0)) == pytest.approx(1, abs=1e-6)
    pixels = mnist.train_x.numpy().astype(float)
    expected = (mnist.test_x.numpy() - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(mnist.normalize(mnist.test_x), expected, rtol=1e-5, atol=1e-6)


def test_cifar_is_normalized_by_channel(tmp_path, monkeypatch):
    content = write_cifar(tmp_path, "cifar10", "binary")
    monkeypatch.setitem(readers.READERS, "cifar10", cifar_reader("cifar10"))
    cifar = data.load("cifar10", tmp_path)
    pixels = np.concatenate([x for x, _ in list(content.values())[:5]]).astype(float)
    expected = (pixels - pixels.mean((0, 2, 3), keepdims=True)) / pixels.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(cifar.normalize(cifar.train_x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason="ULTRASLOW_DATA names no folder with MNIST")
def test_mnist_has_its_published_statistics():
    mnist = data.load("mnist", REAL)
    assert (len(mnist.train_x), len(mnist.test_x), mnist.classes) == (60_000, 10_000, 10)
    assert float(mnist.mean) / 255 == pytest.approx(0.1307, abs=5e-5)
    assert float(mnist.std) / 255 == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.skipif(
    not (REAL / "cifar-10-batches-bin").is_dir(), reason="ULTRASLOW_DATA names no folder with CIFAR-10"
)
def test_cifar10_has_its_published_statistics():
    cifar = data.load("cifar10", REAL)
    assert cifar.train_y.bincount().tolist() == [5000] * 10
    assert (cifar.mean.flatten() / 255).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert (cifar.std.flatten() / 255).tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)


def test_digits_are_split_once_and_by_class():
    digits, again = data.load("digits"), data.load("digits")
    assert torch.equal(digits.train_x, again.train_x)
    assert (digits.train_x.shape, digits.test_x.shape) == ((1280, 1, 8, 8), (517, 1, 8, 8))
    assert digits.classes == 10
    images, labels = load_digits(return_X_y=True)
    both = torch.cat([digits.train_x, digits.test_x]).flatten(1).numpy()
    order = np.lexsort(both.T), np.lexsort(images.T)
    assert np.array_equal(both[order[0]], images[order[1]])  # every image once, in one of the two
    y = torch.cat([digits.train_y, digits.test_y]).numpy()
    assert np.array_equal(y[order[0]], labels[order[1]])
    share = digits.train_y.bincount() / torch.from_numpy(labels).bincount()
    assert float((share - 1280 / 1797).abs().max()) < 1 / 170  # one sample of the smallest class


def test_batches_visit_every_sample_once_an_epoch():
    order = torch.cat(list(data.batches(103, 10, seed=0, epoch=0, device="cpu")))
    assert len(order) == 100  # the short batch of three is dropped
    assert len(order.unique()) == 100
    assert all(len(b) == 10 for b in data.batches(103, 10, seed=0, epoch=0, device="cpu"))


def test_batches_are_fixed_by_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat(list(data.batches(50, 10, seed=seed, epoch=epoch, device="cpu"))).tolist()

    torch.manual_seed(0)
    first = order(0, 0)
    torch.manual_seed(1)
    assert order(0, 0) == first  # whatever the global generator
    assert len({tuple(order(seed, epoch)) for seed in range(5) for epoch in range(5)}) == 25


def test_batches_leave_the_global_random_state_alone():
    before = torch.get_rng_state()
    list(data.batches(50, 10, seed=0, epoch=0, device="cpu"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("augment", [False, True])
def test_an_epochs_batches_are_normalized_images_with_their_labels(augment):
    digits = data.load("digits")
    assert (digits.train_size, digits.shape) == (1280, (1, 8, 8))
    found = list(digits.train_batches(100, seed=3, epoch=2, augment=augment))
    choices = data.crop_choices(1280, seed=3, epoch=2, device="cpu")
    indices = list(data.batches(1280, 100, seed=3, epoch=2, device="cpu"))
    for index, (x, y) in zip(indices, found, strict=True):
        images = data.crop_and_flip(digits.train_x[index], choices[index]) if augment else digits.train_x[index]
        assert torch.equal(x, (images.float() - digits.mean) / digits.std)
        assert torch.equal(y, digits.train_y[index])
    rest = list(digits.train_batches(100, seed=3, epoch=2, augment=augment, start=9))
    assert [torch.equal(x, other) for (x, _), (other, _) in zip(rest, found[9:], strict=True)] == [True] * 3


def test_the_test_set_comes_whole_and_in_order(monkeypatch):
    monkeypatch.setattr(data, "_TEST_BATCH", 200)
    digits = data.load("digits")
    images, labels = zip(*digits.test_batches(), strict=True)
    assert [len(y) for y in labels] == [200, 200, 117]
    assert torch.equal(torch.cat(images), digits.normalize(digits.test_x))
    assert torch.equal(torch.cat(labels), digits.test_y)


def test_shuffled_labels_keep_their_counts_and_are_the_same_ones_each_time():
    digits = data.load("digits")
    shuffled = data.shuffle_labels(digits.train_y, 0.2)
    changed = (shuffled != digits.train_y).float().mean().item()
    # a fifth is permuted among ten about equally frequent classes: 0.2 · 0.9, give or take 1 % (1280 labels)
    assert changed == pytest.approx(0.18, abs=0.02)
    assert torch.equal(shuffled.bincount(), digits.train_y.bincount())
    assert torch.equal(data.shuffle_labels(digits.train_y, 0.2), shuffled)
    assert torch.equal(data.shuffle_labels(digits.train_y, 0.0), digits.train_y)


def test_the_sizes_that_are_known_without_files_are_those_of_the_files():
    assert readers.TRAIN_SIZES.keys() == readers.READERS.keys()
    assert readers.TRAIN_SIZES["digits"] == data.load("digits").train_size
    for name in ("cifar10", "cifar100"):
        asked = readers.READERS[name].keywords
        assert readers.TRAIN_SIZES[name] == len(asked["train"]) * asked["records"][0]


def test_an_unknown_data_set_lists_the_known_ones(tmp_path):
    known = "no data set is named 'mnits'; known are digits, mnist, fashion-mnist, cifar10"
    with pytest.raises(DataError, match=known) as caught:
        data.load("mnits", tmp_path)
    assert "\n" not in str(caught.value)
