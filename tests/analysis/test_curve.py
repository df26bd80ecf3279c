"""Reading curves, refusing bad ones, and the log bins."""

import numpy as np
import pandas as pd
import pytest

from analysis import curves
from analysis.curve import Curve
from analysis.errors import AnalysisError, CurveError, DistanceError, FitRangeError, ShortCurveError
from analysis.fitting.log_bins import binned, constant_phase

t = np.arange(1.0, 2001.0)
d = t**0.3


def test_every_form_of_a_curve_reads_alike():
    xarray = pytest.importorskip("xarray")
    series = pd.Series(d, index=t.astype(int))
    array = xarray.DataArray(d, dims="step", coords={"step": t})
    for data in [
        (t, d),
        (list(t), list(d)),
        (pd.Series(t), pd.Series(d)),
        series,
        array,
        Curve(t, d),
        [(t, d)],
    ]:
        (curve,) = curves(data)
        assert np.array_equal(curve.t, t)
        assert np.array_equal(curve.d, d)


def test_a_list_reads_as_seeds_with_names_of_their_own():
    assert [curve.name for curve in curves([(t, d), (t, 2 * d)])] == ["curve 1", "curve 2"]


def test_the_origin_is_left_out_and_t_counts_from_it():
    (curve,) = curves((np.arange(0, 50.0), np.abs(np.arange(-9, 41.0))), origin=9)
    assert curve.t[0] == 1.0
    assert curve.d[0] == 1.0
    assert curve.origin == 9
    assert curves(curve, origin=9) == [curve]
    with pytest.raises(CurveError, match="measured from update 9 holds no distances from update 3"):
        curves(curve, origin=3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (([1, 2, 2, 3], [1, 1, 1, 1]), "increasing"),
        (([1, 3, 2], [1, 1, 1]), "t goes from 3 to 2"),
        (([1, np.nan, 2], [1, 1, 1]), "NaN"),
        (([1, 2, 3], [1, 1]), "one length"),
        (([[1, 2]], [[1, 2]]), "vectors"),
        ((["a", "b"], [1, 2]), "numbers"),
        ((t, d + 1j), "d holds complex numbers"),
        ((t, d > 3), "d holds truth values"),
        ((t.astype("m8[s]"), d), "t holds time differences"),
        (pd.Series(d, index=pd.to_datetime(t, unit="s")), "t holds dates"),
        (([1, 2, 3], [1.0, True, object()]), "d holds True"),
        ((t, [str(value) for value in d]), "d holds text"),
        (pd.Series(d, index=pd.MultiIndex.from_arrays([t, t])), "vectors of numbers"),
        ((t - 3, d), "t begins at -2"),
        (pd.DataFrame({"update": t, "distance": d}, index=t), r"column 'update' .*\.set_index"),
        (pd.DataFrame(index=t), "empty list"),
        (3.0, "got float"),
        ([], "empty list"),
    ],
)
def test_what_is_no_curve_is_refused_in_one_line(data, said):
    with pytest.raises(CurveError, match=said) as caught:
        curves(data)
    assert "\n" not in str(caught.value)


def test_two_series_in_a_tuple_are_two_seeds_unless_the_first_holds_updates():
    one, other = pd.Series(d, index=t), pd.Series(2 * d, index=t)
    assert [curve.d[0] for curve in curves((one, other))] == [1.0, 2.0]
    (pair,) = curves((pd.Series(t, index=t + 7), pd.Series(d, index=t + 7)))
    assert np.array_equal(pair.t, t)
    with pytest.raises(CurveError, match="tuple of two Series whose index counts from 0"):
        curves((pd.Series(d), pd.Series(2 * d)))


def test_two_data_arrays_in_a_tuple_are_two_seeds_and_a_dataset_is_refused():
    xarray = pytest.importorskip("xarray")
    array = xarray.DataArray(d, dims="step", coords={"step": t})
    assert len(curves((array, 2 * array))) == 2
    (pair,) = curves((array.step, array))
    assert np.array_equal(pair.t, t)
    data = xarray.Dataset({"distance": array})
    for given in (data, (data, data)):
        with pytest.raises(CurveError, match="got a Dataset of distance; expected one variable"):
            curves(given)


