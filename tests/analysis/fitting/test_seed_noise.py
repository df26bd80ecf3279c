"""The noise that seeds are fitted under, chosen by what they differ by."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from analysis import compare, fit, scan
from analysis.errors import AnalysisError
from analysis.fitting.estimator import estimate
from analysis.fitting.log_bins import Bins, binned, log_sums
from analysis.fitting.noise_models import Cell, correlations, step_variance
from analysis.fitting.seed_noise import BROWNIAN, SEED_CELLS, SeedNoise, named_noise, seed_noise, seed_noises
from analysis.fitting.variable_projection import variable_projection
from analysis.reading import curves
from analysis.synthetic import noise

t = np.geomspace(10, 1e4, 37)
u = np.log(t)
covered = t * (u[1] - u[0])
LAW = 2 * np.log(u)  # α = 1, t₀ = 1


def bins(z: np.ndarray) -> Bins:
    return Bins(u, z, covered, covered, (10.0, 1e4), tuple(f"seed {i}" for i in range(len(z))))


def restricted(seeds: Bins, cell: Cell) -> float:
    """log ℓ(R) by its formula, without the first bin."""
    z, x = seeds.z[:, 1:], seeds.u[1:]
    apart = z - z.mean(axis=0)
    r = correlations(x, step_variance(seeds.points, seeds.steps)[1:], (cell,))[0] + 1e-10 * np.eye(len(x))
    inverse, one = np.linalg.inv(r), np.ones(len(x))
    p = inverse - np.outer(inverse @ one, one @ inverse) / (one @ inverse @ one)
    rss = np.einsum("ni,ij,nj", apart, p, apart)
    log_det = np.linalg.slogdet(r)[1] + np.log(one @ inverse @ one)
    return float(-(len(z) - 1) / 2 * (log_det + (len(x) - 1) * np.log(rss)))


@pytest.mark.parametrize(("kind", "trend"), [("independent", 0.0), ("independent", 0.4), ("OU", 0.4), ("OU", -0.4)])
def test_the_noise_has_the_largest_restricted_likelihood(kind, trend):
    paths = noise(np.random.default_rng(3), u, 5, kind=kind, std=0.008) * np.exp(trend * (u - u.mean()))
    found = seed_noise(bins(LAW + paths))
    likelihood = [restricted(bins(LAW + paths), cell) for cell in SEED_CELLS]
    assert found.cell == SEED_CELLS[int(np.argmax(likelihood))]
    assert found.cell.trend == trend


def test_brownian_noise_is_given_up_where_another_is_likelier_by_twenty_to_one():
    gaps, gained = np.diff(u[1:]), []
    for draw in range(14):
        rng = np.random.default_rng(draw)
        paths = noise(rng, u, 3, kind="Brownian", std=0.006) + noise(rng, u, 3, kind="independent", std=0.002)
        seeds = bins(LAW + paths)
        rises = np.diff((seeds.z - seeds.z.mean(axis=0))[:, 1:], axis=1)
        rss = np.sum(rises**2 / gaps)
        kept = -(np.log(gaps).sum() + len(gaps) * np.log(rss))  # n = 3
        gained.append(max(restricted(seeds, cell) for cell in SEED_CELLS) - kept)
        found = seed_noise(seeds)
        assert (found != BROWNIAN) == (gained[-1] > np.log(20))
    assert np.histogram(gained, [np.log(2), np.log(20), np.log(1e6)])[0].min() >= 2


@pytest.mark.parametrize("kind", ["Brownian", "Matérn"])
def test_noise_as_smooth_as_brownian_or_smoother_is_taken_for_brownian(kind):
    assert seed_noise(bins(LAW + noise(np.random.default_rng(3), u, 5, kind=kind, std=0.008))) == BROWNIAN


def test_ranges_that_start_later_choose_by_their_own_bins():
    rng = np.random.default_rng(5)
    paths = noise(rng, u, 4, std=0.01) * (u < 5) + noise(rng, u, 4, kind="independent", std=0.01)
    data = [(t, np.exp(LAW + path)) for path in paths]
    sums = log_sums(curves(data))
    ranges = [sums.bins(first) for first in (0, 3, 9, 15)]
    together = seed_noises(ranges)
    assert together == [seed_noise(one) for one in ranges]
    assert len(set(together)) > 1
    assert scan(data).noise.iloc[[0, 1, 3, 5]].tolist() == list(map(str, together))


def test_two_curves_are_too_few_to_choose_a_noise_by():
    paths = noise(np.random.default_rng(3), u, 3, kind="independent", std=0.008)
    assert seed_noise(bins(LAW + paths)) != BROWNIAN
    assert seed_noise(bins(LAW + paths[:2])) == BROWNIAN


def test_a_likelier_noise_is_refused_where_alpha_changes_by_students_test():
    refused, p_values = [], []
    for draw in range(8):
        bent = LAW - 0.004 * draw * np.maximum(u - 6, 0)
        paths = noise(np.random.default_rng(draw), u, 5, std=0.004) * np.exp(-0.6 * (u - u.mean()))
        seeds = bins(bent + paths)
        likeliest = SeedNoise(SEED_CELLS[int(np.argmax([restricted(seeds, cell) for cell in SEED_CELLS]))])
        each, kept = (variable_projection(u, seeds.z, one.on(seeds)).alpha for one in (likeliest, BROWNIAN))
        p_values.append(ttest_1samp(each - kept, 0).pvalue)
        refused.append(seed_noise(seeds).refused is not None)
    assert refused == [p < 0.01 for p in p_values]
    assert 0 < sum(refused) < len(refused)


def test_a_law_and_what_seeds_share_have_no_say():
    paths = noise(np.random.default_rng(2), u, 4, kind="independent", std=0.01)
    common = noise(np.random.default_rng(3), u, 1, std=0.01)
    assert seed_noise(bins(LAW + paths)) == seed_noise(bins(0.25 * u + common + paths))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_curves_that_do_not_differ_have_no_noise_to_choose_by(n):
    assert seed_noise(bins(LAW + np.arange(n)[:, None])) == BROWNIAN


def test_a_curve_that_follows_no_law_is_weighed_as_ever_and_the_fit_says_so():
    bent = LAW - 0.1 * np.maximum(u - 6, 0)
    paths = noise(np.random.default_rng(0), u, 5, std=0.004) * np.exp(-0.6 * (u - u.mean()))
    found = seed_noise(bins(bent + paths))
    assert found.cell is None
    assert found.refused is not None
    said = fit([(t, np.exp(row)) for row in bent + paths], t_min=10).warnings
    assert any("Weighed for it" in sentence for sentence in said)


def test_one_noise_serves_all_of_an_output_which_names_it():
    paths = noise(np.random.default_rng(1), u, 4, kind="independent", std=0.01)
    seeds = [(t, np.exp(LAW + path)) for path in paths]
    found, laws = fit(seeds, t_min=10), compare(seeds, t_min=10)
    chosen = seed_noise(binned(curves(seeds), 10))
    assert chosen.cell is not None
    assert found.noise == laws.noise == found.scan.noise.iloc[0] == found.to_dict()["noise"] == str(chosen)
    assert str(chosen) in found.method
    family = next(law for law in laws.fits if law.law.name == "ultraslow")
    assert family.intervals["alpha"] == pytest.approx(found.interval, abs=1e-6)


def test_the_interval_is_students_under_that_noise_and_narrower():
    paths = noise(np.random.default_rng(1), u, 5, kind="independent", std=0.01)
    seeds = bins(LAW + paths)
    at, kept = estimate(seeds, 0.95), estimate(seeds, 0.95, BROWNIAN)
    alpha = variable_projection(u, seeds.z, at.noise.on(seeds)).alpha
    assert at.alpha == pytest.approx(alpha.mean())
    assert [seed.alpha for seed in at.seeds] == pytest.approx(alpha)
    assert np.ptp(at.interval) < 0.7 * np.ptp(kept.interval)


def test_a_noise_whitens_its_own_covariance():
    seeds = bins(LAW[None])
    for cell in (SEED_CELLS[0], SEED_CELLS[30], SEED_CELLS[-1]):
        white = SeedNoise(cell).on(seeds)(np.eye(37)).T  # Q, with QᵀQ = P
        r = correlations(u, step_variance(covered, covered), (cell,))[0]
        assert white @ r @ white.T @ white == pytest.approx(white, abs=1e-6 * np.abs(white).max())
        assert white @ np.ones(37) == pytest.approx(0.0, abs=1e-9 * np.abs(white).max())


def test_a_noise_says_whether_it_grows():
    assert str(SeedNoise(Cell("OU", 0.32, 0.0, 0.4))) == ("Ornstein-Uhlenbeck (0.32 e-folds of t, growing as t^0.4)")
    assert str(SeedNoise(Cell("independent", 1.0, 0.0, -0.4))) == "independent (shrinking as t^-0.4)"
    assert str(SeedNoise(Cell("OU", 2.0, 0.05))) == "Ornstein-Uhlenbeck (2 e-folds of t, 0.05 step noise)"


def test_an_unknown_noise_is_refused_with_the_names():
    with pytest.raises(AnalysisError, match="noise = 'pink': expected one of chosen, brownian, independent"):
        named_noise("pink")
