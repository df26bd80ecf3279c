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
from scipy import special

from analysis.fitting.bend_interpolation import interpolation, products
from analysis.fitting.cell_whitening import Whitening, nested_whitenings, whitening
from analysis.fitting.goodness_of_fit import deviations, single_p
from analysis.fitting.laws import Array, growth, s_range
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_models import step_variance
from analysis.fitting.variable_projection import centred

PROBABILITIES = np.linspace(0.0025, 0.9975, 200)
_SEARCH = 65  # points of s while the support is searched for
_FINE = 129  # over the support; the narrowest noise model must find a few of them, though the widest sets the support
_SUPPORT = 12.0  # nats below the peak at which a grid point stops mattering (e^-12 = 6e-6)
_GROWING = 0.01  # the posterior probability of growth below which the weights are conditioned on it
_ROUGH = 8  # digits of g_s while the support is searched for
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
        """
        return self.quantile((1 - confidence_level) / 2), self.quantile((1 + confidence_level) / 2)


class Mixture:
    """The noise mixture on one set of bins: everything that does not depend on the curve.

    Args:
        u: (bin,) mean log t.
        points: (bin,) recorded values in the bin.
        steps: (bin,) updates that the bin covers.
        whitened: the noise models' whitening on these bins, if it is at hand.
    """

    def __init__(self, u: Array, points: Array, steps: Array, whitened: Whitening | None = None) -> None:
        self.x = centred(u)
        whitened = whitened or whitening(u, step_variance(points, steps))
        self.rows = whitened.rows
        one = self.rows.sum(axis=2)
        weight = np.sum(one**2, axis=1)
        self.constant = one / np.sqrt(weight)[:, None]
        self.log_prior = -0.5 * (whitened.log_det + np.log(weight))

    def white(self, curves: Array) -> Array:
        """Whiten curves, and project the whitened constant off: Q f with QᵀQ = P.

        Args:
            curves: (curve, bin) values f.

        Returns:
            (cell, bin, curve), bins backwards.
        """
        found = self.rows @ np.ascontiguousarray(curves[:, ::-1].T)
        found -= self.constant[:, :, None] * (self.constant[:, None] @ found)
        return found

    def white_under(self, cell: int, curves: Array) -> Array:
        """Do what `white` does under one noise model.

        Args:
            cell: its index in `noise_models.CELLS`.
            curves: (curve, bin) values.

        Returns:
            (curve, bin), bins backwards.
        """
        found = curves[:, ::-1] @ self.rows[cell].T
        return found - np.outer(found @ self.constant[cell], self.constant[cell])

    def weigh(self, z: Array, s: Array, growing: bool = False, digits: int = 15) -> tuple[Array, Array, Array]:
        """Weigh bends and noise models by one curve.

        Args:
            z: (bin,) log d.
            s: (s,) the bends to weigh, in order.
            growing: weigh them by P(q > 0) as well.
            digits: of g_s, where it is interpolated between bends.

        Returns:
            log w, q̂ and the scale of q, each (cell, s).
        """
        freedom = len(z) - 2
        few, spread = interpolation(s, self.x, digits)
        middle = len(s) // 2
        near = growth(s[middle], self.x)  # q̂ and residual are counted from this bend's, lest large squares cancel
        slope = _slope(near, z)
        white = self.white(np.vstack([z - slope * near, near, few]))
        gram = white.transpose(0, 2, 1) @ white
        to_left, to_near, apart = products(gram, spread - spread[middle])
        gpg = gram[:, 1, 1, None] + 2 * to_near + apart
        mixed = gram[:, 0, 1, None] + to_left - slope * (to_near + apart)
        misfit = gram[:, 0, 0, None] - 2 * slope * to_left + slope**2 * apart
        off = mixed / gpg
        rss = np.maximum(misfit - off * mixed, 0) + 1e-30
        q = slope + off
        log_w = self.log_prior[:, None] - 0.5 * np.log(gpg) - 0.5 * freedom * np.log(rss)
        scale = np.sqrt(rss / (freedom * gpg))
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
        s, log_w, q, scale = self._over_support(z)
        alpha, mass, shrinking = _alpha_atoms(log_w, s, q, scale, len(z) - 2)
        if shrinking > 1 - _GROWING:
            s, log_w, q, scale = self._over_support(z, growing=True)
            alpha, mass, _ = _alpha_atoms(log_w, s, q, scale, len(z) - 2, growing=True)
        cell, mode = np.unravel_index(int(np.argmax(log_w)), log_w.shape)
        order = np.argsort(alpha)
        cumulative = np.cumsum(mass[order]) - 0.5 * mass[order]
        table = (
            np.interp(PROBABILITIES, cumulative, alpha[order]) if len(order) else np.full(len(PROBABILITIES), np.nan)
        )
        return Posterior(table, PROBABILITIES, shrinking, int(cell), float(s[mode]))

    def _over_support(self, z: Array, growing: bool = False) -> tuple[Array, Array, Array, Array]:
        """Return s over its support, and `weigh` there."""
        s = np.linspace(*self.support(z, growing), _FINE)
        return s, *self.weigh(z, s, growing)

    def support(self, z: Array, growing: bool = False) -> tuple[float, float]:
        """Find the range of s outside of which no noise model's weight matters, narrowing it step by step.

        Args:
            z: (bin,) one curve's log d.
            growing: as for `weigh`.

        Returns:
            The range's ends.
        """
        low, high = (0.999 * end for end in s_range(self.x))
        for _ in range(12):
            s = np.linspace(low, high, _SEARCH)
            peak = self.weigh(z, s, growing, _ROUGH)[0].max(axis=0)
            held = np.flatnonzero(peak > peak.max() - _SUPPORT)
            low, high = s[max(held[0] - 1, 0)], s[min(held[-1] + 1, _SEARCH - 1)]
            if len(held) > _SEARCH / 4:
                break
        return float(low), float(high)

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
        white = self.white(np.vstack([z, tangent]))
        y, design = white[:, :, 0], white[:, :, 1:]
        square = design.transpose(0, 2, 1) @ design
        score = np.einsum("cnk,cn->ck", design, y)
        fitted = np.einsum("ck,ck->c", score, np.linalg.solve(square, score[:, :, None])[:, :, 0])
        rss = np.maximum(np.sum(y**2, axis=1) - fitted, 0) + 1e-30
        freedom = len(z) - 1 - len(tangent)
        return int(np.argmax(self.log_prior - 0.5 * np.linalg.slogdet(square)[1] - 0.5 * freedom * np.log(rss)))


def nested_mixtures(ranges: Sequence[Bins]) -> Iterator[Mixture]:
    """Make the mixture for fit ranges of which each holds the next but for its first bin.

    Args:
        ranges: the bins, as `LogSums.bins` gives them, the longest range first.

    Returns:
        The mixtures, in order.
    """
    for bins, whitened in zip(ranges, nested_whitenings(ranges), strict=True):
        yield Mixture(bins.u, bins.points, bins.steps, whitened)


def _slope(g: Array, z: Array) -> float:
    g = g - g.mean()
    return float(z @ g / (g @ g))


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
    grows = values > 0
    alpha = 2 * (s[points, None] + (s[1] - s[0]) * shift)[grows] / values[grows]
    held = float(mass[grows].sum())
    return alpha, mass[grows] / max(held, 1e-300), 1 - held
