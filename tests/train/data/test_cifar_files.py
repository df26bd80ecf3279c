"""The readers of CIFAR's files: what was written byte by byte is read; what is damaged is named and runs nothing."""

import os
import pickle

import numpy as np
import pytest
from image_files import CIFAR, cifar_reader, write_cifar

from train.errors import DataError


@pytest.mark.parametrize("layout", ["binary", "python"])
@pytest.mark.parametrize("name", CIFAR)
def test_cifar_is_read_as_written(tmp_path, name, layout):
    content = write_cifar(tmp_path, name, layout)
    train_x, train_y, test_x, test_y = cifar_reader(name)(tmp_path)
    *training, test = content.values()
    assert np.array_equal(train_x, np.concatenate([x for x, _ in training]))
    assert np.array_equal(train_y, np.concatenate([y for _, y in training]))
    assert np.array_equal(test_x, test[0])
    assert np.array_equal(test_y, test[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * 100, "holds 100 bytes, expected 61460 \\(20 images\\)"),
        (b"\x0a" + b"\0" * (20 * 3073 - 1), "holds the label 10, expected 0 to 9"),
    ],
)
def test_a_damaged_binary_batch_is_named(tmp_path, content, message):
    write_cifar(tmp_path, "cifar10", "binary")
    path = tmp_path / "cifar-10-batches-bin/data_batch_3.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        cifar_reader("cifar10")(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


class _Intruder:
    def __reduce__(self):
        return os.mkdir, ("intruder",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no pickle", "is no batch of CIFAR"),
        (pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [0] * 3}), r"holds images \(3, 3072\)"),
        (pickle.dumps({"labels": [0]}), "KeyError: 'data'"),
        (pickle.dumps(_Intruder()), "asks for posix.mkdir"),
    ],
    ids=["foreign", "short", "without images", "with code in it"],
)
def test_a_damaged_pickled_batch_is_named_and_runs_nothing(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path, "cifar10", "python")
    path = tmp_path / "cifar-10-batches-py/data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        cifar_reader("cifar10")(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "intruder").exists()
