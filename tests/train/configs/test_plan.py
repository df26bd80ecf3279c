"""The plan of a large batch, from recorded walks with chosen distances."""

import json
from math import exp, sqrt

import pytest
import torch

from analysis.errors import ReferenceRunError
from train.configs.plan import plan
from trajectory import Recorder


def walk(path, amplitude, **config):
    """d = A t^.25 for 700 updates, the rate halved after 500."""
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(path, model, optimizer, config=config) as recorder:
        for t in range(1, 701):
            model.weight.grad = (model.weight.detach() - amplitude * t**0.25) / optimizer.param_groups[0]["lr"]
            optimizer.step()
            if t == 500:
                recorder.event("lr_drop", lr_from=0.1, lr_to=0.05)
                optimizer.param_groups[0]["lr"] = 0.05
    return path


def test_a_plan_has_as_many_updates_and_the_square_root_rate(tmp_path):
    amplitudes = (1.98, 2.0, 2.02)
    seeds = [walk(tmp_path / f"{a}.zarr", a, batch_size=10, train_size=1000) for a in amplitudes]
    found = plan(seeds, 40)
    assert found.lr == pytest.approx(0.2)
    assert (found.ghost_batch_size, found.updates, found.epochs) == (10, 700, 28)
    assert (found.drop_steps, found.drop_epochs) == ((500,), (20,))
    std = 0.0100004  # of log(1.98, 2, 2.02)
    assert found.first_drop == pytest.approx((500 * exp(-2 * std / 0.25), 500 * exp(2 * std / 0.25)), rel=1e-3)
    assert found.config is None
    assert "500 (462 to 542)" in found.table()["drops expected at"]
    assert found.table()["updates"] == "700"
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_plan_of_the_published_protocol_counts_epochs_with_their_short_last_batch(tmp_path):
    found = plan(walk(tmp_path / "a.zarr", 2.0, batch_size=10, train_size=1000, protocol="published"), 300)
    assert (found.updates, found.epochs, found.drop_epochs) == (700, 175, (125,))  # 4 batches, the last of 100


def test_a_plan_without_epochs_or_spread(tmp_path):
    found = plan(walk(tmp_path / "a.zarr", 2.0, batch_size=10), 90)
    assert found.lr == pytest.approx(0.1 * sqrt(9))
    assert (found.epochs, found.drop_epochs, found.first_drop) == (None, None, None)
    with pytest.raises(ReferenceRunError, match="its batch size is not on record") as error:
        plan(walk(tmp_path / "b.zarr", 2.0), 90)
    assert "\n" not in str(error.value)


def test_a_plan_for_adam_keeps_the_rate_for_as_many_updates(tmp_path):
    noted = {"batch_size": 10, "train_size": 1000, "optimizer": "adam", "betas": [0.9, 0.99], "eps": 1e-6}
    found = plan(walk(tmp_path / "a.zarr", 2.0, **noted), 40)
    assert (found.lr, found.updates) == (pytest.approx(0.1), 700)
    assert found.adam is not None
    assert (found.adam.betas, found.adam.eps) == ((0.9, 0.99), pytest.approx(5e-7))
    table = found.table()
    assert table["for as many epochs"] == "learning rate 0.2, betas 0.6 0.96, eps 5e-07"
    assert plan(tmp_path / "a.zarr", 400).table()["for as many epochs"] == "none: the batch is too large"
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_batch_that_grows_in_place_of_the_drop_spends_as_many_samples_in_fewer_updates(tmp_path):
    path = walk(tmp_path / "a.zarr", 2.0, batch_size=10, train_size=1000)
    found = plan(path, 40, at_match="grow")  # the rate was halved
    assert (found.batch_sizes, found.updates, found.drop_steps) == ((80,), 600, (500,))
    assert found.epochs == pytest.approx(20 + 100 / 12)
    assert found.table()["grows at a match to"] == "80"
    assert plan(path, 600, at_match="grow").batch_sizes == (1000,)  # all that there is
    assert "grows at a match to" not in plan(path, 40).table()
