"""The data sets' files, in torchvision's layouts, as numpy arrays; a missing file is downloaded.

Every reader returns train_x, train_y, test_x, test_y: images uint8 (N, C, H, W), labels of integers (N,).
"""

import pickle
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from train.errors import DataError

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_REPAIR = "replace it, or delete it to download it again"


def digits(root: Path) -> Arrays:
    """Return the digits that scikit-learn bundles, 8 × 8, in a fixed stratified split.

    Args:
        root: not used, since no file is needed.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.uint8).reshape(-1, 1, 8, 8)
    # 1280 = 80 × 16 = 5 × 256: no sample is dropped at the demo's batch sizes
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, train_size=1280, stratify=labels, random_state=0
    )
    return train_x, train_y, test_x, test_y


def mnist_like(root: Path, *, folder: str, url: str, sha256: dict[str, str]) -> Arrays:
    """Return MNIST, or a data set like it, from its four IDX files.

    Args:
        root: folder of the data sets.
        folder: folder of the files under it.
        url: where the packed files are downloaded from.
        sha256: checksums of the packed files, by the beginning of their names.

    Raises:
        DataError: for a file that is missing and cannot be downloaded, or a damaged one.
    """
    arrays = []
    for part in ("train", "t10k"):
        for kind, axes in (("images-idx3", 3), ("labels-idx1", 1)):
            path = root / folder / f"{part}-{kind}-ubyte"
            if not path.exists():
                _download(f"{url}/{path.name}.gz", sha256[f"{part}-{kind}"], path, path.parent)
            arrays.append(_idx(path, axes))
    train_x, train_y, test_x, test_y = arrays
    for part, x, y in (("train", train_x, train_y), ("t10k", test_x, test_y)):
        if len(x) != len(y):
            raise DataError(
                f"{root / folder}: {len(x)} {part} images but {len(y)} labels; replace the {part}-* files"
            )
    return train_x[:, None], train_y, test_x[:, None], test_y


def _idx(path: Path, axes: int) -> np.ndarray:
    """An IDX file of bytes: 0, 0, 8 (unsigned bytes), the number of axes, their lengths, data."""
    content = np.fromfile(path, np.uint8)
    header = 4 + 4 * axes
    magic = bytes(content[:4])
    if magic != bytes([0, 0, 8, axes]) or len(content) < header:
        raise DataError(
            f"{path} starts with {magic.hex() or 'nothing'}, expected 000008{axes:02x} (IDX, unsigned bytes, "
            f"{axes} axes); {_REPAIR}"
        )
    shape = tuple(int(length) for length in content[4:header].view(">i4"))
    if len(content) - header != prod(shape):
        raise DataError(
            f"{path} holds {len(content) - header} bytes of data, expected {prod(shape)} from its header "
            f"{' × '.join(map(str, shape))}; {_REPAIR}"
        )
    return content[header:].reshape(shape)


def cifar(
    root: Path,
    *,
    binary: str,
    python: str,
    train: tuple[str, ...],
    test: str,
    label_bytes: int,
    classes: int,
    records: tuple[int, int],
    url: str,
    sha256: str,
) -> Arrays:
    """Return CIFAR-10 or CIFAR-100: the binary layout if its folder is there, else the pickled one, else a download.

    Args:
        root: folder of the data sets.
        binary: folder of the binary layout under it.
        python: folder of the pickled layout under it.
        train: names of the training files, without their suffix.
        test: name of the test file, without its suffix.
        label_bytes: bytes before the 3072 of an image, the last of them the label.
        classes: number of classes.
        records: images in each training file, and in the test file.
        url: where the packed binary layout is downloaded from.
        sha256: its checksum.

    Raises:
        DataError: for a file that is missing and cannot be downloaded, or a damaged one.
    """
    if (root / python).is_dir() and not (root / binary).is_dir():
        read: Callable[..., tuple[np.ndarray, np.ndarray]] = _cifar_python
        folder, names = root / python, [*train, test]
    else:
        read, folder = partial(_cifar_binary, label_bytes=label_bytes), root / binary
        names = [f"{name}.bin" for name in (*train, test)]
    parts = []
    for name in names:
        path = folder / name
        if not path.exists():
            _download(url, sha256, path, root)
        x, y = read(path, records=records[name == names[-1]])
        if y.max() >= classes:
            raise DataError(f"{path} holds the label {y.max()}, expected 0 to {classes - 1}; {_REPAIR}")
        parts.append((x.reshape(-1, 3, 32, 32), y))
    train_x, train_y = (np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    return train_x, train_y, *parts[-1]


def _cifar_binary(path: Path, records: int, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Records of label bytes and 3 × 1024 bytes of red, green and blue."""
    size = label_bytes + 3072
    content = np.fromfile(path, np.uint8)
    if len(content) != records * size:
        raise DataError(f"{path} holds {len(content)} bytes, expected {records * size} ({records} images); {_REPAIR}")
    content = content.reshape(records, size)
    return content[:, label_bytes:], content[:, label_bytes - 1]


