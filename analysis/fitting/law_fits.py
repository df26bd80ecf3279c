"""One law's least squares on one set of bins: its parameters, its BIC, its p-value, and how well it predicts.

Every law is log d = a + h(u; θ) + noise, u = log t. Whitened (`noise_models.whitener`), a drops out. With n seeds of
K whitened values each, and RSS their sum of squares about the law's best θ,

    BIC = nK log(RSS / nK) + k log nK,     k: parameters in θ.
"""

import math

import numpy as np
from scipy.optimize import least_squares

from analysis.fitting.comparison_result import TRAINED_SHARE, FittedLaw
from analysis.fitting.effect_size import effect_size
from analysis.fitting.law_test import p_value
from analysis.fitting.laws import Array, Branch, Law
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.noise_models import whitener


def fit_law(law: Law, bins: Bins, noise: str, mixture: Mixture | None = None) -> FittedLaw:
    """Fit one law.

    Args:
        law: the law.
        bins: one curve, or one per seed.
        noise: "brownian" in log t, or "independent".
        mixture: the noise mixture on these bins, if it is at hand; it serves the p-value of fewer than three curves.

    Returns:
        The fit.

    Raises:
        AnalysisError: for an unknown noise.
    """
    u, mean, n = bins.u, bins.z.mean(axis=0), len(bins.z)
    branch, whiten = law.on(u), whitener(noise, u)
    theta, residual = _least_squares(branch, u, mean, noise)
    shape = branch.shape(u, theta)
    curve = shape + float(np.mean(mean - shape))
    spread = whiten(bins.z - mean)
    count = n * (len(u) - 1)
    rss = n * float(residual @ residual) + float(np.sum(spread**2)) + 1e-30
    return FittedLaw(
        law=law,
        parameters=branch.report(theta),
        at_bound=_at_bound(branch, theta),
        bic=count * math.log(rss / count) + len(theta) * math.log(count),
        p_value=p_value(bins, shape, _tangent(branch, u, theta), mixture),
        size=effect_size(bins.z, curve),
        holdout=_holdout(law, u, mean, noise),
        curve=curve,
    )


def _least_squares(branch: Branch, u: Array, mean: Array, noise: str) -> tuple[Array, Array]:
    """Find the θ that brings the law closest to the mean, by grid and trust region, and the whitened residual."""
    whiten = whitener(noise, u)
    y = whiten(mean)
    if not branch.axes:
        theta = np.empty(0)
        return theta, y - whiten(branch.shape(u, theta))
    grid = np.stack(np.meshgrid(*branch.axes, indexing="ij"), axis=-1).reshape(-1, len(branch.axes))
    distance = np.sum((y - whiten(branch.shape(u, grid))) ** 2, axis=1)
    start = grid[np.argmin(distance)]
    low, high = (np.array([axis[end] for axis in branch.axes]) for end in (0, -1))
    inside = np.clip(start, low + 1e-9 * (high - low), high - 1e-9 * (high - low))
    found = least_squares(
        lambda theta: y - whiten(branch.shape(u, theta)),
        inside,
        bounds=(low, high),
        x_scale=high - low,
        xtol=1e-10,
    )
    return found.x, found.fun


def _at_bound(branch: Branch, theta: Array) -> bool:
    for value, axis in zip(theta, branch.axes, strict=True):
        if min(value - axis[0], axis[-1] - value) < 1e-3 * (axis[-1] - axis[0]):
            return True
    return False


def _tangent(branch: Branch, u: Array, theta: Array) -> Array:
    """Return the derivatives of the law's log d by its parameters, (parameter, bin)."""
    steps = 1e-6 * np.maximum(1.0, np.abs(theta))
    pairs = [(branch.shape(u, theta + nudge), branch.shape(u, theta - nudge)) for nudge in np.diag(steps)]
    slopes = [(after - before) / (2 * step) for (after, before), step in zip(pairs, steps, strict=True)]
    return np.reshape(slopes, (len(theta), len(u)))


def _holdout(law: Law, u: Array, mean: Array, noise: str) -> float:
    """Predict the last third in log t from the last value before it (Brownian noise): the root mean square error."""
    seen = int(np.searchsorted(u, u[0] + TRAINED_SHARE * (u[-1] - u[0]), side="right"))
    branch = law.on(u[:seen])
    theta, _ = _least_squares(branch, u[:seen], mean[:seen], noise)
    with np.errstate(invalid="ignore", divide="ignore"):
        shape = branch.shape(u, theta)
    error = (mean - shape)[seen:] - (mean - shape)[seen - 1]
    return float(np.sqrt(np.mean(error**2))) if np.isfinite(error).all() else math.inf
