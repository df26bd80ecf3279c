"""The critical batch size of sweeps whose own is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis import Curve, critical_batch_size
from analysis.errors import MotionError, SeedError
from trajectory import Recorder

BATCHES = (8, 32, 128, 512)
T = np.arange(1.0, 3001.0)


def sweep(generator, scatter, critical=64.0, seeds=2):
    """Runs that reach d = 1 after 100 (1 + B_c/B) updates, times a factor of their own."""
    needed = [
        (batch, 100 * (1 + critical / batch) * math.exp(scatter * generator.standard_normal()))
        for batch in BATCHES
        for _ in range(seeds)
    ]
    return [Curve(T, T / updates, config={"batch_size": batch}) for batch, updates in needed]


def test_the_exact_law_is_found():
    found = critical_batch_size(sweep(np.random.default_rng(0), 0.0, seeds=1), distance=1.0)
    assert found.batch_size == pytest.approx(64, rel=1e-4)
    assert found.fewest_updates == pytest.approx(100, rel=1e-4)
    assert found.interval == pytest.approx((64, 64), rel=1e-2)
    assert found.to_dict()["frame"][0]["updates"] == pytest.approx(900)
    assert "B_c" in repr(found)


def test_the_interval_covers_as_often_as_it_says():
    generator, count = np.random.default_rng(1), 200
    found = [critical_batch_size(sweep(generator, 0.05), distance=1.0) for _ in range(count)]
    covered = np.mean([low < 64 < high for low, high in (result.interval for result in found)])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / count))
    logs = [math.log(result.batch_size / 64) for result in found]
    assert np.mean(logs) == pytest.approx(0, abs=4 * np.std(logs) / math.sqrt(count))


def test_batches_far_below_the_critical_one_bound_it_on_one_side():
    even = sweep(np.random.default_rng(0), 0.0, critical=50_000.0)
    runs = [Curve(T, curve.d * math.exp((-1) ** k * 0.05), config=curve.config) for k, curve in enumerate(even)]
    found = critical_batch_size(runs, distance=0.001)
    assert found.interval[1] == math.inf
    assert found.to_dict()["interval"][1] is None
    assert found.interval[0] > max(BATCHES)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_batches_that_take_no_fewer_updates_are_said_to(power):
    runs = [Curve(T, T / (100 + batch**power), f"{batch}", config={"batch_size": batch}) for batch in BATCHES]
    found = critical_batch_size([replace(run, d=run.d * (1 - 1e-4 * k)) for k, run in enumerate(runs)], distance=1.0)
    assert found.batch_size < min(BATCHES) / 1000
    assert found.warnings == ("Larger batches take no fewer updates here: B_c is below all that they can tell.",)
    assert critical_batch_size(sweep(np.random.default_rng(0), 0.05), distance=1.0).warnings == ()


def losing(folder, generator, batch, scatter=0.3):
    """A run whose loss is at 1/2 after 50 (1 + 64/B) updates, seen through the noise of its batch."""
    needed = 50 * (1 + 64 / batch)
    model = torch.nn.Linear(1, 1)
    path = folder / f"{batch}.zarr"
    with Recorder(path, model, config={"batch_size": batch}) as recorder:
        for t in range(1, 4 * int(needed)):
            noise = scatter / math.sqrt(batch) * generator.standard_normal()
            recorder.log(loss=2 ** (-t / needed) + noise)
            recorder.update()
    return path


def test_updates_to_a_loss_are_read_through_the_noise_of_each_batch(tmp_path):
    generator = np.random.default_rng(0)
    runs = [losing(tmp_path, generator, batch) for batch in BATCHES]
    found = critical_batch_size(runs, loss=0.5)
    needed = 50 * (1 + 64 / found.to_frame()["batch_size"])
    # noise of .1 at B = 8 moves the mean of the 50 updates about the target by .015, which takes 20 updates of 450
    np.testing.assert_allclose(found.to_frame()["updates"], needed, rtol=0.1)
    low, high = found.interval
    assert low < 64 < high
    assert "to loss = 0.5" in repr(found)
    assert found.to_dict()["quantity"] == "loss"
    with pytest.raises(MotionError, match=r"its loss, averaged where it does not fall, goes down to 0.0.*; expected"):
        critical_batch_size(runs, loss=0.001)
    with pytest.raises(MotionError, match="logs no validation_loss"):
        critical_batch_size(runs, loss=0.5, metric="validation_loss")


def test_other_tasks_and_copies_are_refused_and_what_bounds_nothing_is_said():
    runs = sweep(np.random.default_rng(0), 0.0, seeds=1)
    other = replace(runs[0], d=1.01 * runs[0].d, config={"batch_size": 8, "dataset": "digits"})
    with pytest.raises(MotionError, match=r"differ in dataset \(digits, mnist\); expected runs of one task"):
        critical_batch_size(
            [*(replace(run, config={**run.config, "dataset": "mnist"}) for run in runs), other], distance=1
        )
    with pytest.raises(SeedError, match="are one curve"):
        critical_batch_size([*runs, runs[0]], distance=1.0)
    dropping = [replace(run, drops=(150.0,), name=f"run {k}") for k, run in enumerate(runs)]
    (said,) = critical_batch_size(dropping, distance=1.0).warnings
    assert said.startswith("The learning rate of run 0, run 1 drops before")
    out_of_order = zip(BATCHES, (150, 30, 400, 90), strict=True)
    noisy = [Curve(T, T / updates, config={"batch_size": batch}) for batch, updates in out_of_order]
    (said,) = critical_batch_size(noisy, distance=1.0).warnings
    assert said == "These runs bound B_c on neither side: B_c and S_min mean nothing."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": None}, "got neither a distance nor a loss; expected one of them"),
        ({"distance": 1.0, "loss": 1.0}, "got a distance and a loss"),
        ({"distance": None, "loss": 1.0, "origin": 5}, "got a loss with origin 5"),
        ({"distance": None, "loss": 1.0}, "logs no loss"),
        ({"distance": 0}, "distance is 0; expected a number above 0"),
        ({"distance": 1e9}, "goes up to .*; expected it to reach 1e.09"),
        ({"distance": 1e-9}, "its distance begins at"),
        ({"data": [Curve(T, T)], "distance": 5.0}, "notes batch_size None"),
        (
            {"data": [Curve(T, k * T, config={"batch_size": 8}) for k in (1, 2, 3, 4)], "distance": 5.0},
            "4 runs of 1 batch sizes",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(change, message):
    arguments = {"data": sweep(np.random.default_rng(0), 0.0, seeds=1), **change}
    with pytest.raises(MotionError, match=message) as caught:
        critical_batch_size(**arguments)
    assert "\n" not in str(caught.value)
