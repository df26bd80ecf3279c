"""Readers against files written here by `struct`, byte by byte; downloads from a server on this machine."""

import gc
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from train.data import images as data
from train.data import readers
from train.errors import DataError

REAL = Path(os.environ.get("ULTRASLOW_DATA", "/nowhere"))  # where the real data sets are, if they are
SHAPES = {
    "train-images-idx3-ubyte": (7, 3, 2),
    "train-labels-idx1-ubyte": (7,),
    "t10k-images-idx3-ubyte": (4, 3, 2),
    "t10k-labels-idx1-ubyte": (4,),
}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def idx_files():
    """The four files' arrays and bytes: 0, 0, type 8, axes, lengths big-endian, then the bytes in C order."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 10, shape, dtype=np.uint8) for name, shape in SHAPES.items()}
    packed = {
        name: struct.pack(">HBB", 0, 8, a.ndim) + struct.pack(f">{a.ndim}i", *a.shape) + a.tobytes()
        for name, a in arrays.items()
    }
    return arrays, packed


@pytest.fixture
def mnist_root(tmp_path, idx_files):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in idx_files[1].items():
        (folder / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def server(tmp_path, idx_files):
    """Serves the packed files; gives its address and their checksums."""
    folder = tmp_path / "served"
    folder.mkdir()
    sha256 = {}
    for name, content in idx_files[1].items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        sha256[name.removesuffix("-ubyte")] = hashlib.sha256(packed).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", sha256
        listening.shutdown()
        thread.join()


def test_idx_files_are_read_as_written(mnist_root, idx_files):
    mnist = data.load("mnist", mnist_root)
    arrays = idx_files[0]
    assert mnist.train_x.shape == (7, 1, 3, 2)
    assert mnist.train_x.dtype == torch.uint8
    assert np.array_equal(mnist.train_x[:, 0], arrays["train-images-idx3-ubyte"])
    assert np.array_equal(mnist.train_y, arrays["train-labels-idx1-ubyte"])
    assert np.array_equal(mnist.test_x[:, 0], arrays["t10k-images-idx3-ubyte"])
    assert np.array_equal(mnist.test_y, arrays["t10k-labels-idx1-ubyte"])


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


@pytest.mark.skipif(not (REAL / "MNIST").is_dir(), reason="ULTRASLOW_DATA names no folder with MNIST")
def test_mnist_has_its_published_statistics():
    mnist = data.load("mnist", REAL)
    assert (len(mnist.train_x), len(mnist.test_x), mnist.classes) == (60_000, 10_000, 10)
    assert float(mnist.mean) / 255 == pytest.approx(0.1307, abs=5e-5)
    assert float(mnist.std) / 255 == pytest.approx(0.3081, abs=5e-5)


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


def _error(root: object, name: str = "mnist") -> str:
    with pytest.raises(DataError) as caught:
        data.load(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_truncated_file_is_named(mnist_root, idx_files):
    path = mnist_root / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(idx_files[1][path.name][:-5])
    assert f"{path} holds 37 bytes of data, expected 42 from its header 7 × 3 × 2" in _error(mnist_root)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00 packed", b"\0\0\x08\x01\0\0\0\x07", b"\0\0"])
def test_a_foreign_file_is_named(mnist_root, content):
    path = mnist_root / "MNIST/raw/t10k-images-idx3-ubyte"
    path.write_bytes(content)
    message = _error(mnist_root)
    assert message.startswith(f"{path} starts with {content[:4].hex() or 'nothing'}, expected 00000803")


def test_images_without_labels_are_refused(mnist_root, idx_files):
    folder = mnist_root / "MNIST/raw"
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_files[1]["t10k-labels-idx1-ubyte"])
    assert f"{folder}: 7 train images but 4 labels" in _error(mnist_root)


def test_an_unknown_data_set_lists_the_known_ones(tmp_path):
    assert "no data set is named 'mnits'; known are digits, mnist, fashion-mnist, cifar10" in _error(
        tmp_path, "mnits"
    )


def test_missing_files_are_downloaded_and_checked(tmp_path, server, idx_files):
    url, sha256 = server
    read = partial(readers.mnist_like, folder="MNIST/raw", url=url, sha256=sha256)
    train_x, *_, test_y = read(tmp_path)
    assert np.array_equal(train_x[:, 0], idx_files[0]["train-images-idx3-ubyte"])
    assert np.array_equal(test_y, idx_files[0]["t10k-labels-idx1-ubyte"])
    written = (tmp_path / "MNIST/raw/train-images-idx3-ubyte").read_bytes()
    assert written == idx_files[1]["train-images-idx3-ubyte"]
    read = partial(readers.mnist_like, folder="MNIST/raw", url="http://127.0.0.1:1", sha256=sha256)
    assert np.array_equal(read(tmp_path)[0], train_x)  # and not a second time


def test_a_download_with_another_checksum_is_refused(tmp_path, server):
    url, sha256 = server
    read = partial(readers.mnist_like, folder="MNIST/raw", url=url, sha256={**sha256, "train-images-idx3": "0" * 64})
    with pytest.raises(DataError, match=r"could not be had \(its checksum is another\)") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "MNIST/raw/train-images-idx3-ubyte").exists()


def test_without_a_download_the_missing_file_is_named(tmp_path):
    url, path = "http://127.0.0.1:1", tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    sha256 = dict.fromkeys((name.removesuffix("-ubyte") for name in SHAPES), "0" * 64)
    with pytest.raises(DataError) as caught:
        readers.mnist_like(tmp_path, folder="MNIST/raw", url=url, sha256=sha256)
    assert str(caught.value) == (
        f"{path} is missing and {url}/{path.name}.gz could not be had (ConnectionError); put the unpacked file there"
    )


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pooch leaves a refused download's socket to the gc
def test_a_refused_download_names_the_missing_file(tmp_path, server):
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is missing and .* \(HTTPError\)"):
        readers.mnist_like(tmp_path, folder="MNIST/raw", url=f"{server[0]}/nothing", sha256=server[1])
    gc.collect()


CIFAR = {
    "cifar10": {"records": (20, 10), "names": [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]},
    "cifar100": {"records": (20, 10), "names": ["train", "test"]},
}


def _cifar_reader(name: str, **changes: object) -> partial:
    return partial(readers.READERS[name], records=CIFAR[name]["records"], **changes)


def _cifar_files(name: str) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, bytes]]:
    """What is in each file (images (n, 3, 32, 32), labels), and the bytes of the binary layout."""
    rng = np.random.default_rng(0)
    content, packed = {}, {}
    for stem in CIFAR[name]["names"]:
        n = CIFAR[name]["records"][stem.startswith("test")]
        x = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        y = rng.integers(0, 10 if name == "cifar10" else 100, n, dtype=np.uint8)
        content[stem] = x, y
        superclass = b"" if name == "cifar10" else b"\x07"
        packed[stem] = b"".join(
            superclass + bytes([label]) + image.tobytes() for image, label in zip(x, y, strict=True)
        )
    return content, packed


def _python2_pickle(x: np.ndarray, key: str, labels: list[int]) -> bytes:
    """{"data": x, key: labels} as the published files hold it: Python 2's byte strings, numpy's old module names."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(content)) + content

    def whole(number: int) -> bytes:
        return b"J" + struct.pack("<i", number)

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + whole(0) + whole(1) + b"\x87R"
    dtype += b"(" + whole(3) + text(b"|") + b"NNN" + whole(-1) + whole(-1) + whole(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + whole(0) + b"\x85" + text(b"b") + b"\x87R"
    shape = whole(x.shape[0]) + whole(x.shape[1]) + b"\x86"
    array += b"(" + whole(1) + shape + dtype + b"\x89" + text(x.tobytes()) + b"tb"
    numbers = b"](" + b"".join(whole(label) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(key.encode()) + numbers + b"u."


def _write_cifar(root: object, name: str, layout: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    content, packed = _cifar_files(name)
    folder = root / readers.READERS[name].keywords[layout]
    folder.mkdir(parents=True)
    for stem, (x, y) in content.items():
        if layout == "binary":
            (folder / f"{stem}.bin").write_bytes(packed[stem])
        else:
            key = "labels" if name == "cifar10" else "fine_labels"
            (folder / stem).write_bytes(_python2_pickle(x.reshape(len(x), -1), key, y.tolist()))
    return content


@pytest.mark.parametrize("layout", ["binary", "python"])
@pytest.mark.parametrize("name", CIFAR)
def test_cifar_is_read_as_written(tmp_path, name, layout):
    content = _write_cifar(tmp_path, name, layout)
    train_x, train_y, test_x, test_y = _cifar_reader(name)(tmp_path)
    *training, test = content.values()
    assert np.array_equal(train_x, np.concatenate([x for x, _ in training]))
    assert np.array_equal(train_y, np.concatenate([y for _, y in training]))
    assert np.array_equal(test_x, test[0])
    assert np.array_equal(test_y, test[1])


def test_cifar_is_normalized_by_channel(tmp_path, monkeypatch):
    content = _write_cifar(tmp_path, "cifar10", "binary")
    monkeypatch.setitem(readers.READERS, "cifar10", _cifar_reader("cifar10"))
    cifar = data.load("cifar10", tmp_path)
    pixels = np.concatenate([x for x, _ in list(content.values())[:5]]).astype(float)
    expected = (pixels - pixels.mean((0, 2, 3), keepdims=True)) / pixels.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(cifar.normalize(cifar.train_x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * 100, "holds 100 bytes, expected 61460 \\(20 images\\)"),
        (b"\x0a" + b"\0" * (20 * 3073 - 1), "holds the label 10, expected 0 to 9"),
    ],
)
def test_a_damaged_binary_batch_is_named(tmp_path, content, message):
    _write_cifar(tmp_path, "cifar10", "binary")
    path = tmp_path / "cifar-10-batches-bin/data_batch_3.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        _cifar_reader("cifar10")(tmp_path)
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
    _write_cifar(tmp_path, "cifar10", "python")
    path = tmp_path / "cifar-10-batches-py/data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        _cifar_reader("cifar10")(tmp_path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "intruder").exists()


def test_missing_cifar_is_downloaded_and_unpacked(tmp_path, server):
    content, packed = _cifar_files("cifar100")
    archive = tmp_path / "served/cifar-100-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for stem, stored in packed.items():
            entry = tarfile.TarInfo(f"cifar-100-binary/{stem}.bin")
            entry.size = len(stored)
            tar.addfile(entry, io.BytesIO(stored))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    read = _cifar_reader("cifar100", url=f"{server[0]}/{archive.name}", sha256=sha256)
    assert np.array_equal(read(tmp_path / "root")[0], content["train"][0])
    with pytest.raises(DataError, match=r"cifar-100-binary/train\.bin is missing and .* could not be had"):
        _cifar_reader("cifar100", url="http://127.0.0.1:1/cifar.tar.gz")(tmp_path / "elsewhere")


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


@pytest.mark.skipif(
    not (REAL / "cifar-10-batches-bin").is_dir(), reason="ULTRASLOW_DATA names no folder with CIFAR-10"
)
def test_cifar10_has_its_published_statistics():
    cifar = data.load("cifar10", REAL)
    assert cifar.train_y.bincount().tolist() == [5000] * 10
    assert (cifar.mean.flatten() / 255).tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert (cifar.std.flatten() / 255).tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)


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


def test_downloads_are_encrypted_and_checked_by_sha256():
    for reader in readers.READERS.values():
        if isinstance(reader, partial):
            assert reader.keywords["url"].startswith("https://")
            digests = reader.keywords["sha256"]
            assert all(len(digest) == 64 for digest in ([digests] if isinstance(digests, str) else digests.values()))
