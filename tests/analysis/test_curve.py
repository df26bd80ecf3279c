"""Reading curves, refusing bad ones, and the log bins."""

import numpy as np
import pandas as pd
import pytest

from analysis import curves
from analysis.curve import Curve
from analysis.errors import CurveError, DistanceError, FitRangeError, ShortCurveError
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
    (curve,) = curves((np.arange(0, 50.0), np.arange(0, 50.0)), origin=9)
    assert curve.t[0] == 1.0
    assert curve.d[0] == 10.0
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
        (3.0, "got float"),
        ([], "empty list"),
    ],
)
def test_what_is_no_curve_is_refused_in_one_line(data, said):
    with pytest.raises(CurveError, match=said) as caught:
        curves(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_bad_distance_inside_the_fit_range_is_refused_and_named(value):
    bad = d.copy()
    bad[999] = value
    with pytest.raises(DistanceError, match="update 1000"):
        binned(curves((t, bad)))
    assert binned(curves((t, bad)), t_max=900).fit_range == (1.0, 900.0)


def test_too_short_a_fit_range_is_refused():
    with pytest.raises(ShortCurveError, match="decades"):
        binned(curves((t, d)), t_min=300)
    with pytest.raises(ShortCurveError, match="log bins"):
        binned(curves((t[::200], d[::200])))
    with pytest.raises(ShortCurveError, match="no updates"):
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
