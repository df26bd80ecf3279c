"""Stores that are no folder: what is recorded there, what a failure leaves, and that no step waits for one."""

import asyncio
import subprocess
import sys
import threading
import uuid
import warnings
import zipfile
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
import torch
import xarray
import zarr.storage
from torch import nn
from zarr.storage import MemoryStore, ObjectStore, WrapperStore, ZipStore

from analysis.run_curves import runs_in
from trajectory import Every, Recorder, RecordingError, Run, StoreError, verify
from trajectory.storage.location import open_backend

obstore_store = pytest.importorskip("obstore.store")  # a machine that runs the GPU's tests alone may lack it


class FailsFrom(WrapperStore):
    """Every write from number n on fails, as when a connection is lost."""

    def __init__(self, store, n):
        super().__init__(store)
        self.left = n

    async def set(self, key, value):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("connection reset by peer\nDebug source: ...")
        await super().set(key, value)


class StandsStill(WrapperStore):
    """No write ends before `go` is set."""

    def __init__(self, store):
        super().__init__(store)
        self.go = threading.Event()
        self.go.set()
        self.keys = []

    async def set(self, key, value):
        await asyncio.to_thread(self.go.wait)
        self.keys.append(key)
        await super().set(key, value)


def stores():
    return {
        "a zarr store": MemoryStore(),
        "fsspec": f"memory://{uuid.uuid4().hex}/run.zarr",
        "obstore": ObjectStore(obstore_store.MemoryStore()),
    }


def record(where, updates=1100, flush_every=None, **arguments):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = Recorder(where, model, optimizer, snapshots=Every(400), origins=[50], **arguments)
    for t in range(run.step + 1, updates + 1):
        model.weight.grad = torch.full((2, 3), float(t % 7))
        model.bias.grad = torch.ones(2)
        optimizer.step()
        run.log(loss=1 / t)
        if t % 500 == 0:
            run.event("mark", t=t)
        if flush_every and t % flush_every == 0:
            run.flush()
    return run


def same(one, other):
    """Everything recorded, bit for bit: the same updates were made in this process."""
    one, other = Run(one), Run(other)
    pd.testing.assert_frame_equal(one.layers(), other.layers(), check_exact=True)
    pd.testing.assert_frame_equal(one.layers(origin=50), other.layers(origin=50), check_exact=True)
    pd.testing.assert_frame_equal(one.metrics, other.metrics, check_exact=True)
    assert (one.events, one.snapshots, one.status) == (other.events, other.snapshots, other.status)
    for step in one.snapshots:
        assert torch.equal(one.state_dict(step)["weight"], other.state_dict(step)["weight"])


@pytest.mark.parametrize("kind", stores())
def test_a_run_recorded_elsewhere_equals_one_in_a_folder(kind, tmp_path):
    where = stores()[kind]
    record(tmp_path / "run.zarr").close()
    run = record(where)
    run.flush()
    newest = Run(where)  # as somebody watching it
    assert (len(newest.distance), newest.status) == (1100, "recording")
    assert not [name for name in open_backend(where).names() if name == "lock"]
    run.close()
    same(where, tmp_path / "run.zarr")
    assert verify(where) == []
    assert xarray.open_zarr(where).sizes["step"] == 1100
    with pytest.raises(StoreError, match="already exists"):
        record(where)
    record(where, updates=10, overwrite=True).close()
    assert len(Run(where).distance) == 10


def kill(recorder):
    """Leave the store as a killed process would: what is collected closes nothing any more."""
    recorder._end.detach()


@pytest.mark.parametrize("kind", stores())
def test_a_killed_run_elsewhere_is_mended_and_goes_on(kind, tmp_path):
    where = stores()[kind]
    record(tmp_path / "run.zarr").close()
    killed = record(where)
    killed.flush()
    kill(killed)  # its last rows are in the journal alone
    sentences = [problem.message for problem in verify(where)]
    assert sentences == ["not closed: 76 recorded steps are in the journal alone"]
    again = record(where, updates=1050, resume="must", step=1050)
    again.flush()
    assert Run(where).distance.index[-1] == 1050
    kill(again)
    verify(where, repair=True)
    assert Run(where).status == "interrupted (killed)"
    assert verify(where) == []
    pd.testing.assert_series_equal(Run(where).distance, Run(tmp_path / "run.zarr").distance[:1050], check_exact=True)


