"""Whether a law describes its window at all: tests against what a curve may do that the law cannot.

y are whitened curves, tangent (parameter, k) the directions into which the law itself can bend there, added
(deviation, k) the deviations tested; all in the same whitened coordinates.
"""

import math

import numpy as np
from scipy import special

from analysis.fitting.laws import Array

ACCEPTED = 0.05  # the p-value from which on a law is taken to hold


def deviations(x: Array) -> Array:
    """What a curve may do beside its law, (4, bin): bend twice more, or leave a transient.

    Legendre polynomials of degree 3 and 4 over the window, and transients that die within 1/5 and 1/2 of an
    e-fold of t from its start. x: (bin,) log t about the window's middle.
    """
    bends = np.polynomial.legendre.legvander(2 * x / (x[-1] - x[0]), 4)[:, 3:].T
    return np.vstack([bends, *(np.exp(-(x - x[0]) / length) for length in (0.2, 0.5))])


def seeds_p(y: Array, tangent: Array, added: Array) -> float:
    """p-value from n ≥ 3 seeds: misfit of their mean against the between-seed standard error.

    y: (seed, k), less the law or not. Each deviation, made orthogonal to the tangent, is a number per seed
    whose mean the law puts at zero: a t-test on n − 1 degrees of freedom, exact however the noise is
    correlated. The smallest p-value counts, times their number (Bonferroni).
    """
    modes = np.linalg.qr(np.vstack([tangent, added]).T)[0][:, len(tangent) :]
    score = y @ modes
    error = np.maximum(score.std(axis=0, ddof=1) / math.sqrt(len(score)), 1e-12)
    p = 2 * special.stdtr(len(score) - 1, -np.abs(score.mean(axis=0)) / error)
    return min(1.0, len(p) * float(p.min()))


def single_p(y: Array, tangent: Array, added: Array, rank: int) -> float:
    """p-value from one curve y (k,): F-test of the deviations, if its noise is white in `rank` dimensions."""
    wide = np.vstack([tangent, added])
    base, full = (float(np.sum((y - design.T @ np.linalg.lstsq(design.T, y)[0]) ** 2)) for design in (tangent, wide))
    freedom = rank - len(wide)
    floor = 1e-20 * float(y @ y)  # a noiseless curve fits to rounding, and rounding is no misfit
    f = (base - full) / (full + floor + 1e-300) * freedom / len(added)
    return float(special.fdtrc(len(added), freedom, max(f, 0.0)))  # rounding can leave base below full
