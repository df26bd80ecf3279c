"""The scan over the start of the fit range, and the start chosen from it."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import Curve, fit, scan
from analysis.errors import ShortCurveError
from analysis.fitting.estimator import estimate
from analysis.fitting.law_fits import interval_over_seeds, seed_parameters
from analysis.fitting.log_bins import binned, log_sums
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.seed_noise import BROWNIAN, INDEPENDENT, seed_noise
from analysis.fitting.start_scan import Start, choose, interval_over_starts
from analysis.reading import curves
from analysis.synthetic import noise

t = np.arange(1, 20001)


def law(n: int, transient: float = 0.0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(log t/0.1)² seeds that differ by smooth 1 % deviations, after a jump that decays by t ~ 100."""
    rng = np.random.default_rng(8)
    jump = np.exp(transient * np.exp(-t / 30))
    waves = [sum(rng.normal() * np.sin(k * np.log(t) + rng.uniform(0, 6)) / k for k in (1, 2, 3)) for _ in range(n)]
    return [(t, np.log(t / 0.1) ** 2 * jump * np.exp(0.01 * wave)) for wave in waves]


def test_scan_has_a_row_for_each_start_and_agrees_with_fit():
    data = law(3)
    table = scan(data)
    assert list(table.columns) == [
        "t_min",
        "t_max",
        "bins",
        "t_min_age",
        "t_max_age",
        "alpha",
        "low",
        "high",
        "local_exponent",
        "p_value",
        "rms_residual",
        "max_residual",
        "residual_in_spreads",
        "noise",
        "verdict",
    ]
    assert np.diff(np.log10(table.t_min)) == pytest.approx(0.25, abs=0.01)  # three bins
    assert (table.bins >= 12).all()
    assert table.t_min.iloc[-1] <= 2000
    row = table.iloc[4]
    at = fit(data, t_min=row.t_min)
    assert (at.alpha, *at.interval) == pytest.approx((row.alpha, row.low, row.high))
    assert at.p_value == pytest.approx(row.p_value)


def test_the_sums_of_a_scan_are_the_bins_of_each_start():
    rng = np.random.default_rng(5)
    seeds = []
    for n in (300, 700):
        steps = np.unique(np.round(np.geomspace(3, 5000, n)))
        seeds.append(Curve(steps, steps**0.3 * np.exp(0.01 * rng.normal(size=len(steps))), f"seed {n}"))
    sums = log_sums(seeds)
    for first in (0, 3, 9):
        bins = sums.bins(first)
        again = binned(seeds, bins.fit_range[0])
        assert bins.u == pytest.approx(again.u, rel=1e-12)
        assert bins.z == pytest.approx(again.z, rel=1e-12)
        assert bins.points.tolist() == again.points.tolist()
        assert bins.steps == pytest.approx(again.steps, rel=1e-9)
        inside = seeds[0].t >= bins.fit_range[0] * (1 - 1e-9)
        assert sums.points[0, 2 * first :].sum() == inside.sum()


def test_the_fit_starts_after_the_transient_and_says_so():
    found = fit(law(4, transient=-1.0))
    assert found.scan.p_value.iloc[0] < 0.05
    assert 100 < found.fit_range[0] < 600
    earlier = found.scan[found.scan.t_min < found.fit_range[0] * 0.5]
    assert (earlier.p_value < 0.05).all()
    assert any("starts at" in sentence for sentence in found.warnings)
    assert found.interval[0] < 1.0 < found.interval[1]


def test_the_interval_over_starts_spans_all_that_fit_and_the_law_after_a_jump():
    found = fit(law(4, transient=-1.0))
    later = found.scan[found.scan.t_min >= 0.999 * found.fit_range[0]]
    held = later[later.p_value >= 0.05]
    bins = binned(curves(law(4, transient=-1.0)), *found.fit_range)
    jump = seed_parameters(LAWS["jump + log"], bins, seed_noise(bins))["alpha"]
    jump_low, jump_high = interval_over_seeds(jump)
    assert len(held) > 1
    hull = (min(held.low.min(), jump_low), max(held.high.max(), jump_high))
    assert found.interval_over_starts == pytest.approx(hull)
    low, high = found.interval_over_starts
    assert low <= found.interval[0] < found.interval[1] <= high
    assert found.to_dict()["interval_over_starts"] == [low, high]
    assert found.to_frame()[["low_over_starts", "high_over_starts"]].to_numpy().tolist() == [[low, high]]


def tried(*p_values: float | None, noise=None) -> list[Start]:
    """Starts at t = 1, 2, ... with these p-values and the intervals [1, 2], [2, 3], ...; None where nothing grows."""
    bins = binned(curves(law(3)), 10)
    at = estimate(bins, 0.95, BROWNIAN)
    return [
        Start(
            replace(bins, fit_range=(float(first), 2000.0)),
            None if p is None else replace(at, p_value=p, interval=(float(first), first + 1.0)),
            noise,
        )
        for first, p in enumerate(p_values, 1)
    ]


