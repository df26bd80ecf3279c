"""The noise of three seeds or more, chosen by what they differ by.

What n seeds differ by from their mean, e_i = z_i − z̄, holds neither their law nor what they share. So the noise model
is chosen by the restricted likelihood of e (Patterson and Thompson 1971), in which a constant of each seed and the
size σ of the noise are left open. With P = R⁻¹ projected off the constant, over K bins,

    log ℓ(R) = −(n − 1)/2 [log |R| + log 1'R⁻¹1 + (K − 1) log Σ e_i'P e_i].

It is Brownian noise in log t, unless a rougher, a growing or a shrinking one is likelier by more than 20 to 1. The
first bin of a fit range is half of one and has no say. Intervals and tests over seeds do not rest on the choice: it
weighs the curve, and with better weights α is known better. `bench/widths.py` counts what it gains, and how often the
intervals hold.

Under a law of the family each weighing estimates the same α. Where the seeds' α under the two noises differ (Hausman
1978), the curve follows none, α describes what is weighed, and Brownian noise is kept: it weighs all of the range.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.linalg import lapack

from analysis.errors import AnalysisError
from analysis.fitting.laws import Array
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_models import CELLS, Cell, Whitener, brownian, correlations, step_variance
from analysis.fitting.variable_projection import variable_projection

ODDS = math.log(20.0)  # what it takes to give up Brownian noise: as strong as a BIC that is 6 lower
DISAGREE = 0.01  # p-value of equal α under both noises, below which Brownian noise is kept
TREND = 0.4
_JITTER = 1e-10  # of the diagonal, which keeps R of smooth noise positive
_ROUNDING = 1e-12  # of log d: seeds that differ by less have no noise to choose by

SEED_CELLS = (
    *(cell for cell in CELLS if cell.kernel == "OU" and not (cell.trend and cell.nugget)),
    *(Cell("independent", 1.0, 0.0, trend) for trend in (-TREND, 0.0, TREND)),
)
"""What is chosen from, beside Brownian noise: rough noise and independent values, steady, growing and shrinking.