def test_a_data_array_over_seeds_and_updates_is_read_by_its_names():
    xarray = pytest.importorskip("xarray")
    both = np.stack([d, 2 * d])
    both[1, 1500:] = np.nan
    array = xarray.DataArray(both, dims=("seed", "step"), coords={"step": t, "seed": [7, 8]}, name="distance")
    array.attrs["lr_drops"] = [900]
    for given in (array, array.transpose("step", "seed")):
        one, other = curves(given)
        assert (one.name, other.name) == ("seed 7", "seed 8")
        assert np.array_equal(one.t, t)
        assert np.array_equal(other.t, t[:1500])
        assert np.array_equal(other.d, 2 * d[:1500])
        assert one.drops == other.drops == (900.0,)
    named = xarray.DataArray(both, dims=("run", "step"), coords={"step": t, "run": ["a", "b"]})
    assert [curve.name for curve in curves([named, (t, 3 * d)])] == ["a", "b", "curve 3"]
    for dims in (("parameter", "step"), ("seed", "run")):
        with pytest.raises(CurveError, match="expected one dimension with its coordinate, t, and beside it none but"):
            curves(xarray.DataArray(both, dims=dims, coords={dims[1]: t}))


@pytest.mark.parametrize(
    ("updates", "advice"),
    [
        (np.arange(1, 301).astype("uint8"), "from 255 to 0 .*their integer type ends there: give 64-bit integers"),
        (np.arange(1, 301).astype("int8"), "from 127 to -128 .*their integer type ends there: give 64-bit"),
        (2**53 + np.arange(300), "above 2.53 a double no longer holds each whole number"),
        ([1, 2, 5, 5], r"from 5 to 5 at position 3; .*\(sort the curve, or drop repeated rows\)"),
    ],
)
def test_updates_that_overflow_are_told_from_unsorted_ones(updates, advice):
    with pytest.raises(CurveError, match=advice):
        Curve(updates, np.ones(len(updates)))


def test_what_is_masked_is_left_out():
    mask = t > 500
    for given in [(t, np.ma.array(d, mask=mask)), (np.ma.array(t, mask=mask), d)]:
        for curve in (*curves(given), Curve(*given)):
            assert np.array_equal(curve.t, t[:500])
            assert np.array_equal(curve.d, d[:500])


def test_a_tensor_is_read_with_a_gradient_and_in_half_precision():
    torch = pytest.importorskip("torch")
    (curve,) = curves((torch.arange(1, 2001), torch.tensor(d, requires_grad=True)))
    assert np.array_equal(curve.d, d)
    (half,) = curves((t, torch.tensor(d).bfloat16()))
    assert half.d == pytest.approx(d, rel=0.01)


def test_missing_numbers_of_any_library_are_nan():
    column = pd.Series([1.0, None, 3.0], index=[1, 2, 3], dtype="Float64")
    for given in (column, ([1, 2, 3], [1.0, None, 3.0]), ([1, 2, 3], np.array([1, pd.NA, 3], object))):
        (curve,) = curves(given)
        assert np.array_equal(curve.d, [1, np.nan, 3], equal_nan=True)


@pytest.mark.parametrize("given", [pd.Series(d), (np.arange(2000), d), pd.Series(d, index=np.arange(0, 20000, 10))])
def test_a_distance_at_the_origin_that_is_not_zero_is_refused(given):
    with pytest.raises(CurveError, match="the distance at update 0 is 1; expected 0"):
        curves(given)


def test_a_distance_of_zero_at_the_origin_is_left_out():
    (curve,) = curves(pd.Series(np.append(0.0, d)))
    assert np.array_equal(curve.t, t)
    assert np.array_equal(curve.d, d)


def test_a_data_frame_holds_a_seed_in_each_column():
    frame = pd.DataFrame({"a": d, 7: 2 * d}, index=t)
    frame.loc[1990:, "a"] = np.nan
    named, numbered = curves(frame)
    assert (named.name, numbered.name) == ("a", "column 7")
    assert (len(named.t), len(numbered.t)) == (1989, 2000)
    assert [curve.name for curve in curves(pd.DataFrame(np.c_[d, 2 * d], index=t))] == ["curve 1", "curve 2"]


@pytest.mark.parametrize("origin", [-1, 1.5, True, "10", None, np.nan, np.inf, 1j, np.timedelta64(10, "s")])
def test_an_origin_that_is_no_update_is_refused(origin):
    with pytest.raises(AnalysisError, match="expected the number of an update"):
        curves((t, d), origin=origin)


