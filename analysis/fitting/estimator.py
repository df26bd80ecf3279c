"""α and its interval on one set of bins: from seeds where there are three, else from the noise mixture."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.errors import GrowthError
from analysis.fitting.goodness_of_fit import deviations, seeds_p
from analysis.fitting.laws import growth, growth_slope
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture, Posterior
from analysis.fitting.noise_models import brownian
from analysis.fitting.variable_projection import Projection, centred, fixed_alpha, variable_projection


@dataclass(frozen=True)
class SeedEstimate:
    """One seed's α, its local exponent q, and its interval where the seed was fitted by itself."""

    name: str
    alpha: float
    q: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Estimate:
    """α on one window. s, q, a: the family's parameters at that α for the mean curve.

    goodness: p-value of the law; misfit: rms of the mean log d about it; edge: s at an end of its range;
    shrinking: posterior probability that the distance does not grow.
    """

    alpha: float
    interval: tuple[float, float]
    s: float
    q: float
    a: float
    goodness: float
    misfit: float
    seeds: tuple[SeedEstimate, ...]
    posteriors: tuple[Posterior, ...]
    edge: bool
    shrinking: float
    method: str


def estimate(bins: Bins, level: float) -> Estimate:
    """α with an interval of that level. Raises GrowthError where a curve does not grow.

    n ≥ 3: Brownian GLS for each seed, mean ± t quantile · sd/√n. One: the mixture's median and central
    interval. Two: both single-run intervals, α their mean and the interval their hull.
    """
    each = variable_projection(bins.u, bins.z)
    still = np.flatnonzero(~(each.q > 1e-9))
    if len(still):
        i = int(still[0])
        raise GrowthError(
            f"{bins.names[i]}: distances do not grow between t = {bins.window[0]:g} and {bins.window[1]:g} "
            f"(local exponent {each.q[i]:.3g}); the laws describe growth: choose another window"
        )
    return _from_seeds(bins, each, level) if len(bins.z) >= 3 else _from_mixture(bins, each, level)


def _from_seeds(bins: Bins, each: Projection, level: float) -> Estimate:
    n = len(bins.z)
    alpha = float(each.alpha.mean())
    half = float(special.stdtrit(n - 1, (1 + level) / 2) * each.alpha.std(ddof=1) / math.sqrt(n))
    seeds = tuple(
        SeedEstimate(name, float(value), float(q))
        for name, value, q in zip(bins.names, each.alpha, each.q, strict=True)
    )
    s, q, a, misfit = _mean_law(bins, alpha)
    return Estimate(
        alpha, (alpha - half, alpha + half), s, q, a, _seeds_goodness(bins, s), misfit, seeds, (),
        bool(each.edge.any()), 0.0, f"{n} seeds, Brownian GLS each, t interval",
    )  # fmt: skip


def _from_mixture(bins: Bins, each: Projection, level: float) -> Estimate:
    mixture = Mixture(bins.u, bins.points, bins.steps)
    posteriors = tuple(mixture.posterior(z) for z in bins.z)
    intervals = [posterior.interval(level) for posterior in posteriors]
    medians = [posterior.quantile(0.5) for posterior in posteriors]
    alpha = float(np.mean(medians))
    seeds = tuple(
        SeedEstimate(name, value, float(q), interval)
        for name, value, q, interval in zip(bins.names, medians, each.q, intervals, strict=True)
    )
    s, q, a, misfit = _mean_law(bins, alpha)
    interval = min(low for low, _ in intervals), max(high for _, high in intervals)
    kind = "one run" if len(bins.z) == 1 else "two runs, each by itself"
    return Estimate(
        alpha, interval, s, q, a, min(p.goodness for p in posteriors), misfit, seeds, posteriors,
        bool(each.edge.any()), max(p.shrinking for p in posteriors), f"{kind}, noise mixture, provisional",
    )  # fmt: skip


def _mean_law(bins: Bins, alpha: float) -> tuple[float, float, float, float]:
    """s, q, a of the mean curve at that α (Brownian GLS), and the rms of log d about it."""
    mean = bins.z.mean(axis=0)
    law = fixed_alpha(bins.u, mean, alpha)
    s, q, a = float(law.s[0]), float(law.q[0]), float(law.a[0])
    residual = mean - a - q * growth(s, centred(bins.u))
    return s, q, a, float(np.sqrt(np.mean(residual**2)))


def _seeds_goodness(bins: Bins, s: float) -> float:
    x, whiten = centred(bins.u), brownian(bins.u)
    tangent = whiten(np.stack([growth(s, x), growth_slope(s, x)]))
    return seeds_p(whiten(bins.z), tangent, whiten(deviations(x)))
