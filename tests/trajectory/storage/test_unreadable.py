"""Files that are there and cannot be read, and stores that cannot be written on: one line says which, and why.

A symbolic link to itself stands for a file or a folder without permission, since nothing is forbidden to root.
"""

import errno
import os
import shutil

import pytest
from torch import nn

from trajectory import Recorder, Run, StoreError, verify


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run of 100 updates whose process was killed."""
    path = tmp_path_factory.mktemp("killed") / "run.zarr"
    model = nn.Linear(1, 1)
    recorder = Recorder(path, model, snapshots=[50])
    for _ in range(100):
        recorder.update()
    recorder.flush()
    shutil.copytree(path, path.with_name("copy.zarr"))
    recorder.close()
    return path.with_name("copy.zarr")


@pytest.fixture
def path(killed, tmp_path):
    return shutil.copytree(killed, tmp_path / "run.zarr")


def make_unreadable(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(path.name)


LOOP = "Too many levels of symbolic links"
ACTS = {
    "read": lambda path: Run(path).layers(),
    "resume": lambda path: reopen(path),
    "weights": lambda path: Run(path).state_dict(50),
}


def reopen(path):
    model = nn.Linear(1, 1)
    return Recorder(path, model, resume="must", step=50)


@pytest.mark.parametrize(
    ("name", "act", "sentence"),
    [
        ("zarr.json", "read", f"not a run: got {LOOP}"),
        ("zarr.json", "resume", f"not a run: got {LOOP}"),
        ("journal.0", "read", rf"journal.0 cannot be read \({LOOP}\)"),
        ("step", "resume", "step is a symbolic link"),
        ("snapshots/weights", "weights", rf"snapshots/weights/c/0/0 cannot be read \({LOOP}\)"),
    ],
)
def test_what_cannot_be_read_is_named(path, name, act, sentence):
    make_unreadable(path / name)
    with pytest.raises(StoreError, match=sentence) as caught:
        ACTS[act](path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_read_costs_its_own_array(path):
    verify(path, repair=True)
    make_unreadable(path / "layer_distance")
    run = Run(path)
    assert len(run.distance) == 100
    with pytest.raises(StoreError, match=rf"layer_distance/c/0/0 cannot be read \({LOOP}\)"):
        run.layers()
    messages = [problem.message for problem in verify(path)]
    assert any(message.startswith("layer_distance/c/0/0 cannot be read") for message in messages)


@pytest.mark.parametrize(
    "act", [lambda path: verify(path, repair=True), lambda path: reopen(path)], ids=["repair", "resume"]
)
def test_a_full_disk_keeps_a_killed_run_as_it_is(path, monkeypatch, act):
    """The lock's file can be made there, and nothing is written to it."""

    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StoreError, match="cannot be written on: No space left on device") as caught:
            act(path)
        assert "\n" not in str(caught.value)
    assert len(Run(path).distance) == 100
    assert len(verify(path, repair=True)) > 0
    assert verify(path) == []
