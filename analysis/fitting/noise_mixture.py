"""One run: the posterior of α under a mixture of noise models.

A single curve cannot tell how its deviations are correlated in log time, so the noise is a mixture of
correlations R (`noise_models.CELLS`), of equal prior weight, with a flat prior on s, a and q and 1/σ on the scale.
With P = R⁻¹ projected off the constant, q̂ = g'Pz / g'Pg and RSS = z'Pz − q̂² g'Pg,

    w(s, cell) ∝ |R|^(−1/2) (1'R⁻¹1)^(−1/2) (g'Pg)^(−1/2) RSS^(−(n−2)/2)
    q | s, cell ~ t_(n−2)(q̂, RSS / ((n−2) g'Pg)),     P(α ≤ x) = Σ w · P(2 s/q ≤ x).

α supposes growth, q > 0. Very smooth noise can put nearly all weight on a law that falls (it takes the growth for
noise, and a jump at the start for the law); each w is then multiplied by P(q > 0 | s, cell).

Intervals of one run are provisional: they assume that the law is right and that the mixture holds its noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.errors import AnalysisError
from analysis.fitting.bends import Bends, bends
from analysis.fitting.cell_whitening import ALL_CELLS, Whitening, nested_whitenings
from analysis.fitting.goodness_of_fit import deviations, single_p
from analysis.fitting.laws import Array, s_range
from analysis.fitting.log_bins import Bins
from analysis.fitting.variable_projection import centred

PROBABILITIES = np.linspace(0.0025, 0.9975, 200)
_SEARCH = 65  # points of s while the support is searched for
_FINE = 129  # over the support; the narrowest noise model must find a few of them, though the widest sets the support
_SUPPORT = 12.0  # nats below the peak at which a grid point stops mattering (e^-12 = 6e-6)
_GROWING = 0.01  # the posterior probability of growth below which the weights are conditioned on it
_NODES = 16  # Student-t quantiles that stand for q's distribution at one (s, cell)


@dataclass(frozen=True, eq=False)
class Posterior:
    """P(α ≤ x) as a table, and the most probable noise and bend.

    Attributes:
        alpha: (200,) quantiles of α.
        cdf: (200,) their cumulative probabilities.
        shrinking: P(q ≤ 0), which the table leaves out.
        cell: index of the most probable noise in `noise_models.CELLS`.
        s: the most probable bend under it.
    """

    alpha: Array
    cdf: Array
    shrinking: float
    cell: int
    s: float

    def quantile(self, probability: float) -> float:
        """Return a quantile of α.

        Args:
            probability: how much of the posterior lies below it.

        Returns:
            The α.
        """
        return float(np.interp(probability, self.cdf, self.alpha))

    def interval(self, confidence_level: float) -> tuple[float, float]:
        """Return the central interval.

        Args:
            confidence_level: how much of the posterior lies inside.

        Returns:
            The interval's ends.

        Raises:
            AnalysisError: where the table does not reach so far.
        """
        widest = self.cdf[-1] - self.cdf[0]
        if confidence_level > widest + 1e-9:
            raise AnalysisError(
                f"confidence_level = {confidence_level:g}: one run's table ends at {widest:g}; give three seeds"
            )
        return self.quantile((1 - confidence_level) / 2), self.quantile((1 + confidence_level) / 2)


class Mixture:
    """The noise mixture on one set of bins: everything that does not depend on the curve.

    Args:
        bins: the bins.
        whitening: of the noise models on them, if it is at hand.
    """

    def __init__(self, bins: Bins, whitening: Whitening | None = None) -> None:
        self.x = centred(bins.u)
        self.whitening = whitening or next(nested_whitenings([bins]))
        weight = np.sum(self.whitening.one**2, axis=1)
        self.constant = self.whitening.one / np.sqrt(weight)[:, None]
        self.log_prior = -0.5 * (self.whitening.log_det + np.log(weight))

    def products(self, curves: Array) -> Array:
        """Multiply curves with each other under each noise model, f'Pf.

        Args:
            curves: (curve, bin) values f.

        Returns:
            (cell, curve, curve).
        """
        level = curves.mean(axis=1, keepdims=True)  # P removes constants; large ones would cancel
        values = np.vstack([np.ones(len(self.x)), curves - level])
        white = self.whitening.white(np.ascontiguousarray(values[:, ::-1].T))
        square = white.transpose(0, 2, 1) @ white
        constant = square[:, 1:, :1] / np.sqrt(square[:, :1, :1])
        return square[:, 1:, 1:] - constant * constant.transpose(0, 2, 1)

    def white_under(self, cell: int, curves: Array) -> Array:
        """Whiten curves under one noise model, and project the whitened constant off: Q f with QᵀQ = P.

        Args:
            cell: its index in `noise_models.CELLS`.
            curves: (curve, bin) values.

        Returns:
            (curve, bin), bins backwards.
        """
        found = curves[:, ::-1] @ self.whitening.rows(cell).T
        return found - np.outer(found @ self.constant[cell], self.constant[cell])

    def weigh(self, z: Array, s: Array) -> tuple[Array, Array, Array]:
        """Weigh bends and noise models by one curve.

        Args:
            z: (bin,) log d.
            s: (s,) the bends to weigh, in order.

        Returns:
            log w, q̂ and the scale of q, each (cell, s).
        """
        return self._weighed(self._bends(z, s[0], s[-1]), s)

    def _bends(self, z: Array, low: float, high: float) -> Bends:
        return bends(z, self.x, low, high, self.products)

    def _weighed(
        self, of: Bends, s: Array, growing: bool = False, cells: NDArray[np.intp] = ALL_CELLS, rough: bool = False
    ) -> tuple[Array, Array, Array]:
        """Weigh bends and some noise models, by P(q > 0) as well or not, roughly or to rounding."""
        freedom = len(self.x) - 2
        q, rss, square = of.projected(s, cells, rough)
        rss += 1e-30
        log_w = self.log_prior[cells, None] - 0.5 * (np.log(square) + freedom * np.log(rss))
        scale = np.sqrt(rss / (freedom * square))
        if growing:
            log_w += np.log(special.stdtr(freedom, q / scale) + 1e-300)
        return log_w, q, scale

    def posterior(self, z: Array) -> Posterior:
        """Compute the posterior of α.

        Args:
            z: (bin,) one curve's log d.

        Returns:
            The posterior.
        """
        cells, s, log_w, q, scale = self._over_support(z)
        alpha, mass, shrinking = _alpha_atoms(log_w, s, q, scale, len(z) - 2)
        if shrinking > 1 - _GROWING:
            cells, s, log_w, q, scale = self._over_support(z, growing=True)
            alpha, mass, _ = _alpha_atoms(log_w, s, q, scale, len(z) - 2, growing=True)
        cell, mode = np.unravel_index(int(np.argmax(log_w)), log_w.shape)
        order = np.argsort(alpha)
        cumulative = np.cumsum(mass[order]) - 0.5 * mass[order]
        table = (
            np.interp(PROBABILITIES, cumulative, alpha[order]) if len(order) else np.full(len(PROBABILITIES), np.nan)
        )
        return Posterior(table, PROBABILITIES, shrinking, int(cells[cell]), float(s[mode]))

    def _over_support(self, z: Array, growing: bool = False) -> tuple[NDArray[np.intp], Array, Array, Array, Array]:
        """Return the noise models that matter, s over its support, and `weigh` there."""
        of, cells, (low, high) = self._search(z, growing)
        s = np.linspace(low, high, _FINE)
        return cells, s, *self._weighed(of, s, growing, cells)

    def support(self, z: Array) -> tuple[float, float]:
        """Find the range of s outside of which no noise model's weight matters.

        Args:
            z: (bin,) one curve's log d.

        Returns:
            The range's ends.
        """
        return self._search(z)[-1]

    def _search(self, z: Array, growing: bool = False) -> tuple[Bends, NDArray[np.intp], tuple[float, float]]:
        """Narrow the range of s step by step; return also products for it, and the noise models that matter in it."""
        low, high = (0.999 * end for end in s_range(self.x))
        of = self._bends(z, low, high)
        for _ in range(12):
            s = np.linspace(low, high, _SEARCH)
            log_w = self._weighed(of, s, growing, rough=True)[0]
            peak = log_w.max(axis=0)
            held = np.flatnonzero(peak > peak.max() - _SUPPORT)
            low, high = float(s[max(held[0] - 1, 0)]), float(s[min(held[-1] + 1, _SEARCH - 1)])
            if not of.serve(low, high):
                of = self._bends(z, low, high)
            if len(held) > _SEARCH / 4:
                break
        return of, np.flatnonzero(_tops(log_w, len(z) - 2) > peak.max() - _SUPPORT), (low, high)

    def p_value(self, z: Array, curve: Array, tangent: Array) -> float:
        """Compute the p-value of a law under the noise model that is likeliest if the law is right.

        Args:
            z: (bin,) one curve's log d.
            curve: (bin,) the law's, up to a constant; 0 where its tangent holds it.
            tangent: (parameter, bin) the derivatives of the law's log d by its parameters.

        Returns:
            The p-value (`goodness_of_fit.single_p`).
        """
        cell = self.likeliest(z - curve, tangent)
        wide = self.white_under(cell, np.vstack([z, z - curve, tangent, deviations(self.x)]))
        whole, left, bends = wide[0], wide[1], wide[2:]
        law, added = bends[: len(tangent)], bends[len(tangent) :]
        return single_p(left, law, added, len(z) - 1, float(np.sum(whole**2)))

    def likeliest(self, z: Array, tangent: Array) -> int:
        """Find the noise model of the largest likelihood, with a flat prior on the parameters of a linearised law.

        Args:
            z: (bin,) one curve's log d, less the law's.
            tangent: (parameter, bin) the derivatives of the law's log d by its parameters.

        Returns:
            Its index in `noise_models.CELLS`.
        """
        square = self.products(np.vstack([tangent, z]))
        within, score = square[:, :-1, :-1], square[:, :-1, -1]
        fitted = np.einsum("ck,ck->c", score, np.linalg.solve(within, score[:, :, None])[:, :, 0])
        rss = np.maximum(square[:, -1, -1] - fitted, 0) + 1e-30
        freedom = len(z) - 1 - len(tangent)
        return int(np.argmax(self.log_prior - 0.5 * np.linalg.slogdet(within)[1] - 0.5 * freedom * np.log(rss)))


def nested_mixtures(ranges: Sequence[Bins]) -> Iterator[Mixture]:
    """Make the mixture for fit ranges of which each holds the next but for its first bin.

    Args:
        ranges: the bins, as `LogSums.bins` gives them, the longest range first.

    Returns:
        The mixtures, in order.
    """
    for bins, whitened in zip(ranges, nested_whitenings(ranges), strict=True):
        yield Mixture(bins, whitened)


def _tops(log_w: Array, freedom: int) -> Array:
    """Estimate the largest log w of each cell, between points of s too, from the parabola through the least RSS."""
    best = np.clip(log_w.argmax(axis=1), 1, log_w.shape[1] - 2)
    here = log_w[np.arange(len(log_w)), best]
    rss = np.exp(2 / freedom * (here[:, None] - log_w[np.arange(len(log_w))[:, None], best[:, None] + [-1, 1]]))
    bend = rss.sum(axis=1) - 2
    least = 1 - np.divide((rss[:, 1] - rss[:, 0]) ** 2, 8 * bend, out=np.zeros_like(bend), where=bend > 0)
    return np.maximum(log_w.max(axis=1), here - freedom / 2 * np.log(np.maximum(least, 1e-300)))


def _alpha_atoms(
    log_w: Array, s: Array, q: Array, scale: Array, freedom: int, growing: bool = False
) -> tuple[Array, Array, float]:
    """Return α = 2 s/q at quantiles of q for each (s, cell) that matters: values, masses, and P(q ≤ 0).

    Where `log_w` is conditioned on growth, so are the quantiles.
    """
    cells, points = np.nonzero(log_w > log_w.max() - _SUPPORT)
    weight = np.exp(log_w[cells, points] - log_w.max())
    edge = special.ndtr(np.linspace(-4, 4, _NODES + 1))
    middle = (edge[1:] + edge[:-1]) / 2
    node = special.stdtrit(freedom, middle)
    if growing:
        above = special.stdtr(freedom, (q / scale)[cells, points, None])
        node = -special.stdtrit(freedom, above * (1 - middle))
    # Each node stands at its own place between two grid points of s, lest α come in steps.
    shift = (0.618034 * np.arange(_NODES)) % 1
    shift -= shift @ np.diff(edge) / np.sum(np.diff(edge))
    drift = np.gradient(q, axis=1)[cells, points, None] * shift
    mass = np.outer(weight, np.diff(edge))
    mass /= mass.sum()
    values = q[cells, points, None] + drift + scale[cells, points, None] * node
    bend = s[points, None] + (s[1] - s[0]) * shift
    grows = values > 0
    if not grows.all():
        bend, values, mass = bend[grows], values[grows], mass[grows]
    held = float(mass.sum())
    return (2 * bend / values).ravel(), mass.ravel() / max(held, 1e-300), 1 - held
