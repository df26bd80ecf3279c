"""Whitening under every noise model of the mixture, for one fit range and for all that end with it.

Bins run backwards here, the last first: with R = L Lᵀ and W = L⁻¹, both lower triangular, a fit range that starts
later is a leading block of the longest one's. Only its first bin, half of one, is another: a new last row,

    v = W r,   δ² = R₀₀ − v·v,   W ← [[W, 0], [−vᵀW/δ, 1/δ]],   log |R| ← log |R| + 2 log δ,

r being the first bin's correlations with the others. Noise that grows or shrinks along u has its scale at the middle
of the fit range, which moves with the start, so that its R is factored for each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from analysis.fitting.laws import Array
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_models import CELLS, correlations, step_variance

_JITTER = 1e-10  # of the diagonal, which keeps R of smooth noise positive
_STEADY, _TRENDING = ([i for i, cell in enumerate(CELLS) if (cell.trend == 0) == steady] for steady in (True, False))
_STEADY_CELLS, _TRENDING_CELLS = (tuple(CELLS[i] for i in which) for which in (_STEADY, _TRENDING))


@dataclass(frozen=True, eq=False)
class Whitening:
    """What makes the noise of each cell white.

    Attributes:
        rows: (cell, bin, bin) W with WᵀW = R⁻¹, lower triangular, bins backwards in both.
        log_det: (cell,) log |R|.
    """

    rows: Array
    log_det: Array


def whitening(u: Array, step: Array) -> Whitening:
    """Factor R of every cell.

    Args:
        u: (bin,) log t.
        step: (bin,) `noise_models.step_variance` of the bins.

    Returns:
        The whitening, in the order of `CELLS`.
    """
    _, rows, log_pivots = _factored(correlations(u, step))
    return Whitening(rows, 2 * log_pivots.sum(axis=1))


def nested_whitenings(ranges: Sequence[Bins]) -> Iterator[Whitening]:
    """Factor R of every cell for fit ranges of which each holds the next but for its first bin.

    Args:
        ranges: the bins, as `LogSums.bins` gives them: the longest range first.

    Returns:
        For each range the same as `whitening`, to rounding.
    """
    longest = ranges[0]
    u, step = longest.u[1:], step_variance(longest.points, longest.steps)[1:]
    steady = _factored(correlations(u, step, _STEADY_CELLS))
    for bins in ranges:
        yield _with_first(bins, *steady)


def _factored(correlation: Array) -> tuple[Array, Array, Array]:
    """Return L, W and the logarithms of L's diagonal, (cell, bin), bins backwards."""
    backwards = correlation[:, ::-1, ::-1] + _JITTER * np.eye(correlation.shape[1])
    factor = np.asarray(np.linalg.cholesky(backwards), float)
    rows = np.empty_like(factor)
    for i, lower in enumerate(factor):
        rows[i] = lapack.dtrtri(lower, lower=1)[0]
    log_pivots: Array = np.log(np.diagonal(factor, axis1=1, axis2=2))
    return factor, rows, log_pivots


def _with_first(bins: Bins, factor: Array, rows: Array, log_pivots: Array) -> Whitening:
    """Add the first bin of a range to the factors of its other bins, and the cells whose noise has a trend."""
    n, step = len(bins.u), step_variance(bins.points, bins.steps)
    known, inside = rows[:, : n - 1, : n - 1], factor[:, : n - 1, : n - 1]
    first = correlations(bins.u, step, _STEADY_CELLS, rows=slice(0, 1))[:, 0, ::-1]
    row = first[:, :-1, None]
    v = known @ row
    v += known @ (row - inside @ v)  # W is not exact enough for smooth noise: one step of refinement
    pivot = np.sqrt(first[:, -1] + _JITTER - np.sum(v[:, :, 0] ** 2, axis=1))
    whole = np.zeros((len(CELLS), n, n))
    log_det = np.empty(len(CELLS))
    whole[_STEADY, : n - 1, : n - 1] = known
    whole[_STEADY, n - 1, : n - 1] = -(v.transpose(0, 2, 1) @ known)[:, 0] / pivot[:, None]
    whole[_STEADY, n - 1, n - 1] = 1 / pivot
    log_det[_STEADY] = 2 * (log_pivots[:, : n - 1].sum(axis=1) + np.log(pivot))
    _, whole[_TRENDING], trending = _factored(correlations(bins.u, step, _TRENDING_CELLS))
    log_det[_TRENDING] = 2 * trending.sum(axis=1)
    return Whitening(whole, log_det)
