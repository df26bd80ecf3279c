"""Laws after a jump: exact cases, a slow twin, coverage after the jump and rejection within it."""

import numpy as np
import pytest
from scipy import optimize

from analysis import compare
from analysis.fitting.jump_laws import half_log_power, jump_power
from analysis.fitting.law_fits import fit_law
from analysis.fitting.least_squares import least_squares, slopes
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_models import brownian
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.seed_noise import seed_noise
from analysis.fitting.variable_projection import variable_projection
from analysis.synthetic import noise, synthetic

t = np.geomspace(100, 1e4, 25)
u = np.log(t)
x = u - (u[0] + u[-1]) / 2


def fitted(z: np.ndarray) -> tuple[np.ndarray, list[dict[str, float]]]:
    """θ = (q, κ) of each row of log d, and the parameters that are reported."""
    z = np.atleast_2d(z)
    branch = jump_power(u)
    theta, _ = least_squares(branch, u, z, brownian(u))
    a = np.mean(z - branch.shape(u, theta), axis=1)
    return theta, [branch.report(*pair) for pair in zip(theta, a, strict=True)]


@pytest.mark.parametrize("nu", [0.1, 0.25, 0.4, 0.5, 0.7])
@pytest.mark.parametrize("reach", [1.2, 1.5, 3.0, 10.0])
def test_a_noiseless_jump_and_power_come_back(nu, reach):
    c2, k = 200.0, 200.0 * (reach**2 - 1) / t[-1] ** (2 * nu)
    (found,) = fitted(0.5 * np.log(c2 + k * t ** (2 * nu)))[1]
    assert found["nu"] == pytest.approx(nu, abs=1e-9)
    assert found["c2"] == pytest.approx(c2, rel=1e-9)
    assert found["K"] == pytest.approx(k, rel=1e-8)


def test_a_square_linear_in_log_t_has_kappa_zero():
    theta, _ = fitted(0.5 * np.log(3 + 2 * u))
    assert theta[0, 1] == pytest.approx(0, abs=1e-7)


def test_a_power_law_has_no_jump():
    ((q, kappa),), (found,) = fitted(0.3 * u)
    assert kappa == pytest.approx(2 * q, abs=1e-9)
    assert found["c2"] == pytest.approx(0, abs=1e-10 * t[-1] ** 0.6)
    assert found["nu"] == pytest.approx(0.3, abs=1e-9)


def test_kappa_zero_is_reached_continuously_and_no_value_is_given_below_zero():
    q = np.array([[0.2]])
    assert half_log_power(x, q, np.array([[0.0]])) == pytest.approx(
        half_log_power(x, q, np.array([[1e-9]])), abs=1e-8
    )
    assert half_log_power(x, q, np.array([[0.0]]))[0] == pytest.approx(0.5 * np.log1p(0.4 * x))
    assert np.isnan(half_log_power(x, np.array([[1.0]]), np.array([[0.0]]))[0, 0])


def test_many_curves_at_once_agree_with_scipy_on_each():
    z = 0.5 * np.log(200 + 0.26 * t) + noise(np.random.default_rng(0), u, 12)
    root = np.sqrt(np.diff(u))
    for row, (q, kappa) in zip(z, fitted(z)[0], strict=True):
        (_, twin), _ = optimize.curve_fit(
            lambda x, q, kappa: np.diff(0.5 * np.log(1 + 2 * q * np.expm1(kappa * x) / kappa)) / root,
            x,
            np.diff(row) / root,
            (q * 1.1, kappa * 0.9),
            xtol=1e-14,
            ftol=1e-14,
        )
        assert twin / 2 == pytest.approx(kappa / 2, abs=1e-6)


