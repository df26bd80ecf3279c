"""What the study measures of steady curves without fitting a law: local exponents, equilibrium, what noise sets."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from study.curve_files import HIDDEN, Curve, LongCurves
from study.settings import AGES


def at(curves: Sequence[Curve], t: float) -> np.ndarray:
    """The distance of each seed at t, between rows linear in log-log; NaN beyond the curve."""
    return np.array([_within(curve, t) for curve in curves])


def _within(curve: Curve, t: float) -> float:
    times, d = curve
    if not times[0] <= t <= times[-1] * (1 + 1e-9):
        return np.nan
    return float(np.exp(np.interp(np.log(t), np.log(times), np.log(d))))


def local_exponent(curves: Sequence[Curve], t: float, reach: float = 0.5) -> np.ndarray:
    """Each seed's slope d log d/d log t over e-folds of t within `reach`; NaN where the curve ends before."""
    found = []
    for times, d in curves:
        u = np.log(times / t)
        near = np.abs(u) < reach
        whole = u[0] < -reach and u[-1] > reach * 0.99
        found.append(np.polyfit(u[near], np.log(d[near]), 1)[0] if whole else np.nan)
    return np.array(found)


def mean_and_half(values: np.ndarray) -> tuple[float, float]:
    """The mean over seeds and half the width of its 95 % t interval."""
    n = len(values)
    return float(values.mean()), float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))


def rotation(curves: LongCurves) -> np.ndarray:
    """The squared angle of an update over that of theory, by weight matrix, mean over updates past 10 τ and seeds."""
    t, setting = curves.arrays["t"], curves.setting
    spans = np.diff(t, prepend=0)
    late = t > 10 * setting.memory
    angles = np.average(curves.arrays["rotation"][:, late].astype(float), axis=1, weights=spans[late])
    return angles.mean(axis=0) / setting.rotation


def confinement(curves: LongCurves, t: float) -> float:
    """R, the squared distance after t over that of uncorrelated gradients: d² / ((1 + μ)/(1 − μ) · Σ‖Δw‖²).

    1 for a random walk, above it for drift, below it where weights are pushed back. At equal age, mean over seeds.
    """
    times = curves.arrays["t"]
    late = times > 10 * curves.setting.memory
    spans = np.diff(times, prepend=0)[late]
    update = np.average(curves.arrays["update"][:, late].astype(float).sum(axis=2), axis=1, weights=spans)
    mu = curves.setting.momentum
    free = (1 + mu) / (1 - mu) * update * t
    return float(np.mean(at(curves.averaged(AGES), t) ** 2 / free))


def norm(curves: LongCurves) -> float:
    """‖w‖ of the hidden layers' weights, mean over the rows past 10 τ and the seeds."""
    late = curves.arrays["t"] > 10 * curves.setting.memory
    squares = curves.arrays["norm"][:, 0, late, :HIDDEN].astype(float).sum(axis=2)
    return float(np.sqrt(np.nanmean(squares)))


def overlap(curves: Sequence[Curve], t: float) -> float:
    """The mean cosine of the hidden layers' weights with themselves t updates before, from their directions."""
    return float(1 - np.mean(at(curves, t) ** 2) / (2 * HIDDEN))


def powers(predictors: Sequence[Sequence[float]], y: Sequence[float]) -> list[tuple[float, float]]:
    """The power of each predictor in y = constant · Π x_k^(a_k), by least squares of logarithms, and two errors.

    predictors: (K, n), such as noise and memory time of n settings. y: (n,).
    """
    z, x = np.log(np.asarray(y)), np.log(np.asarray(predictors, float))
    design = np.column_stack([np.ones(len(z)), *x])
    found, *_ = np.linalg.lstsq(design, z)
    left = z - design @ found
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * (left @ left) / (len(z) - design.shape[1]))
    return [(float(a), 2 * float(error)) for a, error in zip(found[1:], errors[1:], strict=True)]
