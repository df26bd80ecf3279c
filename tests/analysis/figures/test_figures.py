"""What is on the axes is what went in; files in each format; the user's matplotlib settings stay as they were."""

import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from analysis import Curve, Reference, compare, figures, fit, predict_match
from analysis.errors import FigureError
from analysis.figures.axes import with_age
from analysis.figures.colours import COLOURS, LAW_COLOURS
from analysis.figures.law_comparison import shown_laws
from analysis.figures.style import style
from analysis.fitting.effect_size import EffectSize
from analysis.matching.match import Matching, match
from analysis.matching.outcome import Match, Status
from trajectory import Recorder, Run

T = np.arange(1, 5001)
NAMES = ["sb-0", "sb-1", "lb"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one label that drop after 60 updates, and a run of another label; an epoch is 20 updates."""
    folder = tmp_path_factory.mktemp("runs")
    labels = ["small batch", "small batch", "large batch"]
    return [
        record(folder / f"{name}.zarr", label, k) for k, (name, label) in enumerate(zip(NAMES, labels, strict=True))
    ]


def record(path, label, seed, **config):
    rng = np.random.default_rng(seed)
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(path, model, optimizer, config={"label": label, "batch_size": 8, **config}) as recorder:
        for t in range(1, 101):
            if t == 61 and label == "small batch":
                recorder.event("lr_drop", lr_from=0.1, lr_to=0.01)
            model.weight.grad = (model.weight.detach() - (2 + seed / 10) * t**0.25) / 0.1
            optimizer.step()
            if t % 20 == 0:
                recorder.log(epoch=t / 20, validation_error=0.1 / t + 0.001 * rng.random())
                recorder.log(train_error=0.05 / t, wall_time=6 * t)
    return path


def power(seed):
    return T, T**0.2 * np.exp(0.003 * np.cumsum(np.random.default_rng(seed).normal(size=5000)) / T**0.5)


def data(ax, label):
    """The lines of that label on an axes."""
    return [line for line in ax.lines if line.get_label() == label]


def test_distance_shows_every_run_and_seeds_as_mean_and_band(runs):
    figure = figures.distance(runs)
    linear, logarithmic = figure.axes
    assert (linear.get_xscale(), logarithmic.get_xscale()) == ("linear", "log")
    one, two, other = (Run(path).distance for path in runs)
    for ax in figure.axes:
        (mean,), (line,) = data(ax, "small batch, 2 seeds"), data(ax, "large batch")
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([other.index, other]))
        np.testing.assert_allclose(mean.get_ydata(), (one + two) / 2)
        (band,) = ax.collections
        for curve in (one, two):
            assert np.isin(curve.to_numpy(), band.get_paths()[0].vertices[:, 1]).all()
        assert "updates" in ax.get_xlabel()
        assert "distance" in ax.get_ylabel()


def test_drops_are_marked_on_the_curve_and_the_legend_names_all(runs):
    (ax,) = figures.distance(runs, log_t=True).axes
    assert [data(ax, label)[0].get_color() for label in ("small batch, 2 seeds", "large batch")] == [*COLOURS[:2]]
    (drop,) = data(ax, "learning-rate drop")
    assert drop.get_xdata().tolist() == [60]
    assert drop.get_ydata()[0] == np.mean([Run(path).distance[60] for path in runs[:2]])
    (legend,) = ax.figure.legends
    labels = ["small batch, 2 seeds", "large batch", "seeds, lowest to highest", "learning-rate drop"]
    assert [text.get_text() for text in legend.texts] == labels


def test_a_seed_that_ends_early_is_a_line_of_its_own():
    """No mean that jumps where one seed ends."""
    whole, short = Curve(T[:4000] * 1.0, T[:4000] ** 0.25, "a"), Curve(T[:60] * 1.0, T[:60] ** 0.3, "a")
    (ax,) = figures.distance([whole, short], log_t=True).axes
    assert [len(line.get_xdata()) for line in data(ax, "a, 2 seeds")] == [4000, 60]


@pytest.mark.parametrize("unit", ["updates", "epochs"])
def test_error_in_percent_against_updates_or_epochs(runs, unit):
    (ax,) = figures.error(runs, against=unit).axes
    (line,) = data(ax, "large batch")
    logged = Run(runs[2]).metrics["validation_error"].dropna()
    np.testing.assert_array_equal(line.get_xdata(), logged.index if unit == "updates" else [1, 2, 3, 4, 5])
    np.testing.assert_allclose(line.get_ydata(), 100 * logged)
    assert ax.get_ylabel() == "validation error (%)"
    assert unit in ax.get_xlabel()


@pytest.mark.parametrize(("lowest", "scale"), [(0.0, "linear"), (0.05, "linear"), (0.001, "log")])
def test_error_axis_is_logarithmic_over_more_than_a_decade(tmp_path, lowest, scale):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "a.zarr", model, optimizer) as recorder:
        for error in (0.1, lowest):
            model.weight.grad = torch.ones(1, 1)
            optimizer.step()
            recorder.log(validation_error=error)
    (ax,) = figures.error(tmp_path / "a.zarr", against="updates").axes
    assert ax.get_yscale() == scale


def test_error_against_time_with_the_trainings_beside_it_and_its_end_close_by(runs):
    training, training_close, whole, close = figures.error(runs, against="time", training=True, zoom=6).axes
    assert (whole.get_ylabel(), training.get_ylabel()) == ("validation error (%)", "training error (%)")
    assert whole.get_xlabel() == "time (min)"
    (line,) = data(whole, "large batch")
    assert line.get_xdata().tolist() == [2, 4, 6, 8, 10]  # 6 s an update
    (line,) = data(training, "large batch")
    assert line.get_ydata() == pytest.approx([5 / t for t in (20, 40, 60, 80, 100)])
    triangles = [line for line in whole.lines if line.get_marker() == "v"]
    assert [line.get_xdata().tolist() for line in triangles] == [[6]]
    assert close.get_xlim() == (6, whole.get_xlim()[1])
    values = [y for line in close.lines for x, y in zip(*line.get_data(), strict=True) if x >= 6]
    low, high = close.get_ylim()
    assert low < min(values)
    assert max(values) < high < 2 * max(values)
    assert training_close.get_xlim()[0] == 6
    with pytest.raises(FigureError, match="zoom is 90, beyond the end"):
        figures.error(runs, zoom=90)


def test_runs_on_different_data_are_no_seeds_of_each_other(tmp_path):
    paths = [record(tmp_path / f"{data}.zarr", "SB", 0, dataset=data) for data in ("mnist", "cifar10")]
    labels = [line.get_label() for line in figures.distance(paths, log_t=True).axes[0].lines]
    assert labels == ["mnist, SB", "cifar10, SB"]


def test_a_label_that_begins_with_its_data_names_them_once(tmp_path):
    paths = [record(tmp_path / f"{data}.zarr", f"{data}, SB", 0, dataset=data) for data in ("mnist", "cifar10")]
    labels = [line.get_label() for line in figures.distance(paths, log_t=True).axes[0].lines]
    assert labels == ["mnist, SB", "cifar10, SB"]


def test_fit_shows_bins_law_and_residuals():
    result = fit([power(seed) for seed in range(3)], t_min=10)
    above, below = figures.fit(result).axes
    bins, law, *_ = above.lines
    np.testing.assert_allclose(bins.get_xdata(), np.exp(result.u))
    np.testing.assert_allclose(bins.get_ydata(), np.exp(result.z.mean(axis=0)))
    (band,) = above.collections
    edge = band.get_paths()[0].vertices
    lowest = np.exp(np.column_stack([result.u, result.z.min(axis=0)]))
    assert np.abs(edge[:, None] / lowest - 1).max(axis=2).min(axis=0) == pytest.approx(0, abs=1e-12)
    (spread,) = below.collections  # that of the residuals, as wide as the seeds' band above
    lowest = np.column_stack([np.exp(result.u), 100 * np.expm1(result.residuals.min(axis=0))])
    assert all(np.isclose(spread.get_paths()[0].vertices, point).all(axis=1).any() for point in lowest)
    np.testing.assert_allclose(below.lines[0].get_ydata(), 100 * np.expm1(result.residuals.mean(axis=0)))
    np.testing.assert_allclose(law.get_ydata(), result.predict(law.get_xdata()))
    assert f"{abs(result.alpha):.2f}" in law.get_label()
    assert below.get_ylabel() == "residual (%)"


def test_every_figure_draws_on_given_axes(runs):
    result, laws = fit(power(0), t_min=10), compare(power(0), t_min=10)
    run = (T[:300], 1.9 * T[:300] ** 0.25)
    layers = pd.DataFrame({"alpha": [0.5], "low": [0.4], "high": [0.6], "p_value": [0.3]}, ["weight"])
    for draw in (
        result.plot,
        laws.plot,
        Run(runs[0]).plot,
        lambda ax: figures.scan(result, ax),
        lambda ax: figures.distance(runs, ax),
        lambda ax: figures.error(runs, ax, zoom=20),
        lambda ax: figures.layers(layers, ax),
        lambda ax: figures.match(match(runs[:2], run, min_step=10), runs[:2], run, ax=ax),
    ):
        figure = Figure()
        _, ax = figure.subplots(1, 2)
        assert draw(ax=ax) is figure
        assert ax.lines
        assert ax.get_xlabel()
        assert figure.axes[0].has_data() is False
    with pytest.raises(FigureError, match="training=True needs a panel of its own"):
        figures.error(runs, Figure().subplots(), training=True)


def test_compare_shows_the_laws_that_matter_their_residuals_and_the_holdout_third():
    result = compare([power(seed) for seed in range(3)], t_min=10)
    above, below = figures.compare(result).axes
    names = [law.law.name for law in result.fits]
    kinds = [["ultraslow", "power law", "pure log", "sinai"], ["saturation", "stretched saturation"], ["normal"]]
    kinds += [["power times log"], [name for name in names if name.startswith("jump")]]
    best = {next(name for name in names if name in kind) for kind in kinds}
    drawn = {line.get_gid(): line for line in above.lines if line.get_gid()}
    assert best <= set(drawn) <= best | set(result.not_separable)
    assert len(drawn) <= 6
    for law in (law for law in result.fits if law.law.name in drawn):
        name, curve = law.law.name, drawn[law.law.name]
        (left,) = [line for line in below.lines if line.get_gid() == name]
        np.testing.assert_allclose(curve.get_ydata(), np.exp(law.curve))
        np.testing.assert_allclose(left.get_ydata(), 100 * np.expm1(result.residuals[name]))
        assert curve.get_color() == left.get_color() == LAW_COLOURS[name]
        assert curve.get_linestyle() == ("--" if law.ruled_out or law.rejected else "-")
    assert max(drawn.values(), key=lambda line: line.get_linewidth()) is drawn[result.best]
    said = {text.get_text().splitlines()[0]: text.get_text().splitlines()[1] for text in above.texts}
    assert said == {fit.law.name: fit.verdict for fit in result.fits if fit.law.name in drawn}
    (third,) = above.patches
    assert third.get_x() == pytest.approx(result.holdout_from)
    assert np.log(result.holdout_from) == pytest.approx(result.u[0] + 2 / 3 * np.ptp(result.u))
    _, high = below.get_ylim()
    assert all(np.all(np.abs(result.residuals[name]) < high / 100) for name in [result.best, *result.not_separable])


def test_compare_draws_six_laws_at_most_the_best_of_each_kind_among_them():
    result = compare([power(seed) for seed in range(3)], t_min=10)
    open_to_all = replace(result, fits=tuple(replace(law, ruled_out=False) for law in result.fits))
    drawn = shown_laws(open_to_all)
    assert len(drawn) == 6 < len(result.fits)
    assert drawn[0] is open_to_all.fits[0]
    assert {law.law.name for law in shown_laws(result) if law.ruled_out} <= {law.law.name for law in drawn}
    (legend,) = figures.compare(open_to_all).legends
    left = len(result.fits) - 6
    assert legend.get_title().get_text() == f"further laws not ruled out, not drawn: {left}"


def test_figures_of_the_law_come_in_one_column_or_two():
    result, laws = fit(power(0), t_min=10), compare(power(0), t_min=10)
    for draw, what in ((figures.fit, result), (figures.scan, result), (figures.compare, laws)):
        widths = [draw(what, columns=columns).get_figwidth() * 2.54 for columns in (1, 2)]
        assert widths == pytest.approx([8.4, 17.4])


def test_a_law_that_is_wrong_is_dashed_and_has_no_alpha():
    result = replace(fit(power(0), t_min=10), p_value=7.4e-7, size=EffectSize(0.12, 0.2, np.nan, 1.0))
    assert result.verdict == "wrong"
    above, below = figures.fit(result).axes
    law = above.lines[1]
    assert law.get_linestyle() == below.lines[-1].get_linestyle() == "--"
    fits = r"$p$ = 7.4$\times$10$^{-7}$, rms residual 12 % of $d$"
    assert law.get_label() == "law rejected, no $\\alpha$\n" + fits
    close = replace(result, size=EffectSize(0.004, 0.02, np.nan, 1.0))
    label = figures.fit(close).axes[0].lines[1].get_label()
    assert "], provisional, rejected, though close\n$p$ = " in label


def test_a_fit_of_one_run_is_marked_provisional_and_its_minus_is_one():
    result = replace(fit(power(0), t_min=10), alpha=-2.21, interval=(-2.28, -2.13), p_value=0.4)
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


def test_scan_shows_every_start_hollow_where_the_law_is_rejected():
    result = fit([power(seed) for seed in range(3)])
    frame = result.scan.assign(p_value=[1e-15, *result.scan["p_value"][1:]])
    above, below = figures.scan(replace(result, scan=frame)).axes
    t, alphas, filled = markers(above)
    np.testing.assert_array_equal(t, frame["t_min"])
    np.testing.assert_array_equal(alphas, frame["alpha"])
    np.testing.assert_array_equal(filled, frame["p_value"] >= 0.05)
    np.testing.assert_array_equal(markers(below)[1], np.maximum(frame["p_value"], 1e-12))
    (chosen,) = [line for line in above.lines if line.get_marker() == "D"]
    assert chosen.get_xdata() == pytest.approx(result.fit_range[0])
    assert (below.get_xscale(), below.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in below.texts] == ["rejected\nbelow 0.05"]
    assert below.get_ylabel() == "$p$-value (or less)"


def test_scan_never_crops_the_interval_of_the_fit():
    result = fit([power(seed) for seed in range(3)])
    wide = replace(result, interval=(-9.0, 7.0), interval_over_starts=(-12.0, 8.0))
    low, high = figures.scan(wide).axes[0].get_ylim()
    assert low < -12 < 8 < high


def test_scan_leaves_out_starts_without_an_estimate():
    frame = fit(power(0), t_min=10).scan
    frame = pd.concat([frame, frame.iloc[-1:].assign(alpha=np.nan)])
    above, _ = figures.scan(frame).axes
    assert len(markers(above)[0]) == len(frame) - 1


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


def test_match_shows_curves_target_and_crossing(tmp_path, runs):
    run = (T[:300], 1.9 * T[:300] ** 0.25)
    found = match(runs[:2], run, min_step=10)
    (ax,) = figures.match(found, runs[:2], run).axes
    assert len(data(ax, "reference: small batch, 2 seeds")) == 1
    np.testing.assert_array_equal(data(ax, "run: curve")[0].get_ydata(), run[1])
    (matched,) = data(ax, "matched")
    assert matched.get_xdata()[0] == found.matches[0].step
    assert data(ax, "target")[0].get_ydata()[0] == found.reference.targets[0]


def test_the_interval_of_a_match_where_the_run_stands_still_stays_in_the_panel():
    """After its drop a run stands still just below its target, which a tiny drift may take for ever to reach."""
    seeds = [(T[:800], np.minimum(a * T[:800] ** 0.25, a * 400**0.25)) for a in (1.0, 1.001)]
    reference = Reference((4.47,), (1e-4,), (400,), (0.1,), 0.1)
    outcome = Match(Status.MATCHED, 431, 4.47, 4.47, 1e-4, 431.0, (200.0, 2e9), "")
    (ax,) = figures.match(Matching(reference, "run", (outcome,)), seeds, seeds[0]).axes
    assert ax.get_xlim()[1] < 3000


def test_a_match_shows_a_run_that_ends_long_before_the_drop():
    reference = Reference((4.5,), (1e-4,), (400,), (0.1,), 0.1)
    run = (T[:30], T[:30] ** 0.25)
    (ax,) = figures.match(match(reference, run, min_step=10), (T[:800], T[:800] ** 0.25), run).axes
    assert ax.get_xlim()[0] == 3


def test_match_from_an_origin_counts_t_from_it_and_shows_the_forecast():
    """d = (t − 100)^.25, at the target 4 after 356 updates; the run a tenth behind, seen up to t = 300."""
    small = (T[:1000], np.maximum(T[:1000] - 100.0, 0) ** 0.25)
    noise = np.exp(1e-3 * np.random.default_rng(3).normal(size=300))
    run = (T[:300], 0.9 * np.maximum(T[:300] - 100.0, 0) ** 0.25 * noise)
    nothing = {"parameters": []}
    reference = Reference((4.0,), (np.nan,), (356,), (0.1,), 0.1, None, nothing, False, ("small",), origin=100)
    found, forecast = match(reference, run), predict_match(run, reference)
    (ax,) = figures.match(found, small, run, forecast).axes
    assert data(ax, "run: curve")[0].get_xdata()[[0, -1]].tolist() == [1, 200]
    assert data(ax, "forecast, 90 %")[0].get_xdata()[0] == forecast.interval[0] - 100
    low, high = forecast.interval
    assert low < 100 + (4 / 0.9) ** 4 < high
    assert ax.get_xlabel().endswith("after update 100")
    assert "w_{100}" in ax.get_ylabel()


def test_files_of_each_format_and_the_same_bytes_again(runs, tmp_path):
    heads = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for suffix, head in heads.items():
        contents = []
        for folder in ("a", "b"):
            (file,) = figures.save(figures.distance(runs), tmp_path / folder / f"figure{suffix}")
            contents.append(file.read_bytes())
        assert contents[0].startswith(head)
        assert contents[0] == contents[1]
    assert b"/Type3" not in (tmp_path / "a" / "figure.pdf").read_bytes()  # fonts are TrueType
    both = figures.save(figures.distance(runs), tmp_path / "both")
    assert [path.name for path in both] == ["both.png", "both.pdf"]


@pytest.mark.parametrize(
    ("draw", "options"),
    [
        (figures.distance, {}),
        (figures.distance, {"log_t": True}),
        (figures.error, {}),
        (figures.error, {"against": "epochs"}),
        (figures.error, {"against": "time", "training": True, "zoom": 6}),
        (figures.error, {"training": True, "zoom": 4}),
    ],
)
def test_texts_stay_inside_and_apart(runs, draw, options):
    """Tick labels, axis labels and legend within the page; no two of them overlap."""
    drawn = draw(runs, **options)
    drawn.draw_without_rendering()
    page = drawn.bbox
    with style():  # the number of ticks depends on the size of their labels
        boxes = [legend.get_window_extent() for legend in drawn.legends]
        for axis in (axis for ax in drawn.axes for axis in (ax.xaxis, ax.yaxis)):
            labels = [label for label in axis.get_ticklabels() if label.get_text()]
            low, high = sorted(axis.get_view_interval())
            shown = [label for label, at in zip(labels, axis.get_ticklocs(), strict=False) if low <= at <= high]
            boxes += [text.get_window_extent() for text in [*shown, axis.label]]
    for k, box in enumerate(boxes):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:k])


def one_line(error):
    assert "\n" not in str(error.value)


def test_refuses_unknown_formats_and_unwritable_files(runs, tmp_path):
    figure = figures.distance(runs)
    with pytest.raises(FigureError, match=r"no figure format \.docx") as error:
        figures.save(figure, tmp_path / "x.docx")
    one_line(error)
    (tmp_path / "file").touch()
    with pytest.raises(FigureError, match="cannot be written") as error:
        figures.save(figure, tmp_path / "file" / "x.png")
    one_line(error)


def test_refuses_runs_without_what_is_shown(tmp_path):
    with pytest.raises(FigureError, match="no 'validation_error' is recorded"):
        figures.error((T, T**0.5))
    with pytest.raises(FigureError, match="no distances recorded"):
        figures.distance((np.array([]), np.array([])))


@pytest.mark.parametrize("name", ["$x$", r"$\frac{$", "_a", r"a_1^2 \$"])
def test_a_users_text_is_drawn_letter_by_letter(tmp_path, name):
    """No letter of it is a formula's, and none hides the run from the legend."""
    curve = Curve(np.arange(1.0, 50.0), np.arange(1.0, 50.0) ** 0.25, name)
    drawn = figures.distance(curve)
    figures.save(drawn, tmp_path / "x.png")
    (text,) = drawn.legends[0].texts
    letters = Figure().text(0, 0, name, parse_math=False)
    assert text._preprocess_math(text.get_text())[0].lstrip("\N{WORD JOINER}") == letters.get_text()
    assert text._preprocess_math(text.get_text())[1] is False


def test_eight_panels_lie_in_two_rows(runs):
    drawn = figures.error(runs, training=True, zoom=4)
    assert len(drawn.axes) == 8
    assert {ax.get_subplotspec().get_gridspec().get_geometry() for ax in drawn.axes} == {(2, 4)}


def test_settings_and_pyplot_are_left_alone(runs, tmp_path):
    before = mpl.rcParams.copy()
    figures.save(figures.distance(runs), tmp_path / "x.png")
    assert figures.error(runs)._repr_png_().startswith(b"\x89PNG")
    assert mpl.rcParams == before
    code = "import sys; from analysis import figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
