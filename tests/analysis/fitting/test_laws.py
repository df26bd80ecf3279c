"""The family's formulas against their closed forms and against differences."""

import numpy as np
import pytest

from analysis.fitting.laws import growth, growth_slope, log_amplitude, log_t0, s_range

x = np.linspace(-3.0, 3.0, 25)


@pytest.mark.parametrize("s", [-0.2, -1e-3, -1e-9, 1e-12, 1e-6, 0.05, 0.3])
def test_growth_is_the_logarithm_over_s(s):
    assert growth(s, x) == pytest.approx(np.log1p(s * x) / s, rel=1e-13, abs=1e-13)


def test_growth_at_zero_is_a_straight_line_and_is_reached_continuously():
    """To the last digit but one: a processor's log1p need not be rounded correctly."""
    assert growth(0.0, x) == pytest.approx(x, rel=1e-15, abs=0)
    assert growth(1e-12, x) == pytest.approx(x, abs=1e-11)
    assert growth(5e-324, x) == pytest.approx(x, rel=1e-15, abs=0)


@pytest.mark.parametrize("s", [-0.2, -1e-4, -3e-5, 0.0, 3e-5, 1e-4, 4e-4, 0.05, 0.3])
def test_slope_in_s_is_the_derivative(s):
    h = 1e-5 if abs(s) < 0.2 else 1e-6
    central = (growth(s + h, x) - growth(s - h, x)) / (2 * h)
    assert growth_slope(s, x) == pytest.approx(central, rel=1e-7, abs=1e-8)


def test_slope_in_s_has_no_step_where_the_series_takes_over():
    s = np.linspace(2e-4, 5e-4, 400)[:, None]  # |s x| passes the change at 1e-3
    assert np.abs(np.diff(growth_slope(s, x), n=2, axis=0)).max() < 1e-9


@pytest.mark.parametrize(
    ("alpha", "t0", "amplitude"), [(0.5, 1.0, 0.1), (1.0, 0.01, 2.0), (2.0, 1.0, 1.3), (4.0, 3.0, 7.0)]
)
def test_parameters_return_t0_and_the_amplitude(alpha, t0, amplitude):
    u = np.log(np.geomspace(10, 1e4, 36))
    middle = (u[0] + u[-1]) / 2
    z = np.log(amplitude * (u - np.log(t0)) ** (2 / alpha))
    s = 1 / (middle - np.log(t0))
    q = 2 * s / alpha
    a = np.log(amplitude * (middle - np.log(t0)) ** (2 / alpha))
    assert z == pytest.approx(a + q * growth(s, u - middle), abs=1e-12)
    assert np.exp(log_t0(s, middle)) == pytest.approx(t0, rel=1e-12)
    assert np.exp(log_amplitude(a, q, s, middle)) == pytest.approx(amplitude, rel=1e-12)


def test_power_law_has_t0_at_zero_and_the_amplitude_of_a_power():
    assert log_t0(0.0, 5.0) == -np.inf
    assert log_amplitude(1.0, 0.25, 0.0, 5.0) == 1.0 - 0.25 * 5.0


def test_range_of_s_keeps_t0_before_the_range_and_the_blow_up_behind_it():
    low, high = s_range(x)
    assert 1 + high * x[0] == pytest.approx(0.0)
    assert 1 + low * x[-1] == pytest.approx(0.4)