def test_a_connection_lost_at_any_write_leaves_what_was_written_readable():
    whole, counted = MemoryStore(), FailsFrom(MemoryStore(), 10**9)
    record(whole).close()
    record(counted, flush_every=64).close()  # flushed, so that the writes are the same ones each time
    writes = 10**9 - counted.left
    lengths = []
    for n in range(0, writes, 13):
        store, on_error = MemoryStore(), ("raise", "warn")[n % 2]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                record(FailsFrom(store, n), flush_every=64, on_error=on_error).close()
                told = str(caught[0].message)
            except (RecordingError, StoreError) as error:
                told = str(error)
        assert "connection reset by peer)" in told
        assert "\n" not in told
        if zarr.open_group(store, mode="a").attrs.get("ultraslow") is None:
            lengths.append(-1)  # it had not come as far as a run
            continue
        run = Run(store)
        lengths.append(len(run.distance))
        np.testing.assert_array_equal(run.distance, Run(whole).distance[: len(run.distance)])
        for step in run.snapshots:
            assert torch.equal(run.state_dict(step)["weight"], Run(whole).state_dict(step)["weight"])
    assert lengths[0] == -1
    assert max(lengths) >= 1088


def test_no_step_waits_for_a_store_that_stands_still():
    inner = StandsStill(MemoryStore())
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = Recorder(inner, model, optimizer, snapshots=Every(400), origins=[50])
    run.flush()
    inner.keys.clear()
    inner.go.clear()
    for _ in range(640):  # ten blocks; this line ends although nothing can be written
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
    inner.go.set()
    run.flush()
    assert len(Run(inner).distance) == 640
    # The block that was on its way, and all that had queued up behind it in one piece.
    assert len([key for key in inner.keys if key.startswith("journal.")]) <= 3
    run.close()


def test_a_run_in_an_archive_is_read(tmp_path):
    folder = tmp_path / "run.zarr"
    record(folder, updates=20).close()
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))
    assert Run(ZipStore(tmp_path / "run.zip", mode="r")).distance.equals(Run(folder).distance)
    assert verify(ZipStore(tmp_path / "run.zip", mode="r")) == []


def test_a_url_nobody_can_open_is_one_line():
    for url in ("nonsense://bucket/run.zarr", "gopher://x"):
        with pytest.raises(StoreError, match="cannot be opened") as caught:
            Run(url)
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="no such run"):
        Run("memory://nowhere/run.zarr")


def test_a_zarr_store_or_url_of_a_folder_is_that_folder(tmp_path):
    record(zarr.storage.LocalStore(tmp_path / "run.zarr"), updates=3).close()
    assert len(Run(f"file://{tmp_path}/run.zarr").distance) == 3
    assert Run(tmp_path / "run.zarr").name == Run(f"file://{tmp_path}/run.zarr").name == "run"


def test_a_change_of_the_working_directory_moves_no_run(tmp_path, monkeypatch):
    """A folder of the same name there, with a run of its own, stays as it is."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "other")
    record("run.zarr", updates=3).close()
    before = {file: file.read_bytes() for file in Path("run.zarr").rglob("*") if file.is_file()}
    monkeypatch.chdir(tmp_path / "own")
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(zarr.storage.LocalStore("run.zarr"), model, optimizer, snapshots=Every(400))
    opened = Run("run.zarr")
    monkeypatch.chdir(tmp_path / "other")
    for _ in range(1100):
        optimizer.step()
    recorder.close()
    assert before == {file: file.read_bytes() for file in Path("run.zarr").rglob("*") if file.is_file()}
    assert recorder.path == tmp_path / "own" / "run.zarr"
    assert len(Run(recorder.path).distance) == 1100
    assert opened.snapshots == []
    assert verify(recorder.path) == []


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    record("~/runs/one.zarr", updates=3).close()
    for name in ("~/runs/one.zarr", Path("~/runs/one.zarr")):
        assert len(Run(name).distance) == 3
    assert verify("~/runs/one.zarr") == []
    assert [run.name for run in runs_in("~/runs")] == ["one"]
    record("~nobody.zarr", updates=1).close()  # no user of that name: a folder's own
    assert sorted(place.name for place in tmp_path.iterdir()) == ["home", "~nobody.zarr"]


def test_a_relative_path_needs_a_working_directory(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(StoreError, match="the working directory is no longer there"):
        Run("run.zarr")


@pytest.mark.slow
def test_a_run_on_an_s3_server(tmp_path, monkeypatch):
    """A server of the S3 protocol on this machine (extra `s3-test`), and the command line as a process."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        urlopen(Request(f"{address}/bucket", method="PUT")).close()
        url = "s3://bucket/runs/run.zarr"
        record(tmp_path / "run.zarr").close()
        run = record(url)
        run.flush()
        assert len(Run(url).distance) == 1100
        run.close()
        same(url, tmp_path / "run.zarr")
        record(url, updates=1050, resume="must", step=1050).close()
        for command in (["info", url, "--json"], ["verify", url]):
            done = subprocess.run([sys.executable, "-m", "ultraslow", *command], capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{url}: intact\n"
        with pytest.raises(StoreError, match="cannot write a run there") as caught:
            record("s3://no-such-bucket/run.zarr")
        assert "\n" not in str(caught.value)
    finally:
        server.stop()
