"""What figures of the landscape draw, read back from the axes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import figures, fit
from analysis.agreement import agreement
from analysis.errors import FigureError
from analysis.figures.style import WIDTHS
from analysis.landscape import LossPath, SpectralDensity, rising
from analysis.potential import potential
from analysis.potential_result import Probe
from analysis.synthetic import fractional_potential, synthetic

Z = np.geomspace(1, 100, 9)


@pytest.fixture(scope="module")
def result():
    delta, ones = fractional_potential(np.random.default_rng(0), 1.0, Z), np.ones(10)
    return potential(Probe(Z, delta, ones, 100, np.linspace(1, 2, 10), 50 * ones, "batch", "float32"))


def line(ax, label):
    (found,) = [line for line in ax.lines if str(line.get_label()).startswith(label)]
    return found


def test_the_potential_with_taylors_line_and_the_local_exponent(result):
    figure = figures.potential(result, run_range=(5, 20))
    above, below = figure.axes
    assert below.get_xlim() == above.get_xlim()
    np.testing.assert_allclose(line(above, "mean").get_ydata(), np.sqrt(result.table["S"]))
    np.testing.assert_allclose(line(above, "Taylor").get_ydata(), 0.1 * Z)
    assert len([drawn for drawn in above.lines if drawn.get_linewidth() == 0.5]) == 10
    np.testing.assert_allclose(below.containers[0].lines[0].get_ydata(), result.local["exponent"])
    assert above.patches[0].get_label() == "distances of the run"
    assert "any smooth loss" in figure.get_supxlabel()
    alone = result.plot()
    assert len(alone.axes) == 2
    ax = alone.axes[0]
    assert result.plot(ax) is alone


def test_the_two_exponents(result):
    found = agreement(result, fit(synthetic("sinai", t0=0.1, seeds=3, seed=1), t_min=10))
    (ax,) = found.plot().axes
    np.testing.assert_allclose(ax.containers[0].lines[0].get_xdata(), [found.potential, found.curve])
    assert "p-value" in ax.get_title()
    lowest = figures.potential(result, compared=found).axes[2]
    np.testing.assert_allclose(lowest.containers[0].lines[0].get_xdata(), [found.potential, found.curve])


def test_sharpness_by_seed_and_mode():
    rows = [
        {"label": label, "measure": measure, "statistics": statistics, "phi": 10.0 * k + len(label)}
        for label in ("SB", "LB 4096")
        for measure in ("box", "adaptive")
        for statistics in ("running", "batch")
        for k in range(2)
    ]
    figure = figures.sharpness(pd.DataFrame(rows))
    assert [ax.get_title() for ax in figure.axes] == ["box", "adaptive"]
    batch, running = figure.axes[0].lines
    assert running.get_xdata().round().tolist() == [0, 0, 1, 1]
    assert running.get_ydata().tolist() == [2, 12, 7, 17]
    assert batch.get_markerfacecolor() != running.get_markerfacecolor()
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["SB", "LB 4096"]


def test_long_names_of_runs_stand_aslant():
    """Side by side those of a warm start lie over each other."""
    names = ["SB 256", "SB short 256", "LB 6000", "LB from 6000 SB@0epochs", "LB from 6000 SB@1epoch"]
    for labels, angle in ((names, 30), (names[:1] + names[2:3], 0)):
        rows = [
            {"label": label, "measure": measure, "statistics": "batch", "phi": 1.0}
            for label in labels
            for measure in ("box", "adaptive")
        ]
        figure = figures.sharpness(pd.DataFrame(rows))
        figure.draw_without_rendering()
        ticks = figure.axes[0].get_xticklabels()
        assert [tick.get_rotation() for tick in ticks] == [angle] * len(labels)
        left, right = min(tick.get_window_extent().x0 for tick in ticks), figure.bbox.width
        assert 0 <= left < right


def test_the_density_of_eigenvalues():
    one = SpectralDensity(np.array([0.0, 1.0]), np.array([0.9, 0.1]), 10, 2, 1, "running", 100)
    (ax,) = figures.density({"SB": one, "LB": one}).axes
    assert [line.get_label() for line in ax.lines] == ["SB", "LB"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), one.density(one.grid()))
    assert one.density([1.0])[0] == pytest.approx(one.peak)  # a tenth of the weights: one of ten eigenvalues
    assert ax.get_ylim() == pytest.approx((one.peak / 10, 3 * one.density([0.0])[0]), rel=0.01)
    both = {
        f"{run}, {mode} statistics": replace(one, statistics=mode) for run in "ab" for mode in ("running", "batch")
    }
    panels = figures.density(both).axes
    assert [panel.get_title() for panel in panels] == ["running statistics", "batch statistics"]
    assert [line.get_label() for line in panels[1].lines] == ["a", "b"]
    assert [figures.density(both, columns=columns).get_figwidth() for columns in (1, 2)] == [WIDTHS[1], WIDTHS[2]]
    with pytest.raises(FigureError, match="got no density"):
        figures.density({})


def test_a_path_on_training_and_test_set():
    x = np.array([0.0, 0.5, 1.0])
    train, test = (LossPath(pd.DataFrame({"x": x, "loss": k + x * (1 - x)}), 0.25, 1.0, "batch") for k in (1, 2))
    (ax,) = train.plot(test).axes
    assert [line.get_linestyle() for line in ax.lines] == ["-", ":", "-"]
    np.testing.assert_allclose(ax.lines[1].get_ydata(), test.table["loss"])
    assert ax.lines[2].get_label() == "chord; barrier 0.25"


def test_rising_directions_are_never_drawn_alone(result):
    delta, ones = fractional_potential(np.random.default_rng(0), 1.0, Z), np.ones(10)
    table = rising(Probe(Z, delta, ones, 100, ones, ones, "batch", "float32"))
    above, below = figures.rising(table).axes
    np.testing.assert_allclose(line(above, "rises both ways").get_ydata(), table.groupby("z")["both_ways"].mean())
    np.testing.assert_allclose(below.lines[-1].get_ydata(), table.groupby("z")["phi"].mean())


def test_every_figure_of_the_landscape_draws_on_given_axes_and_in_both_widths(result):
    found = agreement(result, fit(synthetic("sinai", t0=0.1, seeds=3, seed=1), t_min=10))
    density = {"SB": SpectralDensity(np.array([0.0, 1.0]), np.array([0.9, 0.1]), 10, 2, 1, "running", 100)}
    path = LossPath(pd.DataFrame({"x": [0.0, 0.5, 1.0], "loss": [1.0, 1.25, 1.0]}), 0.25, 1.0, "batch")
    delta, ones = fractional_potential(np.random.default_rng(0), 1.0, Z), np.ones(10)
    table = rising(Probe(Z, delta, ones, 100, ones, ones, "batch", "float32"))
    sharp = pd.DataFrame([{"label": "SB", "measure": "box", "statistics": "batch", "phi": 3.0}])
    for draw in (
        partial(figures.potential, result),
        partial(figures.agreement, found),
        partial(figures.path, path),
        partial(figures.density, density),
        partial(figures.density, density | {"LB": replace(density["SB"], statistics="batch")}),
        partial(figures.rising, table),
        partial(figures.sharpness, sharp),
    ):
        figure = Figure()
        other, ax = figure.subplots(1, 2)
        assert draw(ax=ax) is figure
        assert ax.lines
        assert (ax.get_xlabel() and ax.get_ylabel()) or draw.func is figures.agreement
        assert other.has_data() is False
        assert [draw(columns=columns).get_figwidth() for columns in (1, 2)] == [WIDTHS[1], WIDTHS[2]]
    assert [WIDTHS[columns] * 2.54 for columns in (1, 2)] == pytest.approx([8.4, 17.4])
    two = pd.concat([sharp, sharp.assign(measure="adaptive")])
    with pytest.raises(FigureError, match="got 2 measures of sharpness for one ax"):
        figures.sharpness(two, Figure().subplots())
