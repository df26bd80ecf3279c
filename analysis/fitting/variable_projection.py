"""Least squares in the nested family by variable projection, for many curves at once.

For given s the model is linear in (a, q), so that only s is searched (Golub & Pereyra 1973): first on a grid
shared by all curves, one matrix product; then by Gauss-Newton inside the best grid cell, bisecting where a
step would leave it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.errors import GrowthError
from analysis.fitting.laws import Array, growth, growth_slope, s_range
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
    q, residual, _ = _project(y, x, whiten, s)
    a = np.mean(z - q[:, None] * growth(s[:, None], x), axis=1)
    alpha = np.divide(2 * s, q, out=np.full_like(s, np.nan), where=q > 0)
    step = 1e-6 * (grid[1] - grid[0])
    at_bound = (s < grid[0] + step) | (s > grid[-1] - step)
    return Projection(s, q, a, alpha, np.sum(residual**2, axis=1), at_bound)


def _project(y: Array, x: Array, whiten: Whitener, s: Array) -> tuple[Array, Array, Array]:
    """Return q̂, the whitened residual and the whitened design, for one s per curve."""
    design = whiten(growth(s[:, None], x))
    q = _dot(y, design) / _dot(design, design)
    return q, y - q[:, None] * design, design


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("mk,mk->m", a, b)


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
        here = s[active]
        q, residual, design = _project(y[active], x, whiten, here)
        slope = whiten(growth_slope(here[:, None], x))
        downhill = q * _dot(residual, slope)  # −½ d rss / d s
        curvature = q**2 * (_dot(slope, slope) - _dot(design, slope) ** 2 / _dot(design, design))
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
    """Fit one curve with α fixed: s = α q / 2, searched over q > 0.

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
    low, high = s_range(x, FASTEST)

    def rss(q: Array) -> Array:
        return np.sum((y - q[:, None] * whiten(growth(alpha * q[:, None] / 2, x))) ** 2, axis=1)

    end = 10 * slope
    if alpha:
        end = min(end, _INSIDE * 2 * (high if alpha > 0 else low) / alpha)
    q = np.array([slope if alpha == 0 else _minimum(rss, end)])
    s = alpha * q / 2
    a = np.mean(z - q[:, None] * growth(s[:, None], x), axis=1)
    at_bound = np.array([bool(alpha) and q[0] > end * (1 - 1e-6)])
    return Projection(s, q, a, np.array([float(alpha)]), rss(q), at_bound)


def _minimum(rss: Callable[[Array], Array], end: float) -> float:
    """Return the q in [0, end] of the least rss, to 1e-10 of the range: by grids, each inside the last one's best."""
    low, high = 0.0, end
    while high - low > 1e-10 * end:
        grid = np.linspace(low, high, _GRID)
        best = np.clip(np.argmin(rss(grid)), 1, _GRID - 2)
        low, high = float(grid[best - 1]), float(grid[best + 1])
    return (low + high) / 2
