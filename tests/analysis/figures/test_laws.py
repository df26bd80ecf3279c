"""Fits, comparisons of laws, scans over starts and layers: what is on the axes is what was fitted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import figures, fit
from analysis.errors import FigureError
from analysis.figures.axes import with_age
from analysis.figures.colours import LAW_COLOURS
from analysis.figures.law_comparison import shown_laws
from analysis.fitting.effect_size import EffectSize

T = np.arange(1, 5001)


@pytest.fixture(scope="module")
def scanned(seeds):
    return fit(seeds)


def test_fit_shows_bins_law_and_residuals(fitted):
    above, below = figures.fit(fitted).axes
    bins, law, *_ = above.lines
    np.testing.assert_allclose(bins.get_xdata(), np.exp(fitted.u))
    np.testing.assert_allclose(bins.get_ydata(), np.exp(fitted.z.mean(axis=0)))
    (band,) = above.collections
    edge = band.get_paths()[0].vertices
    lowest = np.exp(np.column_stack([fitted.u, fitted.z.min(axis=0)]))
    assert np.abs(edge[:, None] / lowest - 1).max(axis=2).min(axis=0) == pytest.approx(0, abs=1e-12)
    (spread,) = below.collections  # that of the residuals, as wide as the seeds' band above
    lowest = np.column_stack([np.exp(fitted.u), 100 * np.expm1(fitted.residuals.min(axis=0))])
    assert all(np.isclose(spread.get_paths()[0].vertices, point).all(axis=1).any() for point in lowest)
    np.testing.assert_allclose(below.lines[0].get_ydata(), 100 * np.expm1(fitted.residuals.mean(axis=0)))
    np.testing.assert_allclose(law.get_ydata(), fitted.predict(law.get_xdata()))
    assert f"{abs(fitted.alpha):.2f}" in law.get_label()
    assert below.get_ylabel() == "residual (%)"


def test_compare_shows_the_laws_that_matter_their_residuals_and_the_holdout_third(compared):
    above, below = figures.compare(compared).axes
    names = [law.law.name for law in compared.fits]
    kinds = [["ultraslow", "power law", "pure log", "sinai"], ["saturation", "stretched saturation"], ["normal"]]
    kinds += [["power times log"], [name for name in names if name.startswith("jump")]]
    best = {next(name for name in names if name in kind) for kind in kinds}
    drawn = {line.get_gid(): line for line in above.lines if line.get_gid()}
    assert best <= set(drawn) <= best | set(compared.not_separable)
    assert len(drawn) <= 6
    for law in (law for law in compared.fits if law.law.name in drawn):
        name, curve = law.law.name, drawn[law.law.name]
        (left,) = [line for line in below.lines if line.get_gid() == name]
        np.testing.assert_allclose(curve.get_ydata(), np.exp(law.curve))
        np.testing.assert_allclose(left.get_ydata(), 100 * np.expm1(compared.residuals[name]))
        assert curve.get_color() == left.get_color() == LAW_COLOURS[name]
        assert curve.get_linestyle() == ("--" if law.ruled_out or law.rejected else "-")
    assert max(drawn.values(), key=lambda line: line.get_linewidth()) is drawn[compared.best]
    said = {text.get_text().splitlines()[0]: text.get_text().splitlines()[1] for text in above.texts}
    assert said == {law.law.name: law.verdict for law in compared.fits if law.law.name in drawn}
    (third,) = above.patches
    assert third.get_x() == pytest.approx(compared.holdout_from)
    assert np.log(compared.holdout_from) == pytest.approx(compared.u[0] + 2 / 3 * np.ptp(compared.u))
    _, high = below.get_ylim()
    assert all(
        np.all(np.abs(compared.residuals[name]) < high / 100) for name in [compared.best, *compared.not_separable]
    )


def test_compare_draws_six_laws_at_most_the_best_of_each_kind_among_them(compared):
    open_to_all = replace(compared, fits=tuple(replace(law, ruled_out=False) for law in compared.fits))
    drawn = shown_laws(open_to_all)
    assert len(drawn) == 6 < len(compared.fits)
    assert drawn[0] is open_to_all.fits[0]
    assert {law.law.name for law in shown_laws(compared) if law.ruled_out} <= {law.law.name for law in drawn}
    (legend,) = figures.compare(open_to_all).legends
    left = len(compared.fits) - 6
    assert legend.get_title().get_text() == f"further laws not ruled out, not drawn: {left}"


def test_figures_of_the_law_come_in_one_column_or_two(one_compared, one_fitted):
    for draw, what in ((figures.fit, one_fitted), (figures.scan, one_fitted), (figures.compare, one_compared)):
        widths = [draw(what, columns=columns).get_figwidth() * 2.54 for columns in (1, 2)]
        assert widths == pytest.approx([8.4, 17.4])


def test_a_law_that_is_wrong_is_dashed_and_has_no_alpha(one_fitted):
    result = replace(one_fitted, p_value=7.4e-7, size=EffectSize(0.12, 0.2, np.nan, 1.0))
    assert result.verdict == "wrong"
    above, below = figures.fit(result).axes
    law = above.lines[1]
    assert law.get_linestyle() == below.lines[-1].get_linestyle() == "--"
    fits = r"$p$ = 7.4$\times$10$^{-7}$, rms residual 12 % of $d$"
    assert law.get_label() == "law rejected, no $\\alpha$\n" + fits
    close = replace(result, size=EffectSize(0.004, 0.02, np.nan, 1.0))
    label = figures.fit(close).axes[0].lines[1].get_label()
    assert "], provisional, rejected, though close\n$p$ = " in label


def test_a_fit_of_one_run_is_marked_provisional_and_its_minus_is_one(one_fitted):
    result = replace(one_fitted, alpha=-2.21, interval=(-2.28, -2.13), p_value=0.4)
    (_, law) = figures.fit(result).axes[0].lines[:2]
    assert "= −2.21 [−2.28, −2.13], provisional\n$p$ = 0.4, rms residual" in law.get_label()


def test_from_an_origin_the_axes_say_so():
    found = fit((T, np.maximum(T - 500, 0.0) ** 0.5), origin=500, t_min=10)
    above, below = figures.fit(found).axes
    assert "w_{500+t} - w_{500}" in above.get_ylabel()
    assert below.get_xlabel().endswith("after update 500\nage unknown: no weight decay recorded")
    assert with_age("t", "w_0 is 0τ old, t = 9.1e-05τ .. 1τ; τ = 2.1e+05 updates") == (
        "t\n$w_{0}$ is 0τ old, t = 9.1$\\times$10$^{-5}$τ .. 1τ\nτ = 2.1$\\times$10$^{5}$ updates"
    )
    assert max(map(len, with_age("t", "age unknown: " + "word " * 20).splitlines())) <= 50
    assert "after update 500" in figures.scan(found).axes[1].get_xlabel()


def markers(ax):
    """t_min and heights of the markers on an axes, in order of t, and whether each is filled."""
    found = [
        (x, y, line.get_markerfacecolor() == line.get_color())
        for line in ax.lines
        for x, y in zip(*line.get_data(), strict=True)
        if line.get_marker() in ("o", "D")
    ]
    return [np.array(part) for part in zip(*sorted(found), strict=True)]


def test_scan_shows_every_start_hollow_where_the_law_is_rejected(scanned):
    frame = scanned.scan.assign(p_value=[1e-15, *scanned.scan["p_value"][1:]])
    above, below = figures.scan(replace(scanned, scan=frame)).axes
    t, alphas, filled = markers(above)
    np.testing.assert_array_equal(t, frame["t_min"])
    np.testing.assert_array_equal(alphas, frame["alpha"])
    np.testing.assert_array_equal(filled, frame["p_value"] >= 0.05)
    np.testing.assert_array_equal(markers(below)[1], np.maximum(frame["p_value"], 1e-12))
    (chosen,) = [line for line in above.lines if line.get_marker() == "D"]
    assert chosen.get_xdata() == pytest.approx(scanned.fit_range[0])
    assert (below.get_xscale(), below.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in below.texts] == ["rejected\nbelow 0.05"]
    assert below.get_ylabel() == "$p$-value (or less)"


def test_scan_never_crops_the_interval_of_the_fit(scanned):
    wide = replace(scanned, interval=(-9.0, 7.0), interval_over_starts=(-12.0, 8.0))
    low, high = figures.scan(wide).axes[0].get_ylim()
    assert low < -12 < 8 < high


def test_scan_leaves_out_starts_without_an_estimate(one_fitted):
    frame = one_fitted.scan
    frame = pd.concat([frame, frame.iloc[-1:].assign(alpha=np.nan)])
    above, _ = figures.scan(frame).axes
    assert len(markers(above)[0]) == len(frame) - 1


def test_an_arrow_says_that_an_interval_leaves_the_axes():
    columns = ["alpha", "low", "high", "p_value"]
    frame = pd.DataFrame([[0.5, 0.4, 0.6, 0.3], [0.5, 0.4, 0.7, 0.3], [0.5, -9.0, 9.0, 0.3]], columns=columns)
    left, _ = figures.layers(frame).axes
    arrows = {line.get_marker(): line for line in left.lines if line.get_marker() in "<>"}
    for marker, edge in zip("<>", left.get_xlim(), strict=True):
        assert (arrows[marker].get_xdata().tolist(), arrows[marker].get_ydata().tolist()) == ([edge], [2])


def test_layers_show_alpha_of_each_and_name_one_that_has_none():
    index = pd.Index(["0.weight", "0.bias", "$x$"], name="parameter")
    columns = ["alpha", "low", "high", "p_value"]
    frame = pd.DataFrame([[0.5, 0.4, 0.6, 0.3], [2.0, 1.0, 3.0, 1e-3], [np.nan] * 4], index, columns)
    left, right = figures.layers(frame).axes
    alphas, places, filled = markers(left)
    assert (alphas.tolist(), places.tolist(), filled.tolist()) == ([0.5, 2.0], [0, 1], [True, False])
    assert [label.get_text() for label in left.get_yticklabels()] == ["0.weight", "0.bias", r"\$x\$"]
    assert right.get_xscale() == "log"
    with pytest.raises(FigureError, match="no parameter has an α"):
        figures.layers(frame.iloc[2:])