Smoother noise is left out: chosen from few seeds it narrows intervals by a tenth, and they hold less often.
"""
_STEADY = tuple(cell for cell in SEED_CELLS if not cell.trend)
_OF_STEADY = np.array([_STEADY.index(Cell(cell.kernel, cell.length, cell.nugget)) for cell in SEED_CELLS])
_TRENDS = np.array([cell.trend for cell in SEED_CELLS])


@dataclass(frozen=True)
class SeedNoise:
    """The noise that seeds are fitted under; as a string, in words.

    Attributes:
        cell: the model; None for Brownian noise in log t.
        refused: a likelier model that was not taken, since α under it is another.
    """

    cell: Cell | None = None
    refused: Cell | None = None

    def on(self, bins: Bins) -> Whitener:
        """Return what makes this noise white on some bins, and removes constants.

        Args:
            bins: the bins.

        Returns:
            A function of values (..., bin), linear in them.
        """
        if self.cell is None:
            return brownian(bins.u)
        correlation = correlations(bins.u, step_variance(bins.points, bins.steps), (self.cell,))[0]
        white = np.linalg.inv(np.linalg.cholesky(correlation + _JITTER * np.eye(len(bins.u))))
        one = white.sum(axis=1)
        projected = white - np.outer(one, one @ white) / (one @ one)
        return lambda f: f @ projected.T

    def __str__(self) -> str:
        if self.cell is None:
            return "Brownian"
        name, details = "independent", []
        if self.cell.kernel == "OU":
            name, details = "Ornstein-Uhlenbeck", [f"{self.cell.length:.2g} e-folds of t"]
        if self.cell.nugget:
            details.append(f"{self.cell.nugget:.2g} step noise")
        if self.cell.trend:
            details.append(f"{'growing' if self.cell.trend > 0 else 'shrinking'} as t^{self.cell.trend:g}")
        return f"{name} ({', '.join(details)})" if details else name


BROWNIAN, INDEPENDENT = SeedNoise(), SeedNoise(Cell("independent", 1.0, 0.0))
_NAMED = {"brownian": BROWNIAN, "independent": INDEPENDENT}


def named_noise(name: str) -> SeedNoise:
    """Return a noise by name.

    Args:
        name: "brownian" or "independent".

    Returns:
        The noise.

    Raises:
        AnalysisError: for an unknown name.
    """
    if not isinstance(name, str) or name not in _NAMED:
        raise AnalysisError(f"noise = {name!r}: expected one of chosen, {', '.join(_NAMED)}")
    return _NAMED[name]


def seed_noise(bins: Bins) -> SeedNoise:
    """Choose the noise of some seeds; Brownian for fewer than three.

    Args:
        bins: one curve per seed.

    Returns:
        The noise.
    """
    return seed_noises([bins])[0]


def seed_noises(ranges: Sequence[Bins]) -> list[SeedNoise]:
    """Choose the noise for fit ranges of which each holds the next but for its first bin.

    Bins run backwards here, so that whitened by the inverse of a triangular factor a range that starts later is a
    leading part of the longest, and all sums over it are cumulative.

    Args:
        ranges: the bins, as `LogSums.bins` gives them, the longest range first.

    Returns:
        The noise of each range.
    """
    longest = ranges[0]
    apart = (longest.z - longest.z.mean(axis=0))[:, :0:-1]
    apart -= apart.mean(axis=1, keepdims=True)
    if len(longest.z) < 3 or np.abs(apart).max() <= _ROUNDING * max(1.0, float(np.abs(longest.z).max())):
        return [BROWNIAN] * len(ranges)
    likelihood = _likelihood(longest, apart)
    kept = _brownian_likelihood(longest.u[:0:-1], apart)
    found = []
    for bins in ranges:
        last = len(bins.u) - 2
        best = int(np.argmax(likelihood[:, last]))
        likelier = likelihood[best, last] > kept[last] + ODDS
        found.append(_unless_refused(bins, SeedNoise(SEED_CELLS[best])) if likelier else BROWNIAN)
    return found


def _unless_refused(bins: Bins, noise: SeedNoise) -> SeedNoise:
    """Return the noise if the seeds' α under it and under Brownian noise agree, by Student's t over the seeds."""
    alpha, kept = (variable_projection(bins.u, bins.z, one.on(bins)).alpha for one in (noise, BROWNIAN))
    change, n = alpha - kept, len(alpha)
    error = max(float(change.std(ddof=1)) / math.sqrt(n), 1e-6 * (1 + abs(float(kept.mean()))))
    agree = 2 * special.stdtr(n - 1, -abs(float(change.mean())) / error) >= DISAGREE  # False for NaN
    return noise if agree else SeedNoise(None, noise.cell)


def _likelihood(longest: Bins, apart: Array) -> Array:
    """Return log ℓ of each of `SEED_CELLS` over the first k + 1 bins, backwards: (cell, k)."""
    u, step = longest.u[1:], step_variance(longest.points, longest.steps)[1:]
    backwards = correlations(u, step, _STEADY)[:, ::-1, ::-1] + _JITTER * np.eye(len(u))
    factor = np.linalg.cholesky(backwards)
    log_pivots = np.log(np.diagonal(factor, axis1=1, axis2=2))[_OF_STEADY]
    scale = np.exp(np.outer(_TRENDS, u[::-1] - u.mean()))  # noise that grows is steady noise times its size
    given = np.vstack([apart, np.ones_like(u)]) / scale[:, None]
    white = np.stack(
        [lapack.dtrtrs(factor[i], rows.T, lower=1)[0] for i, rows in zip(_OF_STEADY, given, strict=True)]
    )
    y, one = white[:, :, :-1], white[:, :, -1]
    weight = np.cumsum(one**2, axis=1)
    mixed = np.cumsum(y * one[:, :, None], axis=1)
    rss = np.cumsum(np.sum(y**2, axis=2), axis=1) - np.sum(mixed**2, axis=2) / weight
    log_det = 2 * np.cumsum(log_pivots + np.log(scale), axis=1) + np.log(weight)
    return _profile(rss, log_det, len(apart))


def _brownian_likelihood(u: Array, apart: Array) -> Array:
    """Return the same for Brownian noise, of which increments are independent: (k,)."""
    gaps = -np.diff(u)
    rss = np.cumsum(np.sum(np.diff(apart, axis=1) ** 2, axis=0) / gaps)
    return _profile(np.append(0.0, rss), np.append(0.0, np.cumsum(np.log(gaps))), len(apart))


def _profile(rss: Array, log_det: Array, n: int) -> Array:
    freedom = np.arange(rss.shape[-1])  # K − 1
    return -(n - 1) / 2 * (log_det + freedom * np.log(np.maximum(rss, 1e-300)))
