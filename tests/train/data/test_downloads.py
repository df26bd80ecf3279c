"""Downloads from a server on this machine: checked by their SHA-256, unpacked, refused."""

import gc
import gzip
import hashlib
import io
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from image_files import SHAPES, cifar_files, cifar_reader, idx_files

from train.data import readers
from train.errors import DataError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path):
    """Serves the packed files; gives its address and their checksums."""
    folder = tmp_path / "served"
    folder.mkdir()
    sha256 = {}
    for name, content in idx_files()[1].items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        sha256[name.removesuffix("-ubyte")] = hashlib.sha256(packed).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", sha256
        listening.shutdown()
        thread.join()


def test_missing_files_are_downloaded_and_checked(tmp_path, server):
    url, sha256 = server
    read = partial(readers.mnist_like, folder="MNIST/raw", url=url, sha256=sha256)
    train_x, *_, test_y = read(tmp_path)
    assert np.array_equal(train_x[:, 0], idx_files()[0]["train-images-idx3-ubyte"])
    assert np.array_equal(test_y, idx_files()[0]["t10k-labels-idx1-ubyte"])
    written = (tmp_path / "MNIST/raw/train-images-idx3-ubyte").read_bytes()
    assert written == idx_files()[1]["train-images-idx3-ubyte"]
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


def test_missing_cifar_is_downloaded_and_unpacked(tmp_path, server):
    content, packed = cifar_files("cifar100")
    archive = tmp_path / "served/cifar-100-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for stem, stored in packed.items():
            entry = tarfile.TarInfo(f"cifar-100-binary/{stem}.bin")
            entry.size = len(stored)
            tar.addfile(entry, io.BytesIO(stored))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    read = cifar_reader("cifar100", url=f"{server[0]}/{archive.name}", sha256=sha256)
    assert np.array_equal(read(tmp_path / "root")[0], content["train"][0])
    with pytest.raises(DataError, match=r"cifar-100-binary/train\.bin is missing and .* could not be had"):
        cifar_reader("cifar100", url="http://127.0.0.1:1/cifar.tar.gz")(tmp_path / "elsewhere")


def test_downloads_are_encrypted_and_checked_by_sha256():
    for reader in readers.READERS.values():
        if isinstance(reader, partial):
            assert reader.keywords["url"].startswith("https://")
            digests = reader.keywords["sha256"]
            assert all(len(digest) == 64 for digest in ([digests] if isinstance(digests, str) else digests.values()))
