"""What a curve's law says of the updates after its end: draws from the posterior, and the distance ahead.

The law z = a + q g_s(u − u_m) of `laws`, with z = log d and u = log t, has (s, q) drawn from the posterior of
`posterior.Mixture`. Each draw's residual increments over the n log bins give the variance of its noise,

    σ² ~ Σ (Δz − q Δg_s)²/(v Δu) / χ²_(n−2),

v = (2m² + 1)/(3m²) being what is left of a Brownian increment's variance between means of m points. From the
level reached now the draw goes on as q g_s plus a Brownian path of variance σ² an e-fold of t.
"""

from dataclasses import replace
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from analysis.curve import Curve
from analysis.fitting.fit import fit
from analysis.fitting.laws import Array, growth
from analysis.fitting.log_bins import binned, constant_phase
from analysis.fitting.noise_mixture import Mixture
from analysis.matching.running_estimate import LevelWindow

_LAWS = 129  # values of s over what the curve supports
_MIDDLE_AND_SD = (0.1587, 0.5, 0.8413)  # a normal variable's mean and one standard deviation either side


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
    """The curve up to `until` and to its first learning-rate drop."""
    _, end = constant_phase([curve], None, None)
    kept = curve.t <= min(end, np.inf if until is None else until)
    return replace(curve, t=curve.t[kept], d=curve.d[kept])


def level_now(curve: Curve) -> Point:
    """The level at the curve's end: the newest line through a full window, or the last value."""
    window, level = LevelWindow(), None
    recent = curve.t >= curve.t[-1] / 2
    for t, z in zip(curve.t[recent].astype(int).tolist(), np.log(curve.d[recent]).tolist(), strict=True):
        level = window.add(t, z) or level
    return Point(log(curve.t[-1]), float(np.log(curve.d[-1])) if level is None else level.z)


def posterior(curve: Curve, start: float, samples: int, rng: np.random.Generator) -> Draws:
    """Draws of (s, q, σ) from the log bins of a curve."""
    bins = binned([curve], start)
    z, freedom = bins.z[0], len(bins.u) - 2
    mixture = Mixture(bins.u, bins.points, bins.steps)
    grid = np.linspace(*mixture.support(z), _LAWS)
    log_w, mode, scale = mixture.weigh(z, grid)
    weight = np.exp(log_w - log_w.max()).ravel()
    cell, k = np.unravel_index(rng.choice(weight.size, samples, p=weight / weight.sum()), log_w.shape)
    s = grid[k] + (grid[1] - grid[0]) * rng.uniform(-0.5, 0.5, samples)
    q = mode[cell, k] + scale[cell, k] * rng.standard_t(freedom, samples)
    m = np.minimum(bins.points[1:], bins.points[:-1])
    variance = np.diff(bins.u) * (2 * m**2 + 1) / (3 * m**2)
    residual = np.diff(z) - q[:, None] * np.diff(growth(s[:, None], mixture.x))
    sigma = np.sqrt(np.sum(residual**2 / variance, axis=1) / rng.chisquare(freedom, samples))
    return Draws(s, q, sigma, float(bins.u[0] - mixture.x[0]))


def before_blow_up(s: Array) -> Array:
    """The x at which 1 + s x is nearly 0: for s < 0 the law is infinite there."""
    return np.where(s < 0, (1 - 1e-9) / np.maximum(-s, 1e-300), np.inf)


def distance_ahead(curve: Curve, step: float, *, samples: int = 4000, seed: int = 0) -> tuple[float, float]:
    """log d at an update after the curve's end, and its standard error, if the curve's law goes on until there.

    Median and half the central 68 % of the draws; the error is infinite where the law may be. Raises as `fit`.
    """
    rng = np.random.default_rng(seed)
    draws, now = posterior(curve, fit(curve).fit_range[0], samples, rng), level_now(curve)
    x = np.minimum(np.array([[now.u, log(step)]]) - draws.middle, before_blow_up(draws.s)[:, None])
    drift = draws.q * np.diff(growth(draws.s[:, None], x), axis=1)[:, 0]
    noise = draws.sigma * sqrt(log(step) - now.u) * rng.standard_normal(samples)
    low, middle, high = np.quantile(now.z + drift + noise, _MIDDLE_AND_SD).tolist()
    return middle, (high - low) / 2