def _cifar_python(path: Path, records: int) -> tuple[np.ndarray, np.ndarray]:
    """A pickled dictionary with `data` (n, 3072) and a list of `labels` or `fine_labels`."""
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
        x = np.asarray(content["data"])
        y = np.asarray(content["fine_labels" if "fine_labels" in content else "labels"])
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is no batch of CIFAR ({type(error).__name__}: {error}); {_REPAIR}") from error
    if x.shape != (records, 3072) or x.dtype != np.uint8 or len(y) != records:
        raise DataError(
            f"{path} holds images {x.shape} of {x.dtype} and {len(y)} labels, "
            f"expected ({records}, 3072) of uint8; {_REPAIR}"
        )
    return x, y


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays and plain values: a pickle from elsewhere must not run code of its own."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": _reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] == "numpy" and name in known:
            return known[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _download(url: str, sha256: str, path: Path, folder: Path) -> None:
    """Downloads the archive that holds `path` into `folder`, compares its checksum and unpacks it."""
    import pooch  # with requests, which no run needs whose files are there

    pooch.get_logger().setLevel("WARNING")  # its notice of each download is no error line of ours
    is_tar = url.endswith(".tar.gz")
    unpack = pooch.Untar(extract_dir=".") if is_tar else pooch.Decompress(method="gzip", name=path.name)
    try:
        pooch.retrieve(
            url,
            f"sha256:{sha256}",
            fname=url.rpartition("/")[2],
            path=folder,
            processor=unpack,
            downloader=pooch.HTTPDownloader(timeout=10),  # seconds
        )
    except (OSError, ValueError) as error:  # pooch raises ValueError for another checksum, requests OSErrors
        reason = "its checksum is another" if isinstance(error, ValueError) else type(error).__name__
        raise DataError(
            f"{path} is missing and {url} could not be had ({reason}); put the unpacked file there"
        ) from error


IMAGE_FOLDERS = ("imagenet",)  # read by train.data.image_folder, batch by batch
READERS: dict[str, Callable[[Path], Arrays]] = {
    "digits": digits,
    "mnist": partial(
        mnist_like,
        folder="MNIST/raw",
        url="https://ossci-datasets.s3.amazonaws.com/mnist",
        sha256={
            "train-images-idx3": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": partial(
        mnist_like,
        folder="FashionMNIST/raw",
        url="https://fashion-mnist.s3.eu-central-1.amazonaws.com",
        sha256={
            "train-images-idx3": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "cifar10": partial(
        cifar,
        binary="cifar-10-batches-bin",
        python="cifar-10-batches-py",
        train=tuple(f"data_batch_{k}" for k in range(1, 6)),
        test="test_batch",
        label_bytes=1,
        classes=10,
        records=(10_000, 10_000),
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    "cifar100": partial(
        cifar,
        binary="cifar-100-binary",
        python="cifar-100-python",
        train=("train",),
        test="test",
        label_bytes=2,  # the superclass, then the class
        classes=100,
        records=(50_000, 10_000),
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
}

# Samples in the training set of each, known without its files: the digits' split is ours (above); LeCun et al. 1998;
# Xiao et al. 2017 (arXiv 1708.07747); Krizhevsky 2009.
TRAIN_SIZES = {"digits": 1280, "mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000}
