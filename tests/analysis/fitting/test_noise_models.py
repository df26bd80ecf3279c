"""The noise models: whitening, kernels, and the mixture's correlations."""

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.fitting.noise_models import (
    CELLS,
    brownian,
    correlations,
    matern,
    ornstein_uhlenbeck,
    step_variance,
    whitener,
)

u = np.sort(np.random.default_rng(3).uniform(2.0, 9.0, 30))


def test_brownian_whitener_turns_brownian_covariance_into_the_identity():
    whiten = brownian(u)
    covariance = np.minimum.outer(u, u)
    assert whiten(whiten(covariance).T) == pytest.approx(np.eye(len(u) - 1), abs=1e-12)


@pytest.mark.parametrize("noise", ["brownian", "independent"])
def test_whiteners_forget_a_constant(noise):
    assert whitener(noise, u)(np.full((2, 30), 7.0)) == pytest.approx(0.0, abs=1e-12)


def test_unknown_noise_is_refused_by_name():
    with pytest.raises(AnalysisError, match="'pink'"):
        whitener("pink", u)


def test_kernels_start_at_one_and_reach_their_known_values():
    assert ornstein_uhlenbeck(np.array([0.0, 2.0]), 2.0) == pytest.approx([1.0, np.exp(-1)])
    assert matern(np.array([0.0, 2.0]), 2.0) == pytest.approx([1.0, (1 + np.sqrt(3)) * np.exp(-np.sqrt(3))])


def test_mixture_has_the_stated_cells_each_a_correlation():
    assert len(CELLS) == 8 * 3 + 8 * 4 + 6 * 3 + 2 * 8 * 2
    trending = [cell.trend != 0 for cell in CELLS]
    r = correlations(u, np.ones(30))
    assert r.shape == (106, 30, 30)
    assert np.diagonal(r, axis1=1, axis2=2)[np.invert(trending)] == pytest.approx(1.0)
    assert np.linalg.eigvalsh(r).min() > -1e-10


def test_step_noise_averages_over_the_steps_of_a_bin_but_no_better_than_its_points():
    assert step_variance(np.array([10.0, 600.0]), np.array([10.0, 600.0])) == pytest.approx([1.0, 0.1])
    assert step_variance(np.array([1.0, 4.0]), np.array([6000.0, 6000.0])) == pytest.approx([1.0, 0.25])
