"""Forms of snapshots, their hashes, and a disk that falls behind.

A snapshot is a copy, cast at most, so that it equals the weights bit for bit.
"""

import shutil
import threading

import numpy as np
import pytest
import torch
import zarr
from torch import nn

from trajectory import Recorder, RecordingError, Run, StoreError, verify


def recorded(path, **how):
    """Five snapshots of a network, and what they are to hold."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 50), nn.BatchNorm1d(50), nn.Linear(50, 7))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = []
    with Recorder(path, model, optimizer, snapshots=1, **how):
        for _ in range(5):
            kept.append({name: value.clone() for name, value in model.state_dict().items()})
            optimizer.zero_grad()
            model(torch.randn(8, 40)).square().mean().backward()
            optimizer.step()
    return Run(path), kept


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_every_form_gives_the_weights_back(tmp_path, dtype, compression):
    run, kept = recorded(tmp_path / "run.zarr", snapshot_dtype=dtype, compression=compression)
    parameters = dict(nn.Sequential(nn.Linear(40, 50), nn.BatchNorm1d(50), nn.Linear(50, 7)).named_parameters())
    for step, expected in enumerate(kept):
        for name, value in run.state_dict(step).items():
            exact = expected[name]
            assert torch.equal(value, exact.to(getattr(torch, dtype)).float() if name in parameters else exact)
    weights = zarr.open_array(run.path, path="snapshots/weights", mode="r")
    assert (weights.dtype, weights.attrs.asdict()) == (
        ("uint16", {"dtype": "bfloat16"}) if dtype == "bfloat16" else ("float32", {})
    )
    assert verify(run.path) == []
    sizes = [chunk.stat().st_size for chunk in (run.path / "snapshots" / "weights" / "c").glob("*/0")]
    raw = weights.shape[1] * weights.dtype.itemsize
    assert max(sizes) < raw if compression else set(sizes) == {raw}


def test_a_snapshot_in_anothers_place_is_found(tmp_path):
    run, _ = recorded(tmp_path / "run.zarr")
    chunks = run.path / "snapshots" / "weights" / "c"
    shutil.copy(chunks / "3" / "0", chunks / "2" / "0")
    (problem,) = verify(run.path)
    assert problem.message == "snapshots/weights: the snapshot at step 2 is not the one whose hash was saved"
    assert not problem.repairable
    with pytest.raises(StoreError, match="snapshot at step 2 is damaged"):
        run.state_dict(2)


def test_a_slow_disk_slows_snapshots_and_not_rows(tmp_path):
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.weight.grad = torch.ones(4, 4)
    disk = threading.Event()
    path = tmp_path / "run.zarr"
    with Recorder(path, model, optimizer, snapshots=100) as recorder:
        recorder.flush()
        write = recorder._pipeline._snapshots._write
        recorder._pipeline._snapshots._write = lambda *snapshot: (disk.wait(), write(*snapshot))
        for _ in range(260):
            optimizer.step()  # snapshots at 100 and 200: two may be on their way
        recorder.flush(wait=False)
        recorder._pipeline._thread.wait()
        assert len(Run(path).distance) == 260
        assert Run(path).snapshots == [0]
        further = threading.Thread(target=lambda: [optimizer.step() for _ in range(50)])
        further.start()
        further.join(0.3)
        assert further.is_alive()  # the third has to wait for the disk
        disk.set()
        further.join()
    run = Run(path)
    assert run.snapshots == [0, 100, 200, 300]
    assert len(run.distance) == 310
    start = run.state_dict(0)["weight"]
    for step in run.snapshots:
        np.testing.assert_allclose(run.state_dict(step)["weight"], start - 0.1 * step, rtol=1e-5, atol=1e-5)


def test_unknown_forms_are_named(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for wrong in ({"snapshot_dtype": "float16"}, {"compression": "gzip"}):
        with pytest.raises(RecordingError, match="expected"):
            Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=1, **wrong)
