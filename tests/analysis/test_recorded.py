"""Fits of recorded runs: the phase cut at drops and warm-up, layers, origins, and what their settings warn of.

Curves are equal to the last bit where they are copies of recorded numbers; no result of a fit is expected here that
another training would change.
"""

import numpy as np
import pytest
import torch

from analysis import compare, curves, fit, fit_layers, scan
from analysis.errors import AnalysisError, FitRangeError, SeedError
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
    noted, read = {"batch_size": 8, "lr": 0.05}, {"momentum": 0.0, "weight_decay": 0.0}
    assert curve.settings == {**noted, **read, "optimizer": "sgd", "nesterov": False, "dampening": 0.0}
    assert (curve.label, curve.dataset, curve.batch_size) == ("seed0", None, 8)
    (series,) = curves(runs[0].distance)
    assert (series.settings, series.label, series.batch_size) == (curve.settings, "seed0", 8)
    (arrays,) = curves((runs[0].distance.index, runs[0].distance.to_numpy()))
    assert (dict(arrays.settings), arrays.label, arrays.batch_size) == ({}, arrays.name, None)


def test_what_is_taken_out_of_a_run_is_fitted_as_the_run(runs):
    """The drop, the warm-up and the origin travel with the data: one α, whatever carries it."""
    xarray = pytest.importorskip("xarray")
    for origin in (0, ORIGIN):
        right = fit(runs[0], origin=origin)
        assert right.fit_range[1] == DROP - origin
        table = runs[0].to_xarray()
        labelled = table["displacement"].sel(origin=ORIGIN).dropna("step") if origin else table["distance"]
        for data in (runs[0].displacement(origin), runs[0].displacement(origin).iloc[::1], labelled):
            found = fit(data)
            assert (found.alpha, found.fit_range, found.origin) == (right.alpha, right.fit_range, origin)
            assert found.warnings == right.warnings
    opened = xarray.open_zarr(runs[0].path)["distance"]
    assert fit(opened, t_min=WARM_UP).alpha == fit(runs[0], t_min=WARM_UP).alpha
    layers = fit(list(curves(runs[0].layers("distance")[["0.weight"]])))
    assert layers.fit_range[1] == DROP


def test_where_nothing_tells_of_drops_the_result_says_so(runs):
    bare = (runs[0].distance.index, runs[0].distance.to_numpy())
    series = runs[0].distance.copy()
    series.attrs = {"lr_drops": []}
    for analyse in (fit, compare):
        assert any("Nothing tells when the learning rate of curve dropped" in s for s in analyse(bare).warnings)
        assert not any("Nothing tells" in s for data in (series, runs[0]) for s in analyse(data).warnings)


@pytest.mark.parametrize(
    ("attrs", "said"),
    [
        ({"origin": 40, "lr_drops": []}, "measured from update 40, as its attrs say; expected origin = 40"),
        ({"origin": -1, "lr_drops": []}, "attrs\\['origin'\\] = -1: expected the number of an update"),
        ({"lr_drops": "never"}, "attrs\\['lr_drops'\\] holds text"),
        ({"lr_drops": None}, "attrs\\['lr_drops'\\] = None: expected numbers of updates"),
        ({"lr_drops": [], "warmup_end": "late"}, "attrs\\['warmup_end'\\] holds text"),
        ({"lr_drops": [], "config": "{"}, "attrs\\['config'\\] = '{': expected a mapping"),
    ],
)
def test_attrs_that_say_nothing_sensible_are_refused(runs, attrs, said):
    series = runs[0].displacement(ORIGIN).copy()
    series.attrs = attrs
    with pytest.raises(AnalysisError, match=said):
        fit(series, origin=ORIGIN)


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
    with pytest.warns(UserWarning, match="seed2 falls"):
        assert scan(runs, origin=ORIGIN).t_max.unique().tolist() == [DROP - ORIGIN]
    assert compare(runs, origin=ORIGIN, t_min=10).fit_range == found.fit_range
    bare = [(run.displacement(ORIGIN).index, run.displacement(ORIGIN).to_numpy()) for run in runs]
    assert fit(bare, t_min=ORIGIN + 10, t_max=DROP).fit_range == (
        ORIGIN + 10,
        DROP,
    )  # arrays keep the t they come with


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


def test_runs_that_differ_in_more_than_the_seed_are_no_seeds(runs, tmp_path):
    other = record(tmp_path / "other.zarr", seed=7, batch_size=16)
    said = (
        "other and seed0 are no seeds of one experiment: batch_size is 16 and 8; give runs that differ in their seed"
    )
    for analyse in (fit, compare, scan, fit_layers):
        with pytest.raises(SeedError, match=said):
            analyse([*runs, other], t_min=10)
    with pytest.raises(SeedError, match=said):
        fit([run.distance for run in (*runs, other)])
    found = fit([*runs, other], t_min=10, force=True)
    assert any("differ in batch_size (16, 8)" in sentence for sentence in found.warnings)


def test_runs_whose_settings_nobody_noted_are_told_apart_by_what_was_recorded(tmp_path):
    def recorded(name, width, rate):
        torch.manual_seed(0)
        model = torch.nn.Linear(width, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        with Recorder(tmp_path / name, model) as recorder:
            for _ in range(20):
                optimizer.zero_grad()
                model(torch.randn(4, width)).square().mean().backward()
                optimizer.step()
                recorder.update(learning_rate=rate)
        return Run(tmp_path / name)

    first = recorded("first.zarr", 4, 0.1)
    with pytest.raises(SeedError, match="the number of weights is 7 and 5"):
        fit([first, recorded("wider.zarr", 6, 0.1)])
    with pytest.raises(SeedError, match=r"the highest learning rate is 0\.2 and 0\.1"):
        fit([first, recorded("faster.zarr", 4, 0.2)])


def test_the_age_is_told_in_memory_times_of_weight_decay(runs, tmp_path):
    assert compare(runs, t_min=10).memory is None
    run = record(tmp_path / "decay.zarr", decay=0.01)
    assert compare(run, t_min=10).memory == pytest.approx(1 / (0.05 * 0.01))  # (1 − μ)/(ηλ), 2000 updates
    found = fit(run, t_min=10)
    assert (found.age.origin_age, found.age.of(500)) == (0.0, pytest.approx(0.25))
    assert "w_0 is 0τ old, t = 0.005τ .. 0.25τ; τ = (1 − μ)/(ηλ) = 2000 updates" in str(found)
    assert any("before 5τ, at update 10000, which these curves do not reach" in s for s in found.warnings)
    assert "τ is infinite" in str(fit(runs, t_min=10))
