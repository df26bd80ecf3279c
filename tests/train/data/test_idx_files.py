"""The reader of MNIST's files: what was written byte by byte is read, and what is damaged is named."""

import numpy as np
import pytest
import torch
from image_files import idx_files

from train.data import images as data
from train.errors import DataError


def test_idx_files_are_read_as_written(mnist_root):
    mnist = data.load("mnist", mnist_root)
    arrays = idx_files()[0]
    assert mnist.train_x.shape == (7, 1, 3, 2)
    assert mnist.train_x.dtype == torch.uint8
    assert np.array_equal(mnist.train_x[:, 0], arrays["train-images-idx3-ubyte"])
    assert np.array_equal(mnist.train_y, arrays["train-labels-idx1-ubyte"])
    assert np.array_equal(mnist.test_x[:, 0], arrays["t10k-images-idx3-ubyte"])
    assert np.array_equal(mnist.test_y, arrays["t10k-labels-idx1-ubyte"])


def _error(root: object) -> str:
    with pytest.raises(DataError) as caught:
        data.load("mnist", root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_truncated_file_is_named(mnist_root):
    path = mnist_root / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(idx_files()[1][path.name][:-5])
    assert f"{path} holds 37 bytes of data, expected 42 from its header 7 × 3 × 2" in _error(mnist_root)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00 packed", b"\0\0\x08\x01\0\0\0\x07", b"\0\0"])
def test_a_foreign_file_is_named(mnist_root, content):
    path = mnist_root / "MNIST/raw/t10k-images-idx3-ubyte"
    path.write_bytes(content)
    message = _error(mnist_root)
    assert message.startswith(f"{path} starts with {content[:4].hex() or 'nothing'}, expected 00000803")


def test_images_without_labels_are_refused(mnist_root):
    folder = mnist_root / "MNIST/raw"
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_files()[1]["t10k-labels-idx1-ubyte"])
    assert f"{folder}: 7 train images but 4 labels" in _error(mnist_root)
