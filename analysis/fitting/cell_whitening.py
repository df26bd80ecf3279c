"""Whitening under every noise model of the mixture, for one fit range and for all that end with it.

Bins run backwards here, the last first: with R = L Lᵀ and W = L⁻¹, both lower triangular, a fit range that starts
later is a leading block of the longest one's. Only its first bin, half of one, is another: a new last row,

    v = W r,   δ² = R₀₀ − v·v,   W ← [[W, 0], [−vᵀW/δ, 1/δ]],   log |R| ← log |R| + 2 log δ,

r being the first bin's correlations with the others. So noise that neither grows nor shrinks is factored once.

Noise that does has its scale D = e^(b(u − ū)) at the middle of the fit range, which moves with the start, so that its
R is another for each. But it is Ornstein-Uhlenbeck noise, D times a Markov chain, plus independent noise. The rows of
W are then the innovations of a Kalman filter, which takes all starts at once: with φ the chain's correlation from one
bin to the next, r the variance of the independent noise over D², P the variance of what is predicted, and m the
prediction (a row, since it is linear in the data),

    S = P + r,   k = P/S,   W_i = (e_i/D − m)/√S,   m ← φ (m + k (e_i/D − m)),   P ← φ² k r + (1 − ω)(1 − φ²).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from analysis.fitting.laws import Array
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_models import CELLS, correlations, slow_correlations, step_variance

ALL_CELLS = np.arange(len(CELLS))
_JITTER = 1e-10  # of the diagonal, which keeps R of smooth noise positive
_STEADY_CELLS = tuple(cell for cell in CELLS if not cell.trend)
_TRENDING_CELLS = tuple(cell for cell in CELLS if cell.trend)
_STEADY = len(_STEADY_CELLS)
assert CELLS == _STEADY_CELLS + _TRENDING_CELLS
_NUGGET = np.array([cell.nugget for cell in _STEADY_CELLS])
_TREND_PARAMETERS = np.array([(cell.length, cell.nugget, cell.trend) for cell in _TRENDING_CELLS]).T  # ℓ, ω, b


@dataclass(frozen=True, eq=False)
class Whitening:
    """What makes the noise of each cell white: W with WᵀW = R⁻¹, lower triangular, bins backwards.

    Attributes:
        inner: (steady cell, bin − 1, bin − 1) W of noise without a trend, but for its last row.
        last: (steady cell, bin) its last row.
        trending: (trending cell, bin, bin) W of noise with a trend.
        one: (cell, bin) the constant 1, whitened.
        log_det: (cell,) log |R|.
    """

    inner: Array
    last: Array
    trending: Array
    one: Array
    log_det: Array

    def white(self, values: Array) -> Array:
        """Whiten under every noise model.

        Args:
            values: (bin, curve), bins backwards.

        Returns:
            (cell, bin, curve).
        """
        found = np.empty((len(CELLS), *values.shape))
        np.matmul(self.inner, values[:-1], out=found[:_STEADY, :-1])
        np.matmul(self.last, values, out=found[:_STEADY, -1])
        np.matmul(self.trending, values, out=found[_STEADY:])
        return found

    def rows(self, cell: int) -> Array:
        """Return W of one cell.

        Args:
            cell: its index in `CELLS`.

        Returns:
            (bin, bin).
        """
        if cell >= _STEADY:
            return self.trending[cell - _STEADY]
        found = np.zeros((self.last.shape[1],) * 2)
        found[:-1, :-1], found[-1] = self.inner[cell], self.last[cell]
        return found


def nested_whitenings(ranges: Sequence[Bins]) -> Iterator[Whitening]:
    """Factor R of every cell for fit ranges of which each holds the next but for its first bin.

    Args:
        ranges: the bins, as `LogSums.bins` gives them: the longest range first.

    Returns:
        The whitening of each.
    """
    inner, lasts, one, log_dets = _steady(ranges)
    rows, trending_one, trending_log_dets = _trending(ranges)
    for k, bins in enumerate(ranges):
        n = len(bins.u)
        last = np.concatenate([lasts[:, k, : n - 1], lasts[:, k, -1:]], axis=1)
        steady_one = np.concatenate([one[:, : n - 1], last.sum(axis=1, keepdims=True)], axis=1)
        yield Whitening(
            inner[:, : n - 1, : n - 1],
            last,
            rows[k, :, :n, :n],
            np.concatenate([steady_one, trending_one[k, :, :n]]),
            np.concatenate([log_dets[:, k], trending_log_dets[k]]),
        )


def _steady(ranges: Sequence[Bins]) -> tuple[Array, Array, Array, Array]:
    """Factor the cells without a trend.

    Returns:
        (cell, bin, bin) W of the longest range's bins but the first; (cell, range, bin + 1) the last row of each
        range's W, its last entry at the end; (cell, bin) the constant, whitened by W; (cell, range) log |R|.
    """
    u, step = ranges[0].u[:0:-1], _steps(ranges[0])[:-1]
    factor = np.linalg.cholesky(correlations(u, step, _STEADY_CELLS) + _JITTER * np.eye(len(u)))
    inner = np.empty_like(factor)
    for i, lower in enumerate(factor):
        inner[i] = lapack.dtrtri(lower, lower=1)[0]
    lengths = np.array([len(bins.u) - 1 for bins in ranges])
    firsts = np.array([bins.u[0] for bins in ranges])
    across = slow_correlations(np.abs(u[:, None] - firsts), _STEADY_CELLS)
    v = inner @ across
    v += inner @ (across - factor @ v)  # W is not exact enough for smooth noise: one step of refinement
    v[:, np.arange(len(u))[:, None] >= lengths] = 0.0
    own = 1 + np.outer(_NUGGET, [_steps(bins)[-1] - 1 for bins in ranges]) + _JITTER
    pivot = np.sqrt(own - np.sum(v**2, axis=1))
    lasts = np.concatenate([-(v.transpose(0, 2, 1) @ inner), np.ones((_STEADY, len(ranges), 1))], axis=2)
    lasts /= pivot[:, :, None]
    log_pivots = np.cumsum(np.log(np.diagonal(factor, axis1=1, axis2=2)), axis=1)
    return inner, lasts, inner.sum(axis=2), 2 * (log_pivots[:, lengths - 1] + np.log(pivot))


def _trending(ranges: Sequence[Bins]) -> tuple[Array, Array, Array]:
    """Filter the cells with a trend, for all ranges at once.

    Returns:
        (range, cell, bin, bin) each range's W, in its leading block; (range, cell, bin) the constant, whitened by it;
        (range, cell) log |R|.
    """
    length, omega, trend = (values[:, None] for values in _TREND_PARAMETERS)
    lengths = np.array([len(bins.u) for bins in ranges])
    inside = np.arange(lengths[0]) < lengths[:, None]
    u, middle, step = np.zeros((3, len(ranges), 1, lengths[0]))
    for k, bins in enumerate(ranges):
        u[k, 0, : lengths[k]] = bins.u[::-1]
        middle[k, 0, : lengths[k]] = bins.u[::-1] - bins.u.mean()
        step[k, 0, : lengths[k]] = _steps(bins)
    size = np.exp(trend * middle)
    independent = (omega * step + _JITTER) / size**2
    kept = np.exp(-np.abs(np.diff(u)) / length)
    fresh = (1 - omega) * (1 - kept**2)
    predicted = np.empty_like(size)
    predicted[:, :, 0] = 1 - omega[:, 0]
    for i in range(lengths[0] - 1):
        before, own = predicted[:, :, i], independent[:, :, i]
        predicted[:, :, i + 1] = kept[:, :, i] ** 2 * before * own / (before + own) + fresh[:, :, i]
    variance = predicted + independent
    log_det = np.sum(np.where(inside[:, None], np.log(variance), 0.0), axis=2)  # and 2 log D, whose sum is 0
    forgotten = kept * (independent / variance)[:, :, :-1]
    learnt = (kept - forgotten) / size[:, :, :-1]
    return *_innovations(forgotten, learnt, 1 / np.sqrt(variance), 1 / size, lengths), log_det


def _innovations(forgotten: Array, learnt: Array, scale: Array, given: Array, lengths: Array) -> tuple[Array, Array]:
    """Return the rows of W and what they make of the constant 1: data / D less what was predicted, over √S."""
    n = scale.shape[2]
    rows, one = np.zeros((*scale.shape, n)), np.empty_like(scale)
    row, constant = np.zeros_like(scale), np.zeros(scale.shape[:2])  # the prediction, and that for the constant
    for i in range(n):
        held = slice(np.count_nonzero(lengths > i))  # ranges that have so many bins
        size = scale[held, :, i]
        rows[held, :, i, :i] = row[held, :, :i] * -size[:, :, None]
        rows[held, :, i, i] = given[held, :, i] * size
        one[:, :, i] = (given[:, :, i] - constant) * scale[:, :, i]
        if i < n - 1:
            row[held, :, :i] *= forgotten[held, :, i, None]
            row[held, :, i] = learnt[held, :, i]
            constant = forgotten[:, :, i] * constant + learnt[:, :, i]
    return rows, one


def _steps(bins: Bins) -> Array:
    """Return the variance of the step noise, bins backwards."""
    return step_variance(bins.points, bins.steps)[::-1]
