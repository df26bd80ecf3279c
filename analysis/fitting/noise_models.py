"""Correlation of log d in log time: what a seed adds to the law.

Seed-to-seed deviations of log d are large and live for e-folds of t, while the noise from step to step is
small and dies within tens of steps. Errors treated as independent make intervals far too narrow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from analysis.errors import AnalysisError
from analysis.fitting.laws import Array

# Correlation time of the step noise, in updates; a bin of n steps holds about n / (2 τ) independent values.
STEP_CORRELATION = 30.0

Whitener = Callable[[Array], Array]


def ornstein_uhlenbeck(lag: Array, length: float | Array) -> Array:
    """Compute K(Δu) = exp(−Δu/ℓ): paths are continuous and nowhere smooth.

    Args:
        lag: Δu ≥ 0, in e-folds of t.
        length: ℓ, in e-folds of t.

    Returns:
        Correlations, of the shape of the lag.
    """
    return np.exp(-lag / length)


def matern(lag: Array, length: float | Array) -> Array:
    """Compute Matérn-3/2, K(Δu) = (1 + √3 Δu/ℓ) exp(−√3 Δu/ℓ): paths are once differentiable.

    Args:
        lag: Δu ≥ 0, in e-folds of t.
        length: ℓ, in e-folds of t.

    Returns:
        Correlations, of the shape of the lag.
    """
    scaled = np.sqrt(3.0) * lag / length
    return (1 + scaled) * np.exp(-scaled)


def uncorrelated(lag: Array, length: float | Array) -> Array:
    """Compute the correlation of independent values, 1 at Δu = 0 and 0 elsewhere.

    Args:
        lag: Δu ≥ 0, in e-folds of t.
        length: does not matter here.

    Returns:
        Correlations, of the shape of the lag.
    """
    return np.broadcast_to(np.where(lag == 0, 1.0, 0.0), np.broadcast_shapes(np.shape(lag), np.shape(length)))


def gaussian(lag: Array, length: float | Array) -> Array:
    """Compute the squared exponential K(Δu) = exp(−(Δu/ℓ)²/2): paths are smooth.

    Args:
        lag: Δu ≥ 0, in e-folds of t.
        length: ℓ, in e-folds of t.

    Returns:
        Correlations, of the shape of the lag.
    """
    return np.exp(-0.5 * (lag / length) ** 2)


KERNELS: dict[str, Callable[[Array, float | Array], Array]] = {
    "OU": ornstein_uhlenbeck,
    "Matérn": matern,
    "Gaussian": gaussian,
    "independent": uncorrelated,
}


def brownian(u: Array) -> Whitener:
    """Return the whitener of Brownian motion in u with a free start: f ↦ Δf/√Δu, from which constants drop out.

    Args:
        u: (bin,) log t.

    Returns:
        A function from (..., bin) to (..., bin − 1).
    """
    root = np.sqrt(np.diff(u))
    return lambda f: (f[..., 1:] - f[..., :-1]) / root  # np.diff, at a third of its overhead


def independent(u: Array) -> Whitener:
    """Return the whitener of independent errors with a free constant: f ↦ f − mean f.

    Args:
        u: (bin,) log t, which does not matter here.

    Returns:
        A function from (..., bin) to the same shape.
    """
    return lambda f: f - f.mean(axis=-1, keepdims=True)


WHITENERS: dict[str, Callable[[Array], Whitener]] = {"brownian": brownian, "independent": independent}


def whitener(noise: str | Whitener, u: Array) -> Whitener:
    """Return a whitener by name.

    Args:
        noise: "brownian" or "independent"; or the whitener itself.
        u: (bin,) log t.

    Returns:
        A function that makes the noise white along the last axis.

    Raises:
        AnalysisError: for an unknown name.
    """
    if callable(noise):
        return noise
    if noise not in WHITENERS:
        raise AnalysisError(f"noise = {noise!r}: expected one of {', '.join(WHITENERS)}")
    return WHITENERS[noise](u)


@dataclass(frozen=True)
class Cell:
    """One noise model of the mixture, R = (1 − ω) e^(b(u + u')) K_ℓ + ω diag(step noise), u about its mean.

    All have equal prior weight.

    Attributes:
        kernel: the name of K in `KERNELS`.
        length: ℓ, in e-folds of t.
        nugget: ω, the share of the step noise.
        trend: b, by which the noise grows or shrinks along u.
    """

    kernel: str
    length: float
    nugget: float
    trend: float = 0.0


LENGTHS = np.geomspace(0.15, 30.0, 8)
SMOOTH_LENGTHS = np.geomspace(0.3, 10.0, 6)  # beyond, a Gaussian path over three decades is a parabola
_OU = ("OU", LENGTHS, (0.0, 0.05, 0.3), 0.0)
_MATERN = ("Matérn", LENGTHS, (0.0, 0.001, 0.01, 0.1), 0.0)
_GAUSSIAN = ("Gaussian", SMOOTH_LENGTHS, (0.0001, 0.01, 0.1), 0.0)
_SHRINKING, _GROWING = (("OU", LENGTHS, (0.0, 0.05), trend) for trend in (-0.4, 0.4))
CELLS = tuple(
    Cell(kernel, float(length), nugget, trend)
    for kernel, lengths, nuggets, trend in (_OU, _MATERN, _GAUSSIAN, _SHRINKING, _GROWING)
    for length in lengths
    for nugget in nuggets
)
"""Those that do not grow or shrink stand first.

Without smooth and trending noise, a run whose noise is such rejects its true law in .4 of cases, not in .05.
"""


def step_variance(points: Array, steps: Array) -> Array:
    """Compute the variance of a bin's mean step noise, in units of one step's.

    When every step is recorded this is min(1, 2τ/n); a sparse recording cannot average better than its number of
    points.

    Args:
        points: (bin,) recorded values in the bin.
        steps: (bin,) updates n that the bin covers.

    Returns:
        (bin,) variances.
    """
    return np.minimum(1.0, np.maximum(1 / points, 2 * STEP_CORRELATION / steps))


def correlations(u: Array, step: Array, cells: Sequence[Cell] = CELLS) -> Array:
    """Compute R of noise models.

    Args:
        u: (bin,) log t, in either order.
        step: (bin,) `step_variance` of the bins.
        cells: the noise models; by default those of the mixture, in their order.

    Returns:
        (cell, bin, bin) correlations.
    """
    _, (_, nugget, trend) = _columns(tuple(cells))
    middle = u - u.mean()
    found = slow_correlations(np.abs(u[:, None] - u), cells)
    trends = np.flatnonzero(trend)
    found[trends] *= np.exp(trend[trends, None, None] * np.add.outer(middle, middle))
    found += nugget[:, None, None] * np.diag(step)
    return found


def slow_correlations(lag: Array, cells: Sequence[Cell]) -> Array:
    """Compute the part of R without step noise, (1 − ω) K_ℓ, of noise that does not grow.

    Args:
        lag: Δu ≥ 0, in e-folds of t, of any shape.
        cells: the noise models.

    Returns:
        (cell, *lag) correlations.
    """
    kernels, (length, nugget, _) = _columns(tuple(cells))
    found = np.empty((len(cells), *lag.shape))
    across = (slice(None), *(None,) * lag.ndim)
    for kernel in set(kernels):
        held = np.flatnonzero(kernels == kernel)
        lengths, which = np.unique(length[held], return_inverse=True)
        found[held] = KERNELS[kernel](lag, lengths[across])[which]
    found *= 1 - nugget[across]
    return found


@cache
def _columns(cells: tuple[Cell, ...]) -> tuple[Array, Array]:
    """Return the cells' kernels (cell,), and their lengths, nuggets and trends (3, cell)."""
    return np.array([c.kernel for c in cells]), np.array([(c.length, c.nugget, c.trend) for c in cells]).T
