"""Correlation of log d in log time: what a seed adds to the law.

Seed-to-seed deviations of log d are large and live for e-folds of t, while the noise from step to step is
small and dies within tens of steps. Errors treated as independent make intervals far too narrow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.errors import AnalysisError
from analysis.fitting.laws import Array

# Correlation time of the step noise, in updates; a bin of n steps holds about n / (2 τ) independent values.
STEP_CORRELATION = 30.0

Whitener = Callable[[Array], Array]


def ornstein_uhlenbeck(lag: Array, length: float) -> Array:
    """Compute K(Δu) = exp(−Δu/ℓ): paths are continuous and nowhere smooth.

    Args:
        lag: Δu ≥ 0, in e-folds of t.
        length: ℓ, in e-folds of t.

    Returns:
        Correlations, of the shape of the lag.
    """
    return np.exp(-lag / length)


def matern(lag: Array, length: float) -> Array:
    """Compute Matérn-3/2, K(Δu) = (1 + √3 Δu/ℓ) exp(−√3 Δu/ℓ): paths are once differentiable.

    Args:
        lag: Δu ≥ 0, in e-folds of t.
        length: ℓ, in e-folds of t.

    Returns:
        Correlations, of the shape of the lag.
    """
    scaled = np.sqrt(3.0) * lag / length
    return (1 + scaled) * np.exp(-scaled)


KERNELS: dict[str, Callable[[Array, float], Array]] = {"OU": ornstein_uhlenbeck, "Matérn": matern}


def brownian(u: Array) -> Whitener:
    """Return the whitener of Brownian motion in u with a free start: f ↦ Δf/√Δu, from which constants drop out.

    Args:
        u: (bin,) log t.

    Returns:
        A function from (..., bin) to (..., bin − 1).
    """
    root = np.sqrt(np.diff(u))
    return lambda f: np.diff(f, axis=-1) / root


def independent(u: Array) -> Whitener:
    """Return the whitener of independent errors with a free constant: f ↦ f − mean f.

    Args:
        u: (bin,) log t, which does not matter here.

    Returns:
        A function from (..., bin) to the same shape.
    """
    return lambda f: f - f.mean(axis=-1, keepdims=True)


WHITENERS: dict[str, Callable[[Array], Whitener]] = {"brownian": brownian, "independent": independent}


def whitener(noise: str, u: Array) -> Whitener:
    """Return a whitener by name.

    Args:
        noise: "brownian" or "independent".
        u: (bin,) log t.

    Returns:
        A function that makes the noise white along the last axis.

    Raises:
        AnalysisError: for an unknown name.
    """
    if noise not in WHITENERS:
        raise AnalysisError(f"noise = {noise!r}: expected one of {', '.join(WHITENERS)}")
    return WHITENERS[noise](u)


@dataclass(frozen=True)
class Cell:
    """One noise model of the mixture, R = (1 − ω) K_ℓ + ω diag(step noise); all have equal prior weight.

    Attributes:
        kernel: the name of K in `KERNELS`.
        length: ℓ, in e-folds of t.
        nugget: ω, the share of the step noise.
    """

    kernel: str
    length: float
    nugget: float


LENGTHS = np.geomspace(0.15, 30.0, 8)
NUGGETS = {"OU": (0.0, 0.05, 0.3), "Matérn": (0.0, 0.001, 0.01, 0.1)}
CELLS = tuple(
    Cell(kernel, float(length), nugget)
    for kernel, nuggets in NUGGETS.items()
    for length in LENGTHS
    for nugget in nuggets
)


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


def correlations(u: Array, step: Array) -> Array:
    """Compute R of every cell of the mixture.

    Args:
        u: (bin,) log t.
        step: (bin,) `step_variance` of the bins.

    Returns:
        (cell, bin, bin) correlations, in the order of `CELLS`.
    """
    lag = np.abs(u[:, None] - u)
    kernels = {(name, float(length)): KERNELS[name](lag, float(length)) for name in NUGGETS for length in LENGTHS}
    return np.stack(
        [(1 - cell.nugget) * kernels[cell.kernel, cell.length] + cell.nugget * np.diag(step) for cell in CELLS]
    )
