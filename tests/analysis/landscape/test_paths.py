"""Paths of losses that are written out, and the loss along a recorded run."""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import LandscapeError
from analysis.landscape import Objective, along, path
from trajectory import Recorder, Run


def test_a_linear_loss_has_no_barrier(function):
    a, b = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = path(function(lambda w: w.sum(), a), a, b)
    assert found.barrier == pytest.approx(0, abs=1e-12)
    assert found.table["x"].tolist() == np.linspace(-1, 2, 25).tolist()
    np.testing.assert_allclose(found.table["loss"], [float((a + x * (b - a)).sum()) for x in found.table["x"]])
    assert found.distance == pytest.approx(float((b - a).norm()))


def test_the_barrier_is_the_largest_rise_above_the_chord_between_the_ends(function):
    """(1 − w²)² from −1 to 1 rises by 1 in the middle, and far more beyond the ends."""
    objective = function(lambda w: ((1 - w**2) ** 2).sum() + w.sum(), [0.0])
    one = torch.ones(1, dtype=torch.float64)
    found = path(objective, -one, one)
    assert found.barrier == pytest.approx(1)
    assert found.table["loss"].max() > 20
    again = path(objective, -one, one, points=4, span=(-0.3, 1.7))
    assert {0.0, 1.0} <= set(again.table["x"])
    assert json.loads(json.dumps(again.to_dict(), allow_nan=False))["statistics"] == "running"


def test_a_path_between_state_dicts_takes_batch_statistics(network, batches):
    ends = network(1), network(2)
    found = path(Objective(network(), batches(), statistics="batch"), *(end.state_dict() for end in ends), points=7)
    losses = found.table.set_index("x")["loss"]
    for x, end in zip((0.0, 1.0), ends, strict=True):
        assert losses[x] == pytest.approx(Objective(end, batches(), statistics="batch").loss(), rel=1e-12)
    with pytest.raises(LandscapeError, match="interpolated ones turn negative"):
        path(Objective(network(), batches()), ends[0].state_dict(), ends[1].state_dict())


def test_a_span_holds_both_ends(function):
    objective = function(lambda w: w.sum(), [0.0])
    for span in ((0.5, 2), (0, 1, 2), (-1, math.inf), 3):
        with pytest.raises(LandscapeError, match="expected a span that holds 0 and 1"):
            path(objective, objective.weights, objective.weights + 1, span=span)


def record(path, model, *, steps=3, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(4), dtype=next(model.parameters()).dtype)
    with Recorder(path, model, optimizer, **options):
        for _ in range(steps):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    return Run(path)


def test_along_a_run_each_snapshot_brings_its_statistics(network, batches, tmp_path):
    model = network()
    run = record(tmp_path / "run.zarr", model, snapshots=1)
    frame = along(run, Objective(network(7), batches()))
    assert list(frame.index) == [0, 1, 2, 3]
    assert frame["loss"].iloc[-1] == Objective(model, batches()).loss()
    np.testing.assert_allclose(frame["distance"].iloc[1:], run.distance, rtol=1e-9)


def test_a_run_without_snapshots_and_rounded_ones(network, batches, tmp_path):
    bare = record(tmp_path / "bare.zarr", network())
    objective = Objective(network(), batches())
    with pytest.raises(LandscapeError, match="holds no snapshot; expected a run recorded with snapshots"):
        along(bare, objective)
    model = nn.Sequential(*(layer for layer in network() if not isinstance(layer, nn.Dropout))).float()
    start = model[0].weight.detach().clone()
    rounded = record(tmp_path / "rounded.zarr", model, snapshots=1, snapshot_dtype="bfloat16")
    small = Objective(model, [(x.float(), y) for x, y in batches()])
    with pytest.warns(UserWarning, match=re.escape("moves each weight by up to 0.4 %")):
        along(rounded, small)
    there = rounded.state_dict(0)["0.weight"]
    assert ((there - start).abs() <= 0.004 * start.abs()).all()


def test_frozen_parts_and_other_networks_are_refused(network, batches, tmp_path):
    frozen = network()
    frozen[0].requires_grad_(False)
    run = record(tmp_path / "frozen.zarr", frozen, snapshots=1)
    with pytest.raises(LandscapeError, match=r"lack 0.weight, a trainable parameter .* freeze it in the model too"):
        along(run, Objective(network(), batches()))
    same = network()
    same[0].requires_grad_(False)
    assert len(along(run, Objective(same, batches()))) == 4
