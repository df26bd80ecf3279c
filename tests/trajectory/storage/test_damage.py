"""Whatever happens to the chunks of a store: the rows that were recorded are read, or a StoreError names the file."""

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trajectory import Recorder, Run, StoreError, verify

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


def record(path, seed, updates, resumed_at=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"quantities": ["distance", "norm"], "origins": [50], "snapshots": 1000, "sketch": 4}
    if resumed_at:
        options |= {"resume": "must", "step": resumed_at}
    recorder = Recorder(path, model, optimizer, **options)
    for t in range(resumed_at, updates):
        for p in model.parameters():
            p.grad = torch.full_like(p, float((t + seed) % 5) - 1)
        optimizer.step()
        recorder.log(loss=float(t + seed))
    return recorder


def chunks_of(path):
    return sorted(file.relative_to(path).as_posix() for file in path.glob("**/c/**/*") if file.is_file())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "run.zarr"
    record(path, 0, 2500).close()
    return path, read(path), chunks_of(path)


@settings(max_examples=30, deadline=None)
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


def replaced(path, sources):
    """Put other chunks, each by its bytes, in their places; which of them `verify` names."""
    changed = {key for key, content in sources.items() if (path / key).read_bytes() != content}
    for key, content in sources.items():
        (path / key).write_bytes(content)
    messages = [problem.message for problem in verify(path)]
    hashed = ("snapshots/weights/", "snapshots/buffers/")  # named by their snapshot's step
    return changed, {key for key in changed if key.startswith(hashed) or any(key in said for said in messages)}


def test_an_intact_chunk_in_another_ones_place_is_named(whole, tmp_path):
    path, before, chunks = whole
    copy = Path(shutil.copytree(path, tmp_path / "run.zarr"))
    first = {key: path / re.sub(r"/c/\d+", "/c/0", key) for key in chunks}
    changed, named = replaced(copy, {key: source.read_bytes() for key, source in first.items()})
    assert changed == named
    assert {key.partition("/c/")[0] for key in changed} >= {
        *("step", "distance", "layer_norm", "layer_displacement", "metrics/loss", "metrics/step"),
        *("sketches/values", "origins/weights", "snapshots/weights", "snapshots/blake3.weights"),
    }
    for name, found in read(copy).items():
        assert isinstance(found, StoreError) or np.array_equal(found, before[name])
    run = Run(shutil.copytree(path, tmp_path / "one.zarr"), skip_damaged=True)
    shutil.copy(run.path / "layer_distance/c/0/0", run.path / "layer_distance/c/1/0")
    assert list(run.layers().index) == [step for step in range(1, 2501) if not 1024 < step <= 2048]
    assert run.distance.equals(Run(path).distance)


def test_the_chunks_of_another_run_are_named(whole, tmp_path):
    path, _, chunks = whole
    record(tmp_path / "other.zarr", 1, 2500).close()
    copy = shutil.copytree(path, tmp_path / "run.zarr")
    changed, named = replaced(copy, {key: (tmp_path / "other.zarr" / key).read_bytes() for key in chunks})
    assert changed == named
    assert len(changed) > 20


def test_a_chunk_from_before_a_resume_is_named(whole, tmp_path):
    path, _, _ = whole
    copy = shutil.copytree(path, tmp_path / "run.zarr")
    record(copy, 0, 2500, resumed_at=1000).close()
    assert verify(copy) == []
    rows = [key for key in chunks_of(copy) if key.startswith(("distance/", "layer_", "norm/"))]
    changed, named = replaced(copy, {key: (path / key).read_bytes() for key in rows})
    assert changed == named
    assert changed


def test_a_run_that_still_records_notices_a_full_chunk_and_writes_on_behind_its_own_alone(whole, tmp_path):
    path, _, _ = whole
    recorder = record(tmp_path / "run.zarr", 0, 1100)
    recorder.flush()
    source = (path / "distance/c/1").read_bytes()
    assert replaced(recorder.path, {"distance/c/0": source}) == ({"distance/c/0"}, {"distance/c/0"})
    recorder.close()
    copy = shutil.copytree(path, tmp_path / "closed.zarr")
    shutil.copy(path / "layer_norm/c/0/0", copy / "layer_norm/c/1/0")
    with pytest.raises(StoreError, match=r"layer_norm/c/1/0 is damaged \(it is not the chunk"):
        record(copy, 0, 1500, resumed_at=1500)