@pytest.mark.parametrize(
    ("p_values", "first", "said"),
    [
        ((0.05, 0.01), 1, "the earliest start at which the law holds"),
        ((0.04, 0.06, 0.04, 0.06, 0.07, 0.9), 5, "there and one start before"),
        ((0.04, 0.5, 0.04, 0.06, 0.01), 4, "the last start at which the law holds"),
        ((0.01, 0.04, None, 0.02), 2, "rejected from every start"),
        ((None, 0.001, None), 2, "rejected from every start"),
        ((None, None), 1, "rejected from every start"),
    ],
)
def test_the_start_is_the_first_of_two_at_which_the_law_holds_or_else_the_least_bad(p_values, first, said):
    found = tried(*p_values)
    start, (sentence,) = choose(found, None)
    assert start.t == first
    assert said in sentence
    assert choose(found, 1.0) == (found[0], ())


def test_the_hull_holds_the_starts_from_the_chosen_one_on_at_which_the_law_holds():
    found = tried(0.5, 0.01, 0.05, None, 0.5, 0.01)
    assert interval_over_starts(found, found[0]) == (1, 6)
    assert interval_over_starts(found, found[1]) == (3, 6)
    assert interval_over_starts(found, found[4]) == (5, 6)
    assert interval_over_starts(found, found[5]) is None
    seeds = tried(0.5, 0.01, noise=BROWNIAN)
    narrow, wide = (interval_over_starts(seeds, seeds[0], level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] <= 1
    assert interval_over_starts(seeds, seeds[1]) is None
    plain = tried(0.5, noise=INDEPENDENT)
    low, high = interval_over_seeds(seed_parameters(LAWS["jump + log"], plain[0].bins, INDEPENDENT)["alpha"])
    assert low < 1
    assert interval_over_starts(plain, plain[0]) == pytest.approx((low, max(2, high)))


def test_the_headline_is_the_interval_over_starts_where_the_start_was_chosen():
    chosen, given = fit(law(4)), fit(law(4), t_min=1)
    assert chosen.quoted_interval == chosen.interval_over_starts
    assert given.quoted_interval == given.interval
    first = [str(found).splitlines()[0] for found in (chosen, given)]
    assert "[{:.3f}, {:.3f}]".format(*chosen.interval_over_starts) in first[0]
    assert "95 % confidence interval [{:.3f}, {:.3f}]".format(*given.interval) in first[1]
    assert [found.to_dict()["start_chosen"] for found in (chosen, given)] == [True, False]


def test_where_no_start_fits_there_is_no_hull():
    waves = [(t, d * np.exp(0.3 * np.sin(5 * np.log(t)))) for t, d in law(5)]
    found = fit(waves)
    assert (found.scan.p_value < 0.05).all()
    assert found.interval_over_starts is None
    assert found.to_dict()["interval_over_starts"] is None
    assert found.quoted_interval is None
    assert "the law holds from no start" in str(found)


@pytest.mark.parametrize("transient", ["squares add", "t^-1", "t^-1/2"])
def test_after_a_transient_the_quoted_interval_holds_the_truth_where_the_interval_does_not(transient):
    steps = np.unique(np.round(np.geomspace(1, 2e4, 400)))
    clean = np.log(steps / 0.1) ** 2
    before = {
        "squares add": np.sqrt(clean**2 + (clean[29] * (1 - np.exp(-steps / 5))) ** 2),
        "t^-1": clean * (1 - 0.5 / (1 + steps / 5)),
        "t^-1/2": clean * (1 - 0.5 / np.sqrt(1 + steps / 5)),
    }[transient]
    rng, held = np.random.default_rng(3), []
    for _ in range(20):
        found = fit([(steps, before * np.exp(path)) for path in noise(rng, np.log(steps), 3, std=0.01)])
        held.append([low <= 1 <= high for low, high in (found.interval, found.quoted_interval)])
    of_the_start, quoted = np.sum(held, axis=0)
    assert of_the_start <= 12
    assert quoted >= 18 - 3 * np.sqrt(20 * 0.9 * 0.1)


def test_without_a_transient_the_fit_uses_the_whole_curve():
    assert fit(law(4)).fit_range[0] == 1.0


def test_ranges_that_contradict_each_other_are_reported():
    bent = [(t, np.where(t < 100, d * (t / 100) ** 0.3, d)) for t, d in law(3)]
    found = fit(bent, t_min=1)
    assert any("No law" in sentence or "depends on the fit range" in sentence for sentence in found.warnings)


def test_a_stretch_that_shrinks_is_an_empty_row_not_an_end():
    d = np.where(t < 300, t**0.5, 300**0.5 * (t / 300.0) ** -0.01)
    table = scan((t, d))
    assert np.isfinite(table.alpha.iloc[0])
    assert np.isnan(table.alpha.iloc[-1])


def test_scan_refuses_what_fit_refuses():
    with pytest.raises(ShortCurveError):
        scan((t[:8], t[:8]))
