"""Image files as they were published, written byte by byte: idx of MNIST, batches of CIFAR."""

import struct
from functools import partial

import numpy as np

from train.data import readers

SHAPES = {
    "train-images-idx3-ubyte": (7, 3, 2),
    "train-labels-idx1-ubyte": (7,),
    "t10k-images-idx3-ubyte": (4, 3, 2),
    "t10k-labels-idx1-ubyte": (4,),
}
CIFAR = {
    "cifar10": {"records": (20, 10), "names": [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]},
    "cifar100": {"records": (20, 10), "names": ["train", "test"]},
}


def idx_files():
    """The four files' arrays and bytes: 0, 0, type 8, axes, lengths big-endian, then the bytes in C order."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 10, shape, dtype=np.uint8) for name, shape in SHAPES.items()}
    packed = {
        name: struct.pack(">HBB", 0, 8, a.ndim) + struct.pack(f">{a.ndim}i", *a.shape) + a.tobytes()
        for name, a in arrays.items()
    }
    return arrays, packed


def cifar_reader(name: str, **changes: object) -> partial:
    return partial(readers.READERS[name], records=CIFAR[name]["records"], **changes)


def cifar_files(name: str) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, bytes]]:
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


def write_cifar(root: object, name: str, layout: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    content, packed = cifar_files(name)
    folder = root / readers.READERS[name].keywords[layout]
    folder.mkdir(parents=True)
    for stem, (x, y) in content.items():
        if layout == "binary":
            (folder / f"{stem}.bin").write_bytes(packed[stem])
        else:
            key = "labels" if name == "cifar10" else "fine_labels"
            (folder / stem).write_bytes(_python2_pickle(x.reshape(len(x), -1), key, y.tolist()))
    return content
