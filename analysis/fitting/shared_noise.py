"""Noise that seeds share: what it would do to an interval, and how much of the residuals the seeds have in common.

An interval over seeds, and the t-tests beside it, suppose that seeds are independent about the law. Seeds that were
shown the same samples in the same order are not, nor are those of a law that is wrong, whose misfit they share: from
the residuals alone the two cannot be told apart. With a share ρ of each seed's variance common to all, the variance
of a mean over n seeds is σ²(ρ + (1 − ρ)/n), of which the spread between seeds shows σ²(1 − ρ)/n: an interval is too
narrow by the factor √(1 + nρ/(1 − ρ)), and a test sees the common part as a deviation from the law.
"""

import math

import numpy as np

from analysis.fitting.laws import Array

LARGE_SHARE = 0.5


def shared_share(residuals: Array) -> float:
    """Estimate the share ρ of the residuals' variance that seeds have in common.

    With r̄ the mean residual over n seeds and W the mean square of the others about it (on n − 1), E r̄² = σ²(ρ + (1 −
    ρ)/n) and E W = σ²(1 − ρ), so that ρ = C/(C + W) with C = r̄² − W/n, averaged over the bins.

    Args:
        residuals: (seed, bin) log d less each seed's own law.

    Returns:
        ρ, at least 0; NaN for residuals that are all zero.
    """
    n, mean = len(residuals), residuals.mean(axis=0)
    within = float(np.mean(np.sum((residuals - mean) ** 2, axis=0) / (n - 1)))
    common = max(float(np.mean(mean**2)) - within / n, 0.0)
    return common / (common + within) if common + within > 0 else math.nan


def widening(share: float, n: int) -> float:
    """Compute by how much an interval over seeds is too narrow, √(1 + nρ/(1 − ρ)).

    Args:
        share: ρ.
        n: number of seeds.

    Returns:
        The factor; infinite where all is shared.
    """
    return math.sqrt(1 + n * share / (1 - share)) if share < 1 else math.inf
