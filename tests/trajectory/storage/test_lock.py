"""A lock ends with its holder, and only with it."""

import errno
import fcntl
import gc
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from trajectory import Recorder, Run, StoreError
from trajectory.storage import lock as locks
from trajectory.storage.lock import RunLock

HOLDER = """
import os, sys, time
from pathlib import Path
from trajectory.storage.lock import RunLock
lock = RunLock(Path(sys.argv[1]), "the run")
pid = os.fork()
if pid == 0:
    lock.release()
    print(os.getpid(), flush=True)
time.sleep(60)
"""


def refused(folder):
    with pytest.raises(StoreError, match="another recorder is writing there") as caught:
        RunLock(folder, folder)
    return str(caught.value)


def test_a_forked_child_neither_keeps_nor_releases_the_lock(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with holder:
        child = int(holder.stdout.readline())
        try:
            assert f"process {holder.pid} on {socket.gethostname()}" in refused(tmp_path)
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # it lives
            RunLock(tmp_path, tmp_path).release()
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_that_is_dropped_is_released(tmp_path):
    lock = RunLock(tmp_path, tmp_path)
    refused(tmp_path)
    del lock
    gc.collect()
    RunLock(tmp_path, tmp_path).release()
    assert not list(tmp_path.iterdir())


def test_the_file_of_a_lock_that_is_released_meanwhile_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    """Its holder removes it after another recorder has opened it, and before that one locks it."""
    first, flock = RunLock(tmp_path, tmp_path), fcntl.flock

    def release_first(fd, operation):
        first.release()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", release_first)
    second = RunLock(tmp_path, tmp_path)
    refused(tmp_path)
    second.release()


def test_a_symbolic_link_in_the_place_of_the_lock_is_not_written_through(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "run" / "lock").symlink_to(tmp_path / "notes")
    with pytest.raises(StoreError, match="cannot write a run there"):
        RunLock(tmp_path / "run", "run")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.fixture(params=["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def no_locks(monkeypatch, request):
    """A file system without locks."""

    def flock(fd, operation):
        raise OSError(getattr(errno, request.param), "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_file_system_without_locks_is_recorded_on_with_a_warning(tmp_path, no_locks):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(RuntimeWarning, match="knows no file locks .no locks.") as said:
        recorder = Recorder(tmp_path / "run.zarr", model, optimizer)
    assert len(said) == 1
    with recorder:
        optimizer.step()
        refused(tmp_path / "run.zarr")
    assert len(Run(tmp_path / "run.zarr").distance) == 1
    assert not (tmp_path / "run.zarr" / "lock").exists()


def test_without_locks_a_process_that_ended_keeps_nobody_off(tmp_path, no_locks):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for pid in (ended.pid, os.getpid()):  # the second as of a process that had this one's number before
        (tmp_path / "lock").write_text(f"{pid} {socket.gethostname()}")
        with pytest.warns(RuntimeWarning, match="nothing keeps a second recorder off; process .* make sure that it"):
            RunLock(tmp_path, tmp_path).release()


def test_without_locks_another_machine_is_named(tmp_path, no_locks):
    (tmp_path / "lock").write_text("12 far-away")
    with pytest.warns(RuntimeWarning, match="process 12 on far-away was not done with it"):
        RunLock(tmp_path, tmp_path).release()


@pytest.mark.parametrize("named", ["", "0 here", "-1 here", "no number", "9" * 40 + " here", "\xff"])
def test_without_locks_any_content_of_the_file_is_read(tmp_path, no_locks, monkeypatch, named):
    monkeypatch.setattr(locks.socket, "gethostname", lambda: "here")
    (tmp_path / "lock").write_text(named)
    with pytest.warns(RuntimeWarning, match="knows no file locks"):
        RunLock(tmp_path, tmp_path).release()


def test_a_close_that_fails_releases_the_lock(tmp_path, monkeypatch):
    from trajectory.storage.commit_writer import CommitWriter

    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer)
    optimizer.step()
    recorder.flush()

    def fails(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CommitWriter, "publish", fails)
        with pytest.raises(ValueError, match="No space left"):
            recorder.close()
    assert len(Run(tmp_path / "run.zarr").distance) == 1
    Recorder(tmp_path / "run.zarr", model, optimizer, resume="must", step=1).close()
    assert Run(tmp_path / "run.zarr").status == "complete"
