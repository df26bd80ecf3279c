"""Whatever happens to the chunks of a store: the rows that were recorded are read, or a StoreError names the file."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trajectory import Recorder, Run, StoreError

READS = {
    "distance": lambda run: run.distance,
    "metrics": lambda run: run.metrics,
    "layers": lambda run: run.layers(),
    "displacement": lambda run: run.layers(origin=50),
    "norm": lambda run: run.layers("norm"),
    "sketches": lambda run: run.pairwise_distance(),
    "snapshot": lambda run: run.state_dict(2000)["0.weight"],
    "buffers": lambda run: run.state_dict(1000)["1.running_mean"],
}


def read(path):
    """The values of each kind of read, or the StoreError that came instead."""
    found = {}
    for name, act in READS.items():
        try:
            found[name] = np.asarray(act(Run(path)))
        except StoreError as error:
            found[name] = error
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "run.zarr"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"quantities": ["distance", "norm"], "origins": [50], "snapshots": 1000, "sketch": 4}
    with Recorder(path, model, optimizer, **options) as recorder:
        for t in range(2500):
            for p in model.parameters():
                p.grad = torch.full_like(p, float(t % 5) - 1)
            optimizer.step()
            recorder.log(loss=float(t))
    return (
        path,
        read(path),
        sorted(file.relative_to(path).as_posix() for file in path.glob("**/c/**/*") if file.is_file()),
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_chunk_that_is_flipped_cut_or_lost_is_read_right_or_named(whole, data):
    path, before, chunks = whole
    key = data.draw(st.sampled_from(chunks))
    kind = data.draw(st.sampled_from(["flip", "cut", "lose"]))
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(path, Path(folder) / "run.zarr"))
        content = bytearray((copy / key).read_bytes())
        if kind == "lose":
            (copy / key).unlink()
        elif kind == "cut":
            (copy / key).write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        else:
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            (copy / key).write_bytes(content)
        for name, found in read(copy).items():
            if isinstance(found, StoreError):
                assert str(found).startswith(f"{copy}: ")
                assert "damaged" in str(found) or "missing" in str(found)
                assert "\n" not in str(found)
            else:
                np.testing.assert_array_equal(found, before[name])


@pytest.mark.parametrize(
    "lost", ["distance/c/1", "step/c/0", "layer_norm/c/2/0", "metrics/step/c/1", "metrics/loss/c/0"]
)
def test_a_lost_chunk_is_named(whole, tmp_path, lost):
    path, _, chunks = whole
    assert lost in chunks
    copy = shutil.copytree(path, tmp_path / "run.zarr")
    (copy / lost).unlink()
    errors = [error for error in read(copy).values() if isinstance(error, StoreError)]
    assert errors
    assert all(f"{lost} is missing; restore it as it was written" in str(error) for error in errors)


def test_one_bad_chunk_costs_its_own_rows(whole, tmp_path):
    path, _, _ = whole
    copy = shutil.copytree(path, tmp_path / "run.zarr")
    for lost in ("distance/c/1", "metrics/loss/c/0"):
        (copy / lost).unlink()
    run, before = Run(copy, skip_damaged=True), Run(path)
    kept = [step for step in range(1, 2501) if not 1024 < step <= 2048]
    assert run.distance.equals(before.distance.loc[kept])
    assert run.layers().equals(before.layers())
    assert run.metrics["loss"].isna().sum() == 1024
    assert run.metrics["learning_rate"].equals(before.metrics["learning_rate"])
    assert [sentence.split()[0] for sentence in run.damage] == ["distance/c/1", "metrics/loss/c/0"]
    assert before.damage == []
