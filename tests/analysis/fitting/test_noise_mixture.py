"""The single run's posterior against a slow twin that writes its formulas out."""

import numpy as np
import pytest
from scipy import stats

from analysis import fit
from analysis.fitting.bends import bends
from analysis.fitting.cell_whitening import nested_whitenings
from analysis.fitting.laws import growth
from analysis.fitting.log_bins import Bins, log_sums
from analysis.fitting.noise_mixture import Mixture, _alpha_atoms
from analysis.fitting.noise_models import CELLS, correlations, step_variance
from analysis.fitting.variable_projection import centred
from analysis.synthetic import noise, synthetic

edges = np.geomspace(10, 1e4, 37)
u, steps = np.log(np.sqrt(edges[1:] * edges[:-1])), np.diff(edges)
x = centred(u)
BINS = Bins(u, np.zeros((1, len(u))), steps, steps, (10.0, 1e4), ("run",))


def law(alpha: float, t0: float = 1.0) -> np.ndarray:
    return 0.25 * x if alpha == 0 else (2 / alpha) * np.log(u - np.log(t0))


def cell_terms(z: np.ndarray, r: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log w, q̂ and the scale of q on a grid of s, for one correlation R."""
    n, one, g = len(z), np.ones(len(z)), growth(grid[:, None], x)
    inverse = np.linalg.inv(r)
    p = inverse - np.outer(inverse @ one, inverse @ one) / (one @ inverse @ one)
    gpg = np.einsum("sn,nm,sm->s", g, p, g)
    q = g @ p @ z / gpg
    rss = z @ p @ z - q**2 * gpg
    determinants = np.linalg.slogdet(r)[1] + np.log(one @ inverse @ one) + np.log(gpg)
    return -determinants / 2 - (n - 2) / 2 * np.log(rss), q, np.sqrt(rss / ((n - 2) * gpg))


def twin(z: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """P(α ≤ limit | q > 0) by Student's distribution, on a grid of s within 14 nats of the peak."""
    all_r = correlations(u, step_variance(steps, steps))
    wide = np.linspace(-0.6 / x[-1], -1 / x[0], 802)[1:-1]
    peak = np.max([cell_terms(z, r, wide)[0] for r in all_r], axis=0)
    near = wide[peak > peak.max() - 14]
    grid = np.linspace(near[0], near[-1], 1500)
    terms = [cell_terms(z, r, grid) for r in all_r]
    top = max(log_w.max() for log_w, _, _ in terms)
    below, growing = np.zeros(len(limits)), 0.0
    for log_w, q, scale in terms:
        w = np.exp(log_w - top)
        grows = stats.t.sf(-q / scale, len(z) - 2)
        growing += w @ grows
        for i, limit in enumerate(limits):
            at = stats.t.sf((2 * grid / limit - q) / scale, len(z) - 2)  # P(q ≥ 2 s / limit)
            if limit > 0:
                below[i] += w @ np.where(grid > 0, at, grows)
            else:
                below[i] += w @ np.where(grid < 0, grows - at, 0)
    return below / growing


@pytest.mark.parametrize(
    ("alpha", "kind", "std"),
    [(0.0, "OU", 0.008), (0.0, "Matérn", 0.008), (0.5, "OU", 0.002), (2.0, "OU", 0.008), (2.0, "Matérn", 0.008)],
)
def test_quantiles_are_those_of_the_twin(alpha, kind, std):
    (path,) = noise(np.random.default_rng(7), u, 1, kind=kind, std=std)
    z = law(alpha) + path
    found = Mixture(BINS).posterior(z)
    levels = np.array([0.025, 0.25, 0.5, 0.75, 0.975])
    exact = twin(z, np.array([found.quantile(level) for level in levels]))
    # a narrow noise model under a wide one has few grid points in the middle: a hundredth there, far less at the ends
    assert exact == pytest.approx(levels, abs=0.012)
    assert exact[[0, -1]] == pytest.approx(levels[[0, -1]], abs=0.002)


def test_scale_and_level_of_the_curve_do_not_matter():
    (path,) = noise(np.random.default_rng(8), u, 1)
    mixture, z = Mixture(BINS), law(2.0) + path
    assert mixture.posterior(z + 5).alpha == pytest.approx(mixture.posterior(z).alpha, rel=1e-6)
    # twice the exponent with twice the noise is half the α
    assert mixture.posterior(2 * z).alpha == pytest.approx(mixture.posterior(z).alpha / 2, rel=1e-6)


def test_a_flat_noisy_curve_reports_how_likely_it_is_not_to_grow():
    (path,) = noise(np.random.default_rng(9), u, 1, kind="independent")
    assert 0.05 < Mixture(BINS).posterior(path).shrinking < 0.95


def test_the_mixture_finds_the_kind_of_noise():
    mixture = Mixture(BINS)
    for kind in ("OU", "Matérn"):
        paths = noise(np.random.default_rng(11), u, 20, kind=kind, length=2.0)
        right = sum(CELLS[mixture.posterior(law(2.0) + path).cell].kernel == kind for path in paths)
        assert right >= 12  # of 20; a coin reaches 12 one time in four, 20 coins twice over one in sixteen


def test_ranges_that_end_together_are_whitened_each_by_the_factor_of_its_own_covariance():
    (curve,) = synthetic("sinai", t0=0.1, seed=4)
    sums = log_sums([curve])
    ranges = [sums.bins(first) for first in (0, 3, 24)]
    for bins, found in zip(ranges, nested_whitenings(ranges), strict=True):
        r = correlations(bins.u, step_variance(bins.points, bins.steps))[:, ::-1, ::-1] + 1e-10 * np.eye(len(bins.u))
        factor = np.linalg.cholesky(r)
        values = np.random.default_rng(0).normal(size=(len(bins.u), 3))
        exact = np.linalg.solve(factor, np.broadcast_to(values, (len(r), *values.shape)))
        size = np.abs(exact).max(axis=(1, 2))
        assert np.abs(found.white(values) - exact).max(axis=(1, 2)) / size == pytest.approx(0, abs=1e-7)
        for cell in (0, 40, 70, 80, 105):
            assert found.rows(cell) @ values == pytest.approx(exact[cell], abs=1e-7 * size[cell])
            assert found.one[cell] == pytest.approx(found.rows(cell).sum(axis=1), abs=1e-9 * size[cell])
        assert found.log_det == pytest.approx(np.linalg.slogdet(r)[1], abs=1e-6)


@pytest.mark.parametrize("end", [0.05, 0.9])
def test_a_few_functions_hold_the_designs_of_all_bends(end):
    found = bends(law(1.0), x, -0.01, end / x[-1], lambda curves: curves @ curves.T)
    s = np.linspace(-0.01, end / x[-1], 129)
    apart = growth(s[:, None], x) - found.near
    assert len(found.functions) <= 24
    assert apart @ found.functions.T @ found.functions == pytest.approx(apart, abs=1e-12)
    assert found.serve(-0.01, 0.0)
    assert not found.serve(0.0, 1e-6)


def test_weights_are_those_of_the_formulas():
    z = law(1.0) + noise(np.random.default_rng(3), u, 1)[0]
    mixture, r = Mixture(BINS), correlations(u, step_variance(steps, steps))
    s = np.linspace(*mixture.support(z), 129)
    for some, want in ((s, slice(None)), (s[:2], slice(2))):
        found = mixture.weigh(z, some)
        for got, exact in zip(found, cell_terms(z, r[5], s), strict=True):
            assert got[5] == pytest.approx(exact[want], rel=1e-7)


JUMPS = """
    1.7824 1.8271 1.7929 1.8256 1.8889 1.9193 1.9722 1.9999 2.0496 2.0942 2.165 2.2038 2.2591 2.3193
    2.3895 2.4339 2.4919 2.5573 2.6197 2.6779 2.7316 2.8018 2.8688 2.9367 3.0047 3.0764 3.1456 3.2202
    3.2907 3.3742 3.4518 3.535 3.6229 3.7148 3.8007 3.8857 3.9751 4.0864 4.1817 4.296 4.4017 4.5053
    4.6169 4.7264 4.8472 4.9647 5.0813 5.2066 5.3381 5.4594 5.5951 5.7255 5.8748 6.0151 6.1651 6.32
    6.4677 6.6178 6.7801 6.9383 7.1001 7.2619 7.4428 7.5243 7.691 7.874 8.0606 8.2553 8.418 8.6286
    8.8713 9.0792 9.302 9.5148
"""  # t^.25 and a few small jumps, which smooth noise models take for a falling law


def test_where_the_noise_models_take_growth_for_noise_alpha_is_conditioned_on_growth():
    t = np.unique(np.round(np.geomspace(10, 1e4, 74)))
    found = fit((t, np.array(JUMPS.split(), float)), t_min=10)
    assert np.isfinite([found.alpha, *found.interval]).all()
    assert found.interval[0] < 0 < found.interval[1]
    assert not found.power_law_excluded
    assert any("the law falls, and the curve's growth is noise" in sentence for sentence in found.warnings)


def test_conditioned_on_growth_the_posterior_is_the_twins():
    z = law(1.0) + noise(np.random.default_rng(3), u, 1, std=0.008, length=1.0)[0]
    mixture = Mixture(BINS)
    _, s, log_w, q, scale = mixture._over_support(z, growing=True)
    alpha, mass, _ = _alpha_atoms(log_w, s, q, scale, len(z) - 2, growing=True)
    order = np.argsort(alpha)
    cumulative = np.cumsum(mass[order]) - mass[order] / 2
    limits = np.interp([0.025, 0.5, 0.975], cumulative, alpha[order])
    assert twin(z, limits) == pytest.approx([0.025, 0.5, 0.975], abs=0.01)
