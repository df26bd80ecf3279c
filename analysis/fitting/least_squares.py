"""Least squares of a law in many curves at once: the best point of a grid, then damped Gauss-Newton.

The grid is one matrix product, ‖y − g‖² = ‖y‖² − 2 y·g + ‖g‖². Steps are those of Levenberg and Marquardt with the
diagonal as scale; a parameter at a bound stays there while the gradient pushes it out. A step to where the law has no
value (NaN) is refused as one that makes the fit worse.
"""

import numpy as np

from analysis.fitting.laws import Array, Branch
from analysis.fitting.noise_models import Whitener

_STEP = 1e-6  # of the central differences, in parameters of order one
_ROUNDS = 100
_CONVERGED = 1e-11  # of the range of each parameter
_FLAT = 1e-13
_STUCK = 1e8  # a damping at which steps are rounding


def least_squares(branch: Branch, u: Array, z: Array, whiten: Whitener) -> tuple[Array, Array]:
    """Find for each curve the θ that brings a law closest to it.

    Args:
        branch: the law on the fit range.
        u: (bin,) log t.
        z: (curve, bin) log d.
        whiten: what makes the noise white.

    Returns:
        θ (curve, parameter), and the sum of squared whitened residuals (curve,).
    """
    y = whiten(z)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        theta = _from_grid(branch, u, y, whiten)
        return _polish(branch, u, y, whiten, theta)


def _from_grid(branch: Branch, u: Array, y: Array, whiten: Whitener) -> Array:
    if not branch.axes:
        return np.empty((len(y), 0))
    grid = np.stack(np.meshgrid(*branch.axes, indexing="ij"), axis=-1).reshape(-1, len(branch.axes))
    design = whiten(branch.shape(u, grid))
    square = np.einsum("gj,gj->g", design, design)
    possible = np.isfinite(square)
    distance = square[possible] - 2 * y @ design[possible].T
    return grid[possible][np.argmin(distance, axis=1)]


def _polish(branch: Branch, u: Array, y: Array, whiten: Whitener, theta: Array) -> tuple[Array, Array]:
    low, high = branch.bounds.T
    theta = np.clip(theta, low, high)
    white = whiten(_value_and_slopes(branch, u, theta))
    residual, design = y - white[:, 0], white[:, 1:]
    rss, damping = np.sum(residual**2, axis=1), np.full(len(y), 1e-3)
    active = np.arange(len(y)) if len(low) else np.arange(0)
    for _ in range(_ROUNDS):
        if not len(active):
            break
        here = theta[active]
        new = here + _damped_step(design[active], residual[active], damping[active], here, low, high)
        new = np.clip(new, low, high)
        white = whiten(_value_and_slopes(branch, u, new))
        new_residual = y[active] - white[:, 0]
        new_rss = np.sum(new_residual**2, axis=1)
        flat = np.abs(new_rss - rss[active]) <= _FLAT * rss[active]  # the step is then more exact than its gain
        better = flat | (new_rss < rss[active])
        kept = active[better]
        theta[kept], residual[kept], rss[kept] = new[better], new_residual[better], new_rss[better]
        design[kept] = white[better, 1:]
        damping[active] *= np.where(better, 0.1, 10.0)
        moved = np.max(np.abs(new - here) / (high - low), axis=1)
        active = active[(moved > _CONVERGED) & ~flat & (damping[active] < _STUCK)]
    return theta, rss


def slopes(branch: Branch, u: Array, theta: Array) -> Array:
    """Compute the derivatives of a law's log d by its parameters, by central differences.

    Args:
        branch: the law on the fit range.
        u: (bin,) log t.
        theta: (curve, parameter) where.

    Returns:
        (curve, parameter, bin); 0 where the law has no value beside θ.
    """
    return _value_and_slopes(branch, u, theta)[:, 1:]


def _value_and_slopes(branch: Branch, u: Array, theta: Array) -> Array:
    """Compute a law's log d and its `slopes`, (curve, 1 + parameter, bin)."""
    count = theta.shape[1]
    steps = _STEP * np.maximum(1.0, np.abs(theta))
    beside = np.repeat(theta[:, None], 1 + 2 * count, axis=1)
    each = np.arange(count)
    beside[:, 1 + each, each] += steps
    beside[:, 1 + count + each, each] -= steps
    found = branch.shape(u, beside)
    rise = (found[:, 1 : 1 + count] - found[:, 1 + count :]) / (2 * steps[:, :, None])
    rise[~np.isfinite(rise)] = 0.0
    return np.concatenate([found[:, :1], rise], axis=1)


def _damped_step(design: Array, residual: Array, damping: Array, theta: Array, low: Array, high: Array) -> Array:
    """Solve (JᵀJ + λ diag JᵀJ) δ = Jᵀr for each curve, without the parameters that are held at a bound."""
    downhill = np.matmul(design, residual[:, :, None])[:, :, 0]
    held = ((theta <= low) & (downhill < 0)) | ((theta >= high) & (downhill > 0))
    square = np.matmul(design, design.transpose(0, 2, 1))
    square[held[:, :, None] | held[:, None, :]] = 0.0
    diagonal = np.einsum("mkk->mk", square)
    largest = diagonal.max(axis=1, keepdims=True)
    diagonal += damping[:, None] * diagonal + np.where(largest > 0, 1e-15 * largest, 1.0)
    diagonal[held] = 1.0
    return np.linalg.solve(square, np.where(held, 0.0, downhill)[:, :, None])[:, :, 0]