def test_a_curve_that_begins_at_its_origin_is_refused():
    with pytest.raises(CurveError, match="t begins at 0; expected updates since the origin, above 0"):
        Curve(np.arange(5.0), np.arange(5.0))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_bad_distance_inside_the_fit_range_is_refused_and_named(value):
    bad = d.copy()
    bad[999] = value
    with pytest.raises(DistanceError, match="update 1000"):
        binned(curves((t, bad)))
    assert binned(curves((t, bad)), t_max=900).fit_range == (1.0, 900.0)


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (t <= 30, r"begin the fit range after t = 30 with t_min$"),
        (t > 1500, r"end the fit range before t = 1501 with t_max$"),
        (t == 200, r"begin the fit range after t = 200 with t_min, or end it before t = 200 with t_max$"),
    ],
)
def test_distances_that_are_0_are_left_out_by_a_range_that_the_message_names(wrong, advice):
    with pytest.raises(DistanceError, match=advice):
        binned(curves((t, np.where(wrong, 0.0, d))))


def test_weights_that_do_not_move_after_an_origin_are_said_not_to():
    series = pd.Series(0.0 * d[:999], index=t[:999] + 500)
    series.attrs["origin"] = 500
    with pytest.raises(DistanceError, match=r"do not move after update 500: .* measure from an earlier origin"):
        binned(curves(series))
    with pytest.raises(DistanceError, match=r"update 1 is -.*none of them is; give distances"):
        binned(curves((t, -d)))
    with pytest.raises(DistanceError, match=r"none of them is; give distances, in another unit$"):
        binned(curves((t, 1e-200 * d)))


def test_parameters_of_one_run_are_no_seeds():
    layers = pd.DataFrame({"0.weight": d, "0.bias": d**1.1}, index=t).rename_axis(columns="parameter")
    with pytest.raises(CurveError, match=r"a column for each parameter, 0\.weight first; .* use fit_layers\(run\)"):
        curves(layers)
    assert curves(layers["0.weight"])[0].name == "0.weight"


def test_too_short_a_fit_range_is_refused():
    with pytest.raises(ShortCurveError, match="decades"):
        binned(curves((t, d)), t_min=300)
    with pytest.raises(ShortCurveError, match="log bins"):
        binned(curves((t[::200], d[::200])))
    with pytest.raises(ShortCurveError, match="would begin at t = 5000 and end at 2000"):
        binned(curves((t, d)), t_min=5000)
    with pytest.raises(ShortCurveError):
        binned(curves(([], [])))


def test_the_fit_range_ends_at_the_first_drop_and_never_crosses_one():
    curve = Curve(t, d, "run", drops=(500.0, 900.0))
    assert constant_phase([curve], None, None) == (1.0, 500.0)
    assert constant_phase([curve], 10, 300) == (10.0, 300.0)
    assert constant_phase([curve], 500, None) == (500.0, 900.0)
    with pytest.raises(FitRangeError, match="drop at update 500"):
        constant_phase([curve], 10, 501)


def test_the_fit_range_starts_where_the_warm_up_ended_unless_told():
    curve = Curve(t, d, "run", warmup_end=40.0)
    assert constant_phase([curve], None, None) == (40.0, 2000.0)
    assert constant_phase([curve], 5, None) == (5.0, 2000.0)


def test_seeds_share_the_fit_range_of_the_shortest():
    assert constant_phase([Curve(t, d), Curve(t[4:1000], d[4:1000])], None, None) == (5.0, 1000.0)


def test_bins_average_every_value_once_twelve_to_a_decade():
    bins = binned(curves((t, d)), t_min=10, t_max=1000)
    assert len(bins.u) == 25
    assert bins.points.sum() == 991
    inside = (t >= 10) & (t <= 1000)
    assert bins.points @ bins.z[0] == pytest.approx(np.log(d[inside]).sum())
    assert bins.points @ bins.u == pytest.approx(np.log(t[inside]).sum())
    assert np.diff(bins.u[1:-1]) == pytest.approx(np.log(10) / 12, rel=0.35)


def test_seeds_recorded_at_different_steps_meet_at_common_bins():
    apart = binned([Curve(t, t**0.3), Curve(t[::3], t[::3] ** 0.3)], t_min=40)
    assert apart.z[0] == pytest.approx(apart.z[1], abs=2e-3)
    assert apart.z[1] == pytest.approx(0.3 * apart.u, abs=2e-3)
