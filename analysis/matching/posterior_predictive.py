"""The posterior predictive of a curve: what its law says of the updates after its end.

The law z = a + q g_s(u − u_m) of `laws`, with z = log d and u = log t, has (s, q) drawn from the posterior of
`posterior.Mixture`. Each draw's residual increments over the n log bins give the variance of its noise,

    σ² ~ Σ (Δz − q Δg_s)²/(v Δu) / χ²_(n−2),

v = (2m² + 1)/(3m²) being what is left of a Brownian increment's variance between means of m points. From the
log-distance reached now the draw goes on as q g_s plus a Brownian path of variance σ² for each e-fold of t.
"""

from dataclasses import replace
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from analysis.curve import Curve
from analysis.fitting.fit import fit
from analysis.fitting.laws import Array, growth, s_range
from analysis.fitting.log_bins import binned, constant_phase
from analysis.fitting.noise_mixture import Mixture
from analysis.matching.running_estimate import RunningLogDistance

_LAWS = 129  # values of s over what the curve supports
_INSIDE = 0.999  # the ends of the range of s are singular
_MIDDLE_AND_STD = (0.1587, 0.5, 0.8413)  # a normal variable's mean and one standard deviation either side


class Point(NamedTuple):
    """log d = z at u = log t."""

    u: float
    z: float


class Draws(NamedTuple):
    """The posterior's draws, each (sample,)."""

    s: Array
    q: Array
    sigma: Array
    middle: float  # u_m


def seen_up_to(curve: Curve, until: float | None) -> Curve:
    """Return the curve up to its first learning-rate drop.

    Args:
        curve: the distances.
        until: the last t to keep, if it comes earlier.
    """
    _, end = constant_phase([curve], None, None)
    seen = curve.t <= min(end, np.inf if until is None else until)
    return replace(curve, t=curve.t[seen], d=curve.d[seen])


def log_distance_now(curve: Curve) -> Point:
    """Return the running log-distance at the curve's end, or its last value where no window is full.

    Args:
        curve: the distances.
    """
    running, estimate = RunningLogDistance(), None
    recent = curve.t >= curve.t[-1] / 2
    for t, z in zip(curve.t[recent].astype(int).tolist(), np.log(curve.d[recent]).tolist(), strict=True):
        estimate = running.add(t, z) or estimate
    return Point(log(curve.t[-1]), float(np.log(curve.d[-1])) if estimate is None else estimate.z)


def posterior(curve: Curve, start: float, samples: int, rng: np.random.Generator) -> Draws:
    """Draw (s, q, σ) from the posterior of a curve's law.

    Args:
        curve: the distances.
        start: first t that the law is fitted to.
        samples: number of draws.
        rng: source of randomness.

    Returns:
        The draws.

    Raises:
        ShortCurveError: if the curve holds too few log bins.
    """
    bins = binned([curve], start)
    z, freedom = bins.z[0], len(bins.u) - 2
    mixture = Mixture(bins)
    grid = np.linspace(*mixture.support(z), _LAWS)
    log_w, mode, scale = mixture.weigh(z, grid)
    weight = np.exp(log_w - log_w.max()).ravel()
    cell, k = np.unravel_index(rng.choice(weight.size, samples, p=weight / weight.sum()), log_w.shape)
    s = grid[k] + (grid[1] - grid[0]) * rng.uniform(-0.5, 0.5, samples)
    low, high = s_range(mixture.x, 1.0)
    s = np.clip(s, _INSIDE * low, _INSIDE * high)  # the law has no value beyond
    q = mode[cell, k] + scale[cell, k] * rng.standard_t(freedom, samples)
    m = np.minimum(bins.points[1:], bins.points[:-1])
    variance = np.diff(bins.u) * (2 * m**2 + 1) / (3 * m**2)
    residual = np.diff(z) - q[:, None] * np.diff(growth(s[:, None], mixture.x))
    sigma = np.sqrt(np.sum(residual**2 / variance, axis=1) / rng.chisquare(freedom, samples))
    return Draws(s, q, sigma, float(bins.u[0] - mixture.x[0]))


def before_blow_up(s: Array) -> Array:
    """Return the x at which 1 + s x is nearly 0: for s < 0 the law is infinite there.

    Args:
        s: (sample,) the laws' parameter.
    """
    return np.where(s < 0, (1 - 1e-9) / np.maximum(-s, 1e-300), np.inf)


def distance_ahead(curve: Curve, step: float, *, samples: int = 4000, seed: int = 0) -> tuple[float, float]:
    """Predict log d at an update after the curve's end, if the curve's law holds until there.

    Args:
        curve: the distances.
        step: the t to predict.
        samples: number of draws.
        seed: fixes them.

    Returns:
        The median of the draws, and as standard error half the width of their central 68 %; it is infinite where
        the law may be.

    Raises:
        AnalysisError: as `fit`.
    """
    rng = np.random.default_rng(seed)
    draws, now = posterior(curve, fit(curve).fit_range[0], samples, rng), log_distance_now(curve)
    x = np.minimum(np.array([[now.u, log(step)]]) - draws.middle, before_blow_up(draws.s)[:, None])
    drift = draws.q * np.diff(growth(draws.s[:, None], x), axis=1)[:, 0]
    noise = draws.sigma * sqrt(log(step) - now.u) * rng.standard_normal(samples)
    low, middle, high = np.quantile(now.z + drift + noise, _MIDDLE_AND_STD).tolist()
    return middle, (high - low) / 2
