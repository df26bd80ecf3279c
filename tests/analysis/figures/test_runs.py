"""Distance and error of runs: what is on the axes is what was recorded."""

import numpy as np
import pytest
import torch

from analysis import Curve, figures
from analysis.errors import FigureError
from analysis.figures.colours import COLOURS
from trajectory import Recorder, Run

T = np.arange(1, 4001)


def test_distance_shows_every_run_and_seeds_as_mean_and_band(runs, lines_of):
    figure = figures.distance(runs)
    linear, logarithmic = figure.axes
    assert (linear.get_xscale(), logarithmic.get_xscale()) == ("linear", "log")
    one, two, other = (Run(path).distance for path in runs)
    for ax in figure.axes:
        (mean,), (line,) = lines_of(ax, "small batch, 2 seeds"), lines_of(ax, "large batch")
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([other.index, other]))
        np.testing.assert_allclose(mean.get_ydata(), (one + two) / 2)
        (band,) = ax.collections
        for curve in (one, two):
            assert np.isin(curve.to_numpy(), band.get_paths()[0].vertices[:, 1]).all()
        assert "updates" in ax.get_xlabel()
        assert "distance" in ax.get_ylabel()


def test_drops_are_marked_on_the_curve_and_the_legend_names_all(runs, lines_of):
    (ax,) = figures.distance(runs, log_t=True).axes
    assert [lines_of(ax, label)[0].get_color() for label in ("small batch, 2 seeds", "large batch")] == [*COLOURS[:2]]
    (drop,) = lines_of(ax, "learning-rate drop")
    assert drop.get_xdata().tolist() == [60]
    assert drop.get_ydata()[0] == np.mean([Run(path).distance[60] for path in runs[:2]])
    (legend,) = ax.figure.legends
    labels = ["small batch, 2 seeds", "large batch", "seeds, lowest to highest", "learning-rate drop"]
    assert [text.get_text() for text in legend.texts] == labels


def test_a_seed_that_ends_early_is_a_line_of_its_own(lines_of):
    """No mean that jumps where one seed ends."""
    whole, short = Curve(T * 1.0, T**0.25, "a"), Curve(T[:60] * 1.0, T[:60] ** 0.3, "a")
    (ax,) = figures.distance([whole, short], log_t=True).axes
    assert [len(line.get_xdata()) for line in lines_of(ax, "a, 2 seeds")] == [4000, 60]


@pytest.mark.parametrize("unit", ["updates", "epochs"])
def test_error_in_percent_against_updates_or_epochs(runs, unit, lines_of):
    (ax,) = figures.error(runs, against=unit).axes
    (line,) = lines_of(ax, "large batch")
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


def test_error_against_time_with_the_trainings_beside_it_and_its_end_close_by(runs, lines_of):
    training, training_close, whole, close = figures.error(runs, against="time", training=True, zoom=6).axes
    assert (whole.get_ylabel(), training.get_ylabel()) == ("validation error (%)", "training error (%)")
    assert whole.get_xlabel() == "time (min)"
    (line,) = lines_of(whole, "large batch")
    assert line.get_xdata().tolist() == [2, 4, 6, 8, 10]  # 6 s an update
    (line,) = lines_of(training, "large batch")
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


def test_eight_panels_lie_in_two_rows(runs):
    drawn = figures.error(runs, training=True, zoom=4)
    assert len(drawn.axes) == 8
    assert {ax.get_subplotspec().get_gridspec().get_geometry() for ax in drawn.axes} == {(2, 4)}


def test_runs_on_different_data_are_no_seeds_of_each_other(tmp_path, record):
    paths = [record(tmp_path / f"{data}.zarr", "SB", 0, dataset=data) for data in ("mnist", "cifar10")]
    labels = [line.get_label() for line in figures.distance(paths, log_t=True).axes[0].lines]
    assert labels == ["mnist, SB", "cifar10, SB"]


def test_a_label_that_begins_with_its_data_names_them_once(tmp_path, record):
    paths = [record(tmp_path / f"{data}.zarr", f"{data}, SB", 0, dataset=data) for data in ("mnist", "cifar10")]
    labels = [line.get_label() for line in figures.distance(paths, log_t=True).axes[0].lines]
    assert labels == ["mnist, SB", "cifar10, SB"]


def test_refuses_runs_without_what_is_shown(tmp_path):
    with pytest.raises(FigureError, match="no 'validation_error' is recorded"):
        figures.error((T, T**0.5))
    with pytest.raises(FigureError, match="no distances recorded"):
        figures.distance((np.array([]), np.array([])))
