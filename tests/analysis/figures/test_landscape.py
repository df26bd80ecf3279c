"""What figures of the landscape draw, read back from the axes."""

import numpy as np
import pytest

from analysis import figures, fit
from analysis.agreement import agreement
from analysis.potential import potential
from analysis.potential_result import Probe
from analysis.synthetic import fractional_potential, synthetic

Z = np.geomspace(1, 100, 9)


@pytest.fixture(scope="module")
def result():
    delta, ones = fractional_potential(np.random.default_rng(0), 1.0, Z), np.ones(10)
    return potential(Probe(Z, delta, ones, 100, ones, 50 * ones, "batch", "float32"))


def line(ax, label):
    (found,) = [line for line in ax.lines if str(line.get_label()).startswith(label)]
    return found


def test_the_potential_with_taylors_line_and_the_local_exponent(result):
    figure = figures.potential(result, run_range=(5, 20))
    above, below = figure.axes
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