@pytest.mark.parametrize("law", LAWS)
def test_slopes_of_every_law_are_its_differences(law):
    branch = LAWS[law].on(u)
    theta = np.array([[float(axis[len(axis) // 2]) for axis in branch.axes]])
    for k, slope in enumerate(slopes(branch, u, theta)[0]):
        nudge = np.zeros_like(theta)
        nudge[0, k] = 1e-4
        central = (branch.shape(u, theta + nudge) - branch.shape(u, theta - nudge))[0] / 2e-4
        assert slope == pytest.approx(central, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("law", LAWS)
def test_the_fit_is_where_no_direction_is_better(law):
    z = np.log(synthetic("jump + log", t=t, c2=500.0, alpha=1.5, t0=1.0)[0].d)[None]
    branch, whiten = LAWS[law].on(u), brownian(u)
    theta, rss = least_squares(branch, u, z, whiten)
    low, high = branch.bounds.T
    for k in range(theta.shape[1]):
        for step in (-1e-4, 1e-4):
            beside = theta + step * (np.arange(theta.shape[1]) == k)
            if np.all((beside >= low) & (beside <= high)):
                assert np.sum((whiten(z) - whiten(branch.shape(u, beside))) ** 2) >= rss[0] * (1 - 1e-9)


@pytest.mark.parametrize("nu", [0.3, 0.4, 0.5])
@pytest.mark.parametrize("share", [0.03, 0.1, 1.0])
def test_the_family_reads_a_jump_as_a_negative_alpha(nu, share):
    """From −4c²/(K t_m^(2ν)) to half as much again, where the jump is a tenth of the growth or less."""
    middle = np.sqrt(t[0] * t[-1])
    alpha = float(variable_projection(u, 0.5 * np.log(share + (t / middle) ** (2 * nu))[None]).alpha[0])
    assert alpha < 0
    if share < 1:
        assert 1 <= alpha / (-4 * share) < 1.5


def test_log_uniform_relaxation_times_are_alpha_four():
    """d² = Σ (1 − e^(−t/τ)) over log-uniform τ is linear in log t between the shortest and the longest."""
    tau = np.exp(np.linspace(0, 20, 4001))
    times = np.geomspace(1e2, 1e6, 49)
    d = np.sqrt(np.sum(-np.expm1(-times[:, None] / tau), axis=1))
    assert variable_projection(np.log(times), np.log(d)[None]).alpha[0] == pytest.approx(4, abs=0.02)


def test_parameters_have_intervals_over_seeds_a_meaning_and_a_value_in_the_table():
    found = compare(synthetic("jump + power", nu=0.4, c2=200.0, K=1.0, seeds=5, seed=1), ["jump + power"], t_min=10)
    (law,) = found.fits
    low, high = law.intervals["nu"]
    assert low < 0.4 < high
    assert high - low < 0.1
    assert "scale-invariant" in law.meaning["nu"]
    assert f"[{low:.4g}, {high:.4g}]" in str(found)
    document = found.to_dict()["laws"][0]
    assert document["intervals"]["nu"] == [low, high]
    assert document["meaning"].keys() == document["parameters"].keys() == {"nu", "c2", "K"}
    (alone,) = compare(synthetic("jump + power", nu=0.4, c2=200.0), ["jump + power"], t_min=10).fits
    assert alone.intervals == {}


def test_a_negative_square_of_the_jump_is_said_to_be_none_and_counts_against_the_law():
    found = compare(synthetic("pure log", t0=0.5, seeds=5, seed=2), t_min=10)
    assert any("no jump on this range" in sentence for sentence in found.warnings)
    negative = [law for law in found.fits if law.intervals.get("c2", (0, 0))[1] < 0]
    assert negative
    assert all(law.ruled_out == (law.delta >= 6) for law in negative)


def covers(t_min: float, nu: float, reach: float, n: int, repetitions: int) -> tuple[float, float]:
    """How often ν's interval holds it, and how often the law is rejected; the jump takes about 20 updates."""
    times = np.geomspace(t_min, 1e4, int(12 * np.log10(1e4 / t_min)) + 1)
    logs, rng, held, rejected = np.log(times), np.random.default_rng(5), 0, 0
    c2 = 200.0
    k = c2 * (reach**2 - 1) / 1e4 ** (2 * nu)
    clean = 0.5 * np.log(c2 * (1 - np.exp(-times / 20)) ** 2 + k * times ** (2 * nu))
    for _ in range(repetitions):
        bins = Bins(logs, clean + noise(rng, logs, n), times, times, (t_min, 1e4), ("seed",) * n)
        found = fit_law(LAWS["jump + power"], bins, seed_noise(bins))
        held += found.intervals["nu"][0] <= nu <= found.intervals["nu"][1]
        rejected += found.rejected
    return held / repetitions, rejected / repetitions


def test_after_the_jump_intervals_cover_and_within_it_the_law_is_rejected():
    assert covers(120, 0.4, 3.0, 5, 60)[0] >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)
    assert covers(40, 0.4, 3.0, 5, 40)[1] >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 40)


@pytest.mark.slow
@pytest.mark.parametrize(("nu", "reach"), [(0.5, 1.5), (0.4, 3.0), (0.25, 5.0)])
def test_intervals_of_the_exponent_cover(nu, reach):
    assert 0.91 <= covers(120, nu, reach, 5, 400)[0] <= 0.98
