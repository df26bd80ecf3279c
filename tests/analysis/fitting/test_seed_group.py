"""Seeds that end early, begin late, run away or lie apart: named, and not let to speak for all."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import Curve, collapse, compare, equivalent, fit, fit_layers, scan
from analysis.errors import (
    AnalysisError,
    CurveError,
    DistanceError,
    GrowthError,
    OffsetError,
    SeedError,
    ShortCurveError,
)
from analysis.fitting.log_bins import binned
from analysis.fitting.outliers import standing_apart
from analysis.fitting.seed_group import read_seeds
from analysis.synthetic import synthetic
from trajectory import Recorder

t = np.arange(1.0, 10001.0)
NO_UPDATE = [np.nan, "10", True, 1j, [10], np.timedelta64(10, "s"), pytest.param(10**400, id="huge")]


def seeds(n: int) -> list[Curve]:
    return [Curve(c.t, c.d, f"curve {i}") for i, c in enumerate(synthetic("sinai", t=t, t0=0.1, seeds=n, seed=3), 1)]


def cut(curve: Curve, end: float, start: float = 1.0) -> Curve:
    inside = (curve.t >= start) & (curve.t <= end)
    return Curve(curve.t[inside], curve.d[inside], curve.name, curve.drops)


def test_a_seed_that_ends_decades_before_the_others_is_left_out_and_named():
    *others, killed = seeds(4)
    found = fit([*others, cut(killed, 60)], t_min=1)
    assert found.warnings[0] == (
        "curve 4 is left out: it ends at t = 60, where others go on to t = 10000; t_max = 60 fits all up to there."
    )
    alone = fit(others, t_min=1)
    assert (found.n, found.alpha, found.interval) == (3, alone.alpha, alone.interval)
    assert compare([*others, cut(killed, 60)], t_min=1).warnings[0] == found.warnings[0]


def test_t_max_takes_the_short_seed_in():
    *others, killed = seeds(4)
    found = fit([*others, cut(killed, 60)], t_min=1, t_max=60)
    assert found.n == 4
    assert not any("left out" in sentence for sentence in found.warnings)


def test_a_seed_that_ends_a_little_before_the_others_cuts_them_and_is_named():
    *others, short = seeds(3)
    found = fit([*others, cut(short, 6000)], t_min=1)
    assert (found.n, found.fit_range) == (3, (1.0, 6000.0))
    assert found.warnings[0] == (
        "curve 3 ends at t = 6000, where others go on to t = 10000: all seeds are fitted up to t = 6000."
    )
    assert not any("ends at" in sentence for sentence in fit([*others, cut(short, 9900)], t_min=1).warnings)


def test_of_two_the_longer_is_fitted():
    one, other = seeds(2)
    assert fit([cut(one, 60), other], t_min=1).alpha == fit(other, t_min=1).alpha


def test_a_long_seed_among_short_ones_is_not_the_measure():
    *short, _ = seeds(4)
    group, notes = read_seeds([*(cut(one, 300) for one in short), seeds(4)[3]], 0, None, None)
    assert len(group) == 4
    assert notes == ()


def test_a_seed_that_ends_after_the_others_drop_is_not_short():
    one, other, third = seeds(3)
    dropped = [Curve(c.t, c.d, c.name, drops=(500.0,)) for c in (one, other)]
    assert read_seeds([*dropped, cut(third, 600)], 0, None, None)[1] == ()


def test_a_seed_without_updates_is_left_out():
    group, notes = read_seeds([*seeds(2), Curve(t[:0], t[:0], "empty")], 0, None, None)
    assert len(group) == 2
    assert notes == ("empty is left out: it holds no updates, where others go on to t = 10000.",)
    with pytest.raises(ShortCurveError, match="empty: holds no distances after update 0; expected a decade of t"):
        read_seeds(Curve(t[:0], t[:0], "empty"), 0, None, None)


def test_a_seed_that_begins_late_is_named_unless_the_range_begins_later_still():
    *others, late = seeds(3)
    given = [*others, cut(late, 1e4, start=50)]
    said = "curve 3 begins at t = 50, where others begin at t = 1: all seeds are fitted from t = 50 on."
    assert said in fit(given).warnings
    assert not any("begins at" in sentence for sentence in fit(given, t_min=100).warnings)


def test_seeds_of_one_name_are_told_apart_by_number():
    series = [pd.Series(one.d, index=t, name="distance") for one in seeds(3)]
    found = fit([*series[:2], series[2][:60]], t_min=1)
    assert found.warnings[0].startswith("distance (curve 3) is left out")
    assert [seed.name for seed in found.seeds] == ["distance (curve 1)", "distance (curve 2)"]


def test_scan_and_layers_raise_what_fit_says_of_short_seeds():
    *others, killed = seeds(3)
    with pytest.warns(UserWarning, match="curve 3 is left out"):
        scan([*others, cut(killed, 60)], t_min=1)


def test_a_scan_names_seeds_that_stand_apart():
    one, other, last = seeds(3)
    diverging = Curve(t, last.d * np.exp(np.maximum(t - 2000, 0) / 2000), last.name)
    with pytest.warns(UserWarning, match="curve 3 runs away"):
        scan([one, other, diverging], t_min=1)
    with pytest.warns(UserWarning, match=r"copy is curve 1 times 1\.02, one curve in two units"):
        scan([one, other, Curve(t, 1.02 * one.d, "copy")], t_min=1)


def test_layers_leave_a_short_run_out_with_a_warning(tmp_path):
    torch = pytest.importorskip("torch")
    paths = [tmp_path / f"seed-{i}.zarr" for i in range(2)]
    for i, path in enumerate(paths):
        torch.manual_seed(i)
        model = torch.nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with Recorder(path, model, optimizer):
            for _ in range(100 if i else 12):
                optimizer.zero_grad()
                model(torch.randn(8, 4)).square().sum().backward()
                optimizer.step()
    with pytest.warns(UserWarning, match="seed-0 is left out"):
        assert len(fit_layers(paths, t_min=1)) == 2


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_seed_that_runs_away_is_named(n):
    *others, last = seeds(n)
    diverging = Curve(t, last.d * np.exp(np.maximum(t - 2000, 0) / 2000), last.name)
    for found in (fit([*others, diverging], t_min=1), compare([*others, diverging], t_min=1)):
        assert found.warnings[0].startswith(f"curve {n} runs away: by t = 9")
        assert not any(f"curve {i} " in sentence for sentence in found.warnings for i in range(1, n))


def test_a_seed_that_stands_still_is_named():
    """Weights that have become 0 stay as far away as the norm at the origin."""
    *others, last = seeds(3)
    dead = Curve(last.t, np.where(last.t > 2000, 1.2 * last.d[1999], last.d), "dead")
    (said,) = standing_apart(binned([*others, dead], 10))[:1]
    assert said.startswith("dead stands still from t = 2")
    assert "as when weights have become 0 or are no longer updated" in said
    assert not any("stands still" in sentence for sentence in standing_apart(binned(seeds(3), 10)))


def test_a_seed_that_stands_still_for_the_last_quarter_is_named():
    *others, last = seeds(3)
    dead = Curve(last.t, np.where(last.t > 7000, last.d[6999], last.d), "dead")
    assert standing_apart(binned([*others, dead], 10))[0].startswith("dead stands still from t = 8")


def test_a_seed_that_runs_away_so_far_that_the_mean_has_no_law_is_named_in_the_refusal():
    *others, last = seeds(4)
    diverging = Curve(t, last.d * np.exp(np.maximum(t - 3000, 0) / 100), last.name)
    with pytest.raises(GrowthError, match=r"the mean of 4 seeds: .* curve 4 runs away: by t = 9539"):
        fit([*others, diverging], t_min=10)


@pytest.mark.parametrize("branch", [26, 5000])
def test_seeds_that_branch_off_one_run_are_named(branch):
    """From the branch on the third has a noise of its own, and a range that begins later does not hide it."""
    one, two, three = seeds(3)
    joined = Curve(t, np.where(t > branch, three.d / three.d[branch - 1] * one.d[branch - 1], one.d), three.name)
    (said,) = [sentence for sentence in fit([one, two, joined], t_min=100).warnings if "branch" in sentence]
    assert said.startswith("curve 1 and curve 3 are one curve up to t = ")
    assert 0.8 * branch <= float(said.split("t = ")[1].split(":")[0]) <= branch
    assert not any("branch" in sentence for sentence in fit(seeds(3), t_min=100).warnings)


def test_curves_from_two_origins_or_of_two_kinds_are_no_seeds():
    one, two = seeds(2)
    later = replace(two, origin=100)
    turned = replace(two, config={"directions": 3})
    for call in (fit, compare, scan, collapse):
        with pytest.raises(
            SeedError, match="curve 2 is a distance from update 100 and curve 1 is a distance from up"
        ):
            call([one, later])
    with pytest.raises(SeedError, match=r"curve 2 is the turning of directions \(L = 3\) from update 0 and curve 1"):
        fit([one, turned], force=True)
    with pytest.raises(SeedError, match="expected curves of one kind, all from one origin"):
        equivalent(seeds(2), [replace(later, d=1.01 * later.d**1.1), replace(one, d=one.d**1.1, origin=100)])
    with pytest.raises(CurveError, match="curve 2: measured from update 100; expected origin = 100, or a curve meas"):
        fit(later, origin=0)


@pytest.mark.parametrize(("one", "other"), [(math.nan, math.nan), (16, "16"), (0.1, np.float32(0.1)), ("sgd", "sgd")])
def test_settings_that_are_written_alike_are_one(one, other):
    group = [replace(curve, config={"lr": value}) for curve, value in zip(seeds(2), (one, other), strict=True)]
    assert fit(group, t_min=10).n == 2


def test_runs_taken_for_seeds_by_force_differ_in_a_setting_that_is_named():
    group = [replace(curve, config={"lr": 0.1 * i}) for i, curve in enumerate(seeds(3), 1)]
    for found in (fit(group, t_min=10, force=True), compare(group, ["pure log"], t_min=10, force=True)):
        assert any("differ in lr (0.1, 0.2, 0.30000000000000004)" in sentence for sentence in found.warnings)
    with pytest.warns(UserWarning, match="The runs differ in lr"):
        scan(group, t_min=100, force=True)


def test_a_switch_is_true_or_false():
    with pytest.raises(AnalysisError, match="force = 'no': expected True or False"):
        fit(seeds(2), t_min=10, force="no")
    assert fit(seeds(2), t_min=10, force=np.bool_(True)).n == 2


@pytest.mark.parametrize("n", [1, 3])
def test_a_seed_that_falls_is_named(n):
    *others, last = seeds(n)
    broken = Curve(t, last.d * np.where(t > 3000, (t / 3000) ** -0.5, 1.0), "broken")
    for found in (fit([*others, broken], t_min=10), compare([*others, broken], ["pure log"], t_min=10)):
        (said,) = [sentence for sentence in found.warnings if sentence.startswith("broken falls")]
        assert "from t = 3172 to 9539" in said
        assert "look at the loss" in said


@pytest.mark.parametrize("change", [lambda d: 1.5 * d, np.sqrt, lambda d: np.where(t > 5000, 2 * d, d)])
def test_a_seed_far_from_what_the_others_agree_on_is_named(change):
    *others, last = seeds(4)
    found = fit([*others, Curve(t, change(last.d), last.name)], t_min=10)
    assert found.warnings[0].startswith("curve 4 lies apart: at t = ")
    assert not any(f"curve {i} lies" in sentence for sentence in found.warnings for i in (1, 2, 3))


@pytest.mark.parametrize("of", [slice(None), slice(None, 8000), slice(1, None, 3)])
@pytest.mark.parametrize("precision", ["f8", "f4"])
def test_a_curve_given_twice_is_refused_with_some_of_its_updates_too(of, precision):
    one, other = seeds(2)
    copy = Curve(t[of], one.d.astype(precision)[of], "copy")
    for group in ([one, other, copy], [copy, other, one]):
        with pytest.raises(
            SeedError, match=r"(curve 1 and copy|copy and curve 1) are one curve; expected independent"
        ):
            fit(group)


def test_curves_that_share_a_part_are_no_copies():
    one, other = seeds(2)
    branched = Curve(t, np.where(t <= 9000, one.d, other.d), "branched")
    assert len(read_seeds([one, branched], 0, None, None)[0]) == 2


@pytest.mark.parametrize("call", [fit, compare])
def test_one_curve_in_several_units_is_named(call):
    one, other = seeds(2)
    said = [
        sentence
        for sentence in call([one, other, Curve(t, 2.5 * one.d, "in cm")], t_min=10).warnings
        if "no second seed" in sentence
    ]
    assert said == [
        "in cm is curve 1 times 2.5, one curve in two units and no second seed: an interval over them is too narrow. "
        "Give it once."
    ]


def test_two_curves_that_disagree_are_both_named():
    one, other = seeds(2)
    found = fit([one, Curve(t, 3 * other.d, other.name)], t_min=10)
    assert found.warnings[0].startswith("curve 1 and curve 2 lie apart: their distances differ by up to 3.")
    assert not any("apart" in sentence for sentence in fit([one, other], t_min=10).warnings)


def test_seeds_with_the_noise_of_real_runs_are_hardly_ever_named():
    points = np.geomspace(10, 1e4, 37)
    kinds = [{"std": 0.01, "length": 1.0}, {"std": 0.02, "length": 5.0, "kind": "Matérn"}]
    named = [
        standing_apart(binned(synthetic("sinai", t=points, t0=0.1, seeds=n, seed=seed, **kind)))
        for n in (3, 5)
        for kind in kinds
        for seed in range(50)
    ]
    assert sum(map(bool, named)) <= 4  # .003 of 300 for the smooth kind when the threshold was set; 4 of 200 is .02


def test_a_distance_whose_square_is_no_number_is_refused():
    for scale in (1e300, 1e-300):
        with pytest.raises(
            DistanceError, match=r"expected a positive number whose square is one too: none of them is; give"
        ):
            compare((t, scale * np.log(t / 0.1)), ["jump + power"], t_min=10)
    assert fit((t, 1e-30 * np.log(t / 0.1)), t_min=10).alpha == pytest.approx(2, abs=0.01)


def test_a_seed_that_became_nan_is_refused_by_name():
    *others, last = seeds(3)
    with pytest.raises(DistanceError, match="curve 3: the distance at update 2001 is nan"):
        fit([*others, Curve(t, np.where(t > 2000, np.nan, last.d), last.name)])


@pytest.mark.parametrize("call", [fit, scan, compare])
@pytest.mark.parametrize("name", ["t_min", "t_max"])
@pytest.mark.parametrize(
    "value", [np.nan, "10", True, 1j, [10], np.timedelta64(10, "s"), pytest.param(10**400, id="huge")]
)
def test_an_end_of_the_fit_range_that_is_no_number_is_refused(call, name, value):
    with pytest.raises(AnalysisError, match=f"{name} = .*: expected a number of updates") as caught:
        call(seeds(1), **{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("call", [fit, scan])
@pytest.mark.parametrize("value", [np.nan, "0.9", True, 95, 0, 1])
def test_a_confidence_level_that_is_no_probability_is_refused(call, value):
    with pytest.raises(AnalysisError, match=r"confidence_level = .*: expected a probability"):
        call(seeds(1), confidence_level=value)


@pytest.mark.parametrize("value", [np.nan, np.inf, True, 1j, None, [1.0]])
def test_an_offset_that_is_no_number_is_refused(value):
    with pytest.raises(OffsetError, match=r"offset = .*: expected a finite number"):
        fit(seeds(1), offset=value)
