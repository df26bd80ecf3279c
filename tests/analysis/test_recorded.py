"""Fits of recorded runs: the phase cut at drops and warm-up, layers, origins, and what their settings warn of.

Curves are equal to the last bit where they are copies of recorded numbers; no result of a fit is expected here that
another training would change.
"""

import numpy as np
import pytest
import torch

from analysis import compare, curves, fit, fit_layers, scan
from analysis.errors import FitRangeError
from trajectory import LogSpaced, Recorder, Run, StoreError

UPDATES, DROP, WARM_UP, ORIGIN = 600, 500, 10, 30


def record(path, *, seed=0, batch_size=8, rate=0.05, decay=0.0):
    """A linear network on noise: warm-up over ten updates, a drop at 500, snapshots along the way."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    config = {"batch_size": batch_size, "lr": rate, "momentum": 0.0, "weight_decay": decay}
    with Recorder(path, model, optimizer, snapshots=LogSpaced(24), origins=[ORIGIN], config=config, seed=seed):
        for t in range(UPDATES):
            optimizer.param_groups[0]["lr"] = rate * min(1.0, (t + 1) / WARM_UP) * (0.1 if t >= DROP else 1.0)
            loss = (model(torch.randn(batch_size, 6)) - torch.randn(batch_size, 1)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Run(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [record(folder / f"seed{i}.zarr", seed=i) for i in range(3)]


def test_a_run_its_path_and_its_series_are_the_same_curve(runs):
    for data in (runs[0], runs[0].path, str(runs[0].path), runs[0].distance):
        (curve,) = curves(data)
        assert np.array_equal(curve.t, np.arange(1, UPDATES + 1))
        assert np.array_equal(curve.d, runs[0].distance)
    assert curves(runs[0])[0].name == "seed0"


def test_a_curve_knows_the_settings_that_anybodys_recorder_notes(runs):
    (curve,) = curves(runs[0])
    assert curve.settings == {"batch_size": 8, "lr": 0.05, "momentum": 0.0, "weight_decay": 0.0}
    assert (curve.label, curve.dataset, curve.batch_size) == ("seed0", None, 8)
    (arrays,) = curves(runs[0].distance)
    assert (dict(arrays.settings), arrays.label, arrays.batch_size) == ({}, arrays.name, None)


def test_the_fit_lies_between_warm_up_and_drop(runs):
    found = fit(runs, t_max=None)
    assert found.fit_range[0] >= WARM_UP
    assert found.fit_range[1] == DROP
    assert found.scan.t_min.iloc[0] == WARM_UP
    assert not any("learning rate" in sentence for sentence in found.warnings)
    with pytest.raises(FitRangeError, match="drop at update 500"):
        fit(runs, t_max=550)


def test_a_start_inside_the_warm_up_is_warned_of(runs):
    assert any("learning rate" in sentence for sentence in fit(runs, t_min=2).warnings)


def test_each_parameter_gets_its_alpha_on_the_whole_networks_range(runs):
    table = fit_layers(runs, t_min=10)
    assert list(table.index) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    alone = fit([run.layers("distance")["0.weight"] for run in runs], t_min=10, t_max=DROP)
    row = table.loc["0.weight"]
    assert (row.alpha, row.low, row.high) == pytest.approx((alone.alpha, *alone.interval))


def test_displacement_from_a_recorded_origin_is_read_as_it_was_recorded(runs):
    (curve,) = curves(runs[0], origin=ORIGIN)
    assert np.array_equal(curve.t, runs[0].displacement(ORIGIN).index - ORIGIN)
    assert np.array_equal(curve.d, runs[0].displacement(ORIGIN))
    assert curve.drops == (DROP - ORIGIN,)
    (again,) = curves(curves(runs[0]), origin=ORIGIN)
    assert np.array_equal(again.d, curve.d)


def test_from_an_origin_t_counts_from_it_in_every_answer(runs):
    found = fit(runs, origin=ORIGIN, t_min=10)
    assert found.origin == ORIGIN
    assert found.fit_range == (10.0, DROP - ORIGIN)
    assert scan(runs, origin=ORIGIN).t_max.unique().tolist() == [DROP - ORIGIN]
    assert compare(runs, origin=ORIGIN, t_min=10).fit_range == found.fit_range
    since_start = fit([run.displacement(ORIGIN) for run in runs], t_min=ORIGIN + 10, t_max=DROP)
    assert since_start.fit_range == (ORIGIN + 10, DROP)  # a Series keeps the t it comes with


def test_each_parameter_from_an_origin(runs):
    table = fit_layers(runs, origin=ORIGIN, t_min=10)
    displaced = [run.layers("distance", origin=ORIGIN)["0.weight"] for run in runs]
    alone = fit(displaced, origin=ORIGIN, t_min=10, t_max=DROP - ORIGIN)
    row = table.loc["0.weight"]
    assert (row.alpha, row.low, row.high) == pytest.approx((alone.alpha, *alone.interval))


def test_displacement_from_a_snapshot_is_the_norm_of_the_difference(runs):
    origin = 20 if 20 in runs[0].snapshots else next(step for step in runs[0].snapshots if step >= 15)
    (curve,) = curves(runs[0], origin=origin)
    later = [step for step in runs[0].snapshots if step > origin]
    assert np.array_equal(curve.t, np.array(later) - origin)
    start, end = runs[0].state_dict(origin), runs[0].state_dict(later[-1])
    square = sum(float((end[name].double() - start[name].double()).square().sum()) for name in end)
    assert curve.d[-1] == pytest.approx(np.sqrt(square), rel=1e-12)
    assert curve.drops == (DROP - origin,)
    assert fit(runs, origin=origin, t_min=10).origin == origin
    with pytest.raises(StoreError, match="distances from update 17 are unknown"):
        curves(runs[0], origin=17)


def test_runs_that_differ_in_more_than_the_seed_are_warned_of(runs, tmp_path):
    other = record(tmp_path / "other.zarr", seed=7, batch_size=16)
    found = fit([*runs, other], t_min=10)
    assert any("differ in batch_size (16, 8)" in sentence for sentence in found.warnings)


def test_weight_decays_memory_is_reported_where_the_fit_range_comes_near_it(runs, tmp_path):
    assert compare(runs, t_min=10).memory is None
    run = record(tmp_path / "decay.zarr", decay=0.01)
    assert compare(run, t_min=10).memory == pytest.approx(1 / (0.05 * 0.01))  # (1 − μ)/(ηλ), 2000 updates
    assert any("forget w_0" in sentence for sentence in fit(run, t_min=10).warnings)  # 500 of 2000
    assert not any("forget w_0" in sentence for sentence in fit(run, t_min=10, t_max=150).warnings)
