"""Recording in several processes, run for real: two ranks on gloo, what ranks.py does in them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from trajectory import Run, StoreError, verify
from trajectory.measure.count_sketch import count_sketches


def run_ranks(*arguments):
    """`ranks.py`, waited for; its standard error."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("ranks.py")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(2, folder, "shards", "copies", "tensor_parallel", "resumed", "refusals", "kill")
    return folder


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def sharded(request, tmp_path_factory):
    """Runs of a sharded model: on two ranks; by name also on a mesh of four, in two dimensions."""
    if request.param == 2:
        return request.getfixturevalue("folder")
    folder = tmp_path_factory.mktemp("mesh")
    run_ranks(4, folder, "hybrid", "both")
    return folder


def test_sums_over_shards_equal_those_of_whole_tensors(sharded):
    """Uneven and empty shards, a tied weight, bfloat16 and a plain parameter beside them, at every step."""
    run, twin = Run(sharded / "shards.zarr"), torch.load(sharded / "shards.pt")
    assert run.status == "complete"
    assert list(run.distance.index) == list(range(1, 71))
    for name, rows in twin["rows"].items():
        assert list(run.layers(name).columns) == twin["names"]
        np.testing.assert_allclose(run.layers(name), rows, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(run.total(name), np.linalg.norm(rows, axis=1), rtol=1e-6)
    assert run.weight_count == sum(run.state_dict(0)[name].numel() for name in twin["names"])
    assert verify(run.path) == []


def test_an_interrupted_run_of_shards_goes_on_bit_for_bit(folder):
    """Two ranks made both runs; two numbers have the same sum in either order."""
    one, other = Run(folder / "in-one-go.zarr"), Run(folder / "resumed.zarr")
    assert (other.resumed, other.status, other.snapshots) == ([40], "complete", [0, 30, 45, 70])
    for name in one.quantities:
        pd.testing.assert_frame_equal(one.layers(name), other.layers(name), check_exact=True)
    for origin in (3, 60):
        pd.testing.assert_series_equal(one.displacement(origin), other.displacement(origin), check_exact=True)
    pd.testing.assert_frame_equal(one.metrics, other.metrics, check_exact=True)
    for step in one.snapshots:
        there = other.state_dict(step)
        assert all(torch.equal(value, there[name]) for name, value in one.state_dict(step).items())
    assert verify(other.path) == []


def test_groups_and_further_origins_of_shards(sharded):
    run, twin = Run(sharded / "groups.zarr"), torch.load(sharded / "shards.pt")
    rows = dict(zip(twin["names"], np.array(twin["rows"]["distance"]).T, strict=True))
    assert list(run.layers().columns) == ["(root)", "embed", "hidden", "norm", "narrow"]
    np.testing.assert_allclose(
        run.layers()["hidden"], np.hypot(rows["hidden.weight"], rows["hidden.bias"]), rtol=1e-6
    )
    np.testing.assert_allclose(run.layers()["(root)"], rows["scale"], rtol=1e-6, atol=1e-12)
    whole = np.sqrt(sum(np.square(values) for name, values in rows.items() if name != "whole"))
    np.testing.assert_allclose(run.distance, whole, rtol=1e-6)
    weights = [{name: twin["states"][step][name].double() for name in rows if name != "whole"} for step in (3, 70)]
    assert run.displacement(3)[70] == pytest.approx(
        np.sqrt(sum(float((weights[1][name] - w).square().sum()) for name, w in weights[0].items())), rel=1e-6
    )


@pytest.mark.parametrize("store", ["shards", "columns"])
def test_snapshots_of_shards_are_put_together(sharded, store):
    run, twin = Run(sharded / f"{store}.zarr"), torch.load(sharded / f"{store}.pt")
    assert run.snapshots == [step for step in twin["states"] if store == "shards" or step > 0]
    for step in run.snapshots:
        state, expected = run.state_dict(step), twin["states"][step]
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            assert state[name].dtype == value.dtype
            assert torch.equal(state[name], value), (step, name)


@pytest.mark.parametrize("store", ["shards", "columns"])
def test_sketches_of_shards_are_those_of_the_whole(sharded, store):
    twin = torch.load(sharded / f"{store}.pt")
    recorded = zarr.open_group(sharded / f"{store}.zarr", mode="r")["sketches"]
    for step, values in zip(recorded["step"][:], recorded["values"][:], strict=True):
        layers, first = [], 0
        for name in twin["names"]:
            layers.append([(twin["states"][int(step)][name], first)])
            first += layers[-1][0][0].numel()
        np.testing.assert_allclose(values, count_sketches(layers, values.shape[1]), rtol=1e-6, atol=1e-6)
    assert list(recorded["step"][:]) == Run(sharded / f"{store}.zarr").snapshots


def test_tensor_parallel_shards_and_unsummed_gradients(sharded):
    run, twin = Run(sharded / "columns.zarr"), torch.load(sharded / "columns.pt")
    for name, rows in twin["rows"].items():
        np.testing.assert_allclose(run.layers(name), rows, rtol=1e-6)


@pytest.mark.parametrize("store", ["copies", "smooth-shards"])
def test_several_processes_record_what_one_records(folder, store):
    """Halves of a batch and of a layer are summed otherwise than the whole: in float64 that stays out of sight."""
    run, one = Run(folder / f"{store}.zarr"), Run(folder / "one.zarr")
    assert run.parameter_specs == one.parameter_specs
    assert run.origin_norm == pytest.approx(one.origin_norm, rel=1e-12)
    np.testing.assert_allclose(run.layers(), one.layers(), rtol=1e-6)
    np.testing.assert_allclose(run.displacement(5), one.displacement(5), rtol=1e-6)
    for name, value in one.state_dict(70).items():
        torch.testing.assert_close(run.state_dict(70)[name], value)


def test_scalars_and_events_are_the_first_ranks(folder):
    run = Run(folder / "shards.zarr")
    assert (run.metrics["rank"] == 0).all()
    assert len(run.metrics["rank"]) == 70
    assert [(event.step, event.details) for event in run.events if event.name == "ten"] == [(10, {"rank": 0})]
    assert (Run(folder / "copies.zarr").metrics["rank"] == 0).all()


def test_a_missing_part_is_named(folder, tmp_path):
    shutil.copytree(folder / "shards.zarr", tmp_path / "run.zarr")
    (tmp_path / "run.zarr/snapshots/weights.1/c/1/0").unlink()
    run = Run(tmp_path / "run.zarr")
    with pytest.raises(StoreError, match=r"run.zarr: rank 1's shards of the snapshot at step 3 is missing"):
        run.state_dict(3)
    assert run.state_dict(70).keys() == run.state_dict(0).keys()
    sentences = [problem.message for problem in verify(run.path)]
    assert sentences == ["rank 1's shards of the snapshot at step 3 is missing"]


def test_a_part_in_anothers_place_is_found(folder, tmp_path):
    shutil.copytree(folder / "shards.zarr", tmp_path / "run.zarr")
    chunks = tmp_path / "run.zarr/snapshots/weights.1/c"
    shutil.copy(chunks / "2" / "0", chunks / "1" / "0")
    run = Run(tmp_path / "run.zarr")
    with pytest.raises(StoreError, match="the snapshot at step 3 is damaged"):
        run.state_dict(3)
    sentences = [problem.message for problem in verify(run.path)]
    assert sentences == ["snapshots/weights.1: the snapshot at step 3 is not the one whose hash was saved"]


def test_a_killed_rank_leaves_a_readable_store_and_the_other_ends(folder):
    for victim, status in ((1, "interrupted ("), (0, "recording")):
        run = Run(folder / str(victim) / "killed.zarr")
        assert run.status.startswith(status)
        steps = list(run.distance.index)
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) >= 70  # flushed
        assert run.distance.gt(0).all()
        assert run.snapshots[:4] == [0, 20, 40, 60]
        for step in run.snapshots:
            assert all(value.isfinite().all() for value in run.state_dict(step).values())
