"""A folder with the files of MNIST."""

import pytest
from image_files import idx_files


@pytest.fixture
def mnist_root(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in idx_files()[1].items():
        (folder / name).write_bytes(content)
    return tmp_path
