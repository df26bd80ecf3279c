"""Tests of whether a law describes its fit range at all, against what a curve may do that the law cannot.

All arguments are in the same whitened coordinates, of which there are k: curves, the directions into which the law
itself can bend (its tangent), and the deviations that are tested.
"""

import math

import numpy as np
from scipy import special

from analysis.fitting.laws import Array

ACCEPTED = 0.05  # the p-value from which on a law is taken to hold
_SMEAR = 1e-4  # what averaging a law over a bin leaves of it, whitened; seeds' own noise is a hundred times as large


def deviations(x: Array) -> Array:
    """Return what a curve may do beside its law: bend twice more, or leave a transient.

    These are Legendre polynomials of degree 3 and 4 over the fit range, and transients that die within 1/5 and 1/2 of
    an e-fold of t from its start.

    Args:
        x: (bin,) log t about the middle of the range.

    Returns:
        (4, bin), not whitened.
    """
    bends = np.polynomial.legendre.legvander(2 * x / (x[-1] - x[0]), 4)[:, 3:].T
    return np.vstack([bends, *(np.exp(-(x - x[0]) / length) for length in (0.2, 0.5))])


def seeds_p(y: Array, tangent: Array, added: Array) -> float:
    """Compute the p-value of a law from n ≥ 3 seeds: their mean's deviations against the between-seed standard error.

    Each deviation, made orthogonal to the tangent, is a number per seed whose mean the law puts at zero: a t-test on
    n − 1 degrees of freedom, exact however the noise is correlated. The smallest p-value counts, times their number
    (Bonferroni).

    Args:
        y: (seed, k) curves; it does not matter whether the law is subtracted.
        tangent: (parameter, k).
        added: (deviation, k).

    Returns:
        The p-value.
    """
    modes = np.linalg.qr(np.vstack([tangent, added]).T)[0][:, len(tangent) :]
    score = y @ modes
    error = np.maximum(score.std(axis=0, ddof=1) / math.sqrt(len(score)), _SMEAR)
    p = 2 * special.stdtr(len(score) - 1, -np.abs(score.mean(axis=0)) / error)
    return min(1.0, len(p) * float(p.min()))


def single_p(y: Array, tangent: Array, added: Array, rank: int, scale: float) -> float:
    """Compute the p-value of a law from one curve: an F-test of the deviations, if the noise is white.

    Args:
        y: (k,) the curve, less the law.
        tangent: (parameter, k).
        added: (deviation, k).
        rank: the number of dimensions that the noise fills.
        scale: the sum of squares of the curve with the law, of which rounding is a share.

    Returns:
        The p-value.
    """
    wide = np.vstack([tangent, added])
    base, full = (float(np.sum((y - design.T @ np.linalg.lstsq(design.T, y)[0]) ** 2)) for design in (tangent, wide))
    freedom = rank - len(wide)
    floor = 1e-20 * scale  # a noiseless curve fits to rounding, and rounding is no deviation
    f = (base - full) / (full + floor + 1e-300) * freedom / len(added)
    return float(special.fdtrc(len(added), freedom, max(f, 0.0)))  # rounding can leave base below full
