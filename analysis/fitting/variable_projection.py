"""Least squares in the nested family by variable projection, for many curves at once.

For given s the model is linear in (a, q), so that only s is searched (Golub & Pereyra 1973): first on a grid
shared by all curves, one matrix product; then by Gauss-Newton inside the best grid cell, bisecting where a
step would leave it.
"""

from dataclasses import dataclass

import numpy as np

from analysis.errors import GrowthError
from analysis.fitting.laws import Array, growth, growth_and_slope, s_range
from analysis.fitting.noise_models import Whitener, whitener

# Wider than the single run's prior (0.6), so that seeds' estimates do not pile up at the end of the range.
FASTEST = 0.95
_INSIDE = 0.999  # the ends of the range are singular
_GRID = 64


@dataclass(frozen=True)
class Projection:
    """Least-squares estimates, of one or more curves.

    Attributes:
        s: (curve,) the family's bend at the middle of the fit range (`laws`).
        q: (curve,) its local exponent there.
        a: (curve,) its log d there.
        alpha: (curve,) 2 s / q, NaN where q ≤ 0.
        rss: (curve,) sum of squared whitened residuals.
        at_bound: (curve,) whether s stopped at an end of its range.
    """

    s: Array
    q: Array
    a: Array
    alpha: Array
    rss: Array
    at_bound: Array


def centred(u: Array) -> Array:
    """Compute x = u − u_m, u_m = (u_first + u_last) / 2.

    Args:
        u: (bin,) log t.

    Returns:
        (bin,) x.
    """
    return u - (u[0] + u[-1]) / 2


def variable_projection(u: Array, z: Array, noise: str | Whitener = "brownian") -> Projection:
    """Fit z = a + q g_s(u − u_m) to each row of z; a is the value that makes the residuals' mean zero.

    Args:
        u: (bin,) log t, increasing.
        z: (curve, bin) log d.
        noise: "brownian" in u, "independent", or what makes it white.

    Returns:
        The estimates. A curve that does not grow comes back with q ≤ 0 and α NaN.

    Raises:
        AnalysisError: for an unknown noise.
    """
    z = np.atleast_2d(z)
    x, whiten = centred(u), whitener(noise, u)
    y = whiten(z)
    low, high = s_range(x, FASTEST)
    grid = np.linspace(_INSIDE * low, _INSIDE * high, _GRID)
    design = whiten(growth(grid[:, None], x))
    score = y @ (design / np.linalg.norm(design, axis=1, keepdims=True)).T
    best = np.clip(np.argmax(score, axis=1), 1, _GRID - 2)  # of the signed score: growth is asked for, not decay
    s = _polish(y, x, whiten, grid[best - 1], _vertex(grid, score, best), grid[best + 1])
    design = whiten(growth(s[:, None], x))
    q = np.vecdot(y, design) / np.vecdot(design, design)
    residual = y - q[:, None] * design
    a = np.mean(z - q[:, None] * growth(s[:, None], x), axis=1)
    alpha = np.divide(2 * s, q, out=np.full_like(s, np.nan), where=q > 0)
    step = 1e-6 * (grid[1] - grid[0])
    at_bound = (s < grid[0] + step) | (s > grid[-1] - step)
    return Projection(s, q, a, alpha, np.vecdot(residual, residual), at_bound)


def _vertex(grid: Array, score: Array, best: Array) -> Array:
    """Find the top of the parabola through the scores at three neighbouring grid points, kept between them."""
    before, here, after = (score[np.arange(len(best)), best + k] for k in (-1, 0, 1))
    bend = 2 * here - before - after
    shift = np.divide(after - before, 2 * bend, out=np.zeros_like(bend), where=bend > 0)
    return grid[best] + np.clip(shift, -1, 1) * (grid[1] - grid[0])


def _polish(y: Array, x: Array, whiten: Whitener, low: Array, s: Array, high: Array) -> Array:
    """Minimise the projected sum of squares in s inside [low, high], one bracket per curve.

    Gauss-Newton steps, or bisection where one leaves the bracket.
    """
    tolerance = 1e-7 * float(np.max(high - low, initial=0.0))  # of a step that contracts: ~1e-10 in s
    active = np.arange(len(s))
    for _ in range(60):
        here, given = s[active], y[active]
        design, slope = whiten(growth_and_slope(here[:, None], x))
        square, across = np.vecdot(design, design), np.vecdot(design, slope)
        q = np.vecdot(given, design) / square
        downhill = q * (np.vecdot(given, slope) - q * across)  # −½ d rss / d s
        curvature = q**2 * (np.vecdot(slope, slope) - across**2 / square)
        low[active] = np.where(downhill > 0, here, low[active])
        high[active] = np.where(downhill > 0, high[active], here)
        step = np.divide(downhill, curvature, out=np.zeros_like(downhill), where=curvature > 0)
        inside = (here + step >= low[active]) & (here + step <= high[active])
        s[active] = np.where(inside, here + step, (low[active] + high[active]) / 2)
        active = active[np.abs(s[active] - here) > tolerance]
        if not len(active):
            break
    return s


def fixed_alpha(u: Array, z: Array, alpha: float, noise: str | Whitener = "brownian") -> Projection:
    """Fit one curve with α fixed: s = α q / 2, searched over q > 0, of which d (q g_s)/dq = x / (1 + s x).

    Args:
        u: (bin,) log t, increasing.
        z: (bin,) log d.
        alpha: α.
        noise: "brownian" in u, "independent", or what makes it white.

    Returns:
        The estimates; its arrays have one entry.

    Raises:
        GrowthError: where the curve does not grow.
        AnalysisError: for an unknown noise.
    """
    x, whiten = centred(u), whitener(noise, u)
    y, straight = whiten(z), whiten(x)
    slope = float(y @ straight / (straight @ straight))
    if not slope > 0:
        raise GrowthError(f"distances do not grow (slope {slope:.3g} in log-log); choose another fit range")
    ends = s_range(x, FASTEST)
    low, end = 0.0, 10 * slope
    if alpha:
        end = min(end, _INSIDE * 2 * ends[alpha > 0] / alpha)
    high, q = end, min(slope, end / 2) if alpha else slope
    for _ in range(60 if alpha else 0):  # Gauss-Newton, or bisection where a step leaves the bracket
        before, residual = q, y - q * whiten(growth(alpha * q / 2, x))
        steep = whiten(x / (1 + alpha * q / 2 * x))
        downhill = float(residual @ steep)
        low, high = (q, high) if downhill > 0 else (low, q)
        q += downhill / float(steep @ steep)
        q = q if low <= q <= high else (low + high) / 2
        if abs(q - before) <= 1e-10 * end:
            break
    s = alpha * q / 2
    law = q * growth(s, x)
    rss = float(np.sum((y - whiten(law)) ** 2))
    at_bound = bool(alpha) and q > end * (1 - 1e-6)
    return Projection(*(np.array([v]) for v in (s, q, float(np.mean(z - law)), float(alpha), rss, at_bound)))
