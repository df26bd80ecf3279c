"""α and its confidence interval on one set of bins: from seeds where there are three, else from the noise mixture."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.errors import GrowthError
from analysis.fitting.effect_size import EffectSize, Judged, effect_size
from analysis.fitting.law_test import p_value
from analysis.fitting.laws import Array, growth, growth_slope, s_range
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture, Posterior
from analysis.fitting.noise_models import Whitener, brownian
from analysis.fitting.outliers import standing_apart
from analysis.fitting.seed_estimate import SeedEstimate
from analysis.fitting.seed_noise import BROWNIAN, SeedNoise, seed_noise
from analysis.fitting.shared_noise import shared_share
from analysis.fitting.variable_projection import Projection, centred, fixed_alpha, variable_projection

LEAST_GROWTH = 0.005  # of log d over a fit range: half of what seeds of real runs differ by


@dataclass(frozen=True, eq=False)
class Estimate(Judged):
    """α on one fit range.

    Attributes:
        alpha: the estimate.
        interval: its confidence interval.
        s: the bend of the mean curve's law at that α (`laws`).
        local_exponent: its q.
        a: its log d at the middle of the range.
        p_value: of the law's goodness of fit.
        size: of its misfit.
        seeds: each curve's own estimate.
        posteriors: each curve's posterior under the noise mixture; none from three seeds on.
        at_bound: whether a curve's s stopped at an end of its range.
        shrinking: the posterior probability that the distance does not grow.
        method: how α was estimated, in words.
        noise: that the seeds were fitted under; None below three, which are fitted under the mixture.
        shared: the share of the residuals' variance that the seeds have in common (`shared_noise`); NaN below three.
    """

    alpha: float
    interval: tuple[float, float]
    s: float
    local_exponent: float
    a: float
    p_value: float
    size: EffectSize
    seeds: tuple[SeedEstimate, ...]
    posteriors: tuple[Posterior, ...]
    at_bound: bool
    shrinking: float
    method: str
    noise: SeedNoise | None = None
    shared: float = math.nan


def estimate(bins: Bins, confidence_level: float, noise: SeedNoise | Mixture | None = None) -> Estimate:
    """Estimate α with a confidence interval.

    From n ≥ 3 curves: GLS for each under the noise that their differences choose (`seed_noise`), and mean ± t
    quantile · standard deviation / √n. From one: the noise mixture's median and central interval. From two: each by
    itself, α their mean and the interval their hull.

    Args:
        bins: one curve, or one per seed.
        confidence_level: of the interval, between 0 and 1.
        noise: of three curves or more, if it is not to be chosen; or the noise mixture on these bins, if it is at
            hand, for fewer.

    Returns:
        The estimate.

    Raises:
        GrowthError: where a curve does not grow, or its growth cannot be told from noise.
    """
    if len(bins.z) >= 3:
        found = _from_seeds(bins, noise if isinstance(noise, SeedNoise) else seed_noise(bins), confidence_level)
    else:
        mixture = noise if isinstance(noise, Mixture) else Mixture(bins)
        found = _from_mixture(bins, mixture, confidence_level)
    if not np.isfinite([found.alpha, *found.interval, found.p_value, found.size.rms]).all():
        raise GrowthError(
            f"{' and '.join(bins.names)}: no finite α and interval between t = {bins.fit_range[0]:g} and "
            f"{bins.fit_range[1]:g}, where growth cannot be told from noise; choose another fit range"
        )
    return found


def check_growth(bins: Bins, noise: SeedNoise = BROWNIAN) -> Projection:
    """Fit each curve by variable projection, and refuse those that do not grow.

    Args:
        bins: one curve, or one per seed.
        noise: that the curves are fitted under.

    Returns:
        Each curve's estimates.

    Raises:
        GrowthError: where a curve does not grow, or by so little that nothing bends.
    """
    each = variable_projection(bins.u, bins.z, noise.on(bins))
    still = np.flatnonzero(~(each.q * (bins.u[-1] - bins.u[0]) > LEAST_GROWTH))
    if len(still):
        i = int(still[0])
        hardly = "hardly " if each.q[i] > 0 else "do not "
        raise GrowthError(
            f"{bins.names[i]}: distances {hardly}grow between t = {bins.fit_range[0]:g} and {bins.fit_range[1]:g} "
            f"(local exponent {each.q[i]:.3g}); the laws describe growth: choose another fit range"
        )
    return each


def _from_seeds(bins: Bins, noise: SeedNoise, confidence_level: float) -> Estimate:
    n, each, whiten = len(bins.z), check_growth(bins, noise), noise.on(bins)
    alpha = float(each.alpha.mean())
    half = float(special.stdtrit(n - 1, (1 + confidence_level) / 2) * each.alpha.std(ddof=1) / math.sqrt(n))
    seeds = tuple(
        SeedEstimate(name, float(value), float(q))
        for name, value, q in zip(bins.names, each.alpha, each.q, strict=True)
    )
    try:
        s, q, a, curve = _mean_law(bins, alpha, whiten)
    except GrowthError as error:
        raise GrowthError(" ".join([f"the mean of {n} seeds: {error}.", *standing_apart(bins)])) from None
    return Estimate(
        alpha, (alpha - half, alpha + half), s, q, a, _p_value(bins, s, whiten), effect_size(bins.z, curve), seeds,
        (), bool(each.at_bound.any()), 0.0, f"{n} seeds, GLS each under {noise} noise, t interval", noise,
        shared_share(bins.z - each.a[:, None] - each.q[:, None] * growth(each.s[:, None], centred(bins.u))),
    )  # fmt: skip


def _from_mixture(bins: Bins, mixture: Mixture, confidence_level: float) -> Estimate:
    each, whiten = check_growth(bins), brownian(bins.u)
    posteriors = tuple(mixture.posterior(z) for z in bins.z)
    intervals = [posterior.interval(confidence_level) for posterior in posteriors]
    medians = [posterior.quantile(0.5) for posterior in posteriors]
    alpha = float(np.mean(medians))
    seeds = tuple(
        SeedEstimate(name, value, float(q), interval)
        for name, value, q, interval in zip(bins.names, medians, each.q, intervals, strict=True)
    )
    s, q, a, curve = _mean_law(bins, alpha, whiten)
    mean = each if len(bins.z) == 1 else variable_projection(bins.u, bins.z.mean(axis=0))
    held = float(mean.s[0])  # as `compare` fits the family
    interval = min(low for low, _ in intervals), max(high for _, high in intervals)
    first, last = (0.99 * end for end in s_range(mixture.x))  # the posterior knows of no bend beyond
    at_bound = each.at_bound.any() or any(not first < s < last for s in (*each.s, *(p.s for p in posteriors)))
    kind = "one run" if len(bins.z) == 1 else "two runs, each by itself"
    return Estimate(
        alpha, interval, s, q, a, _p_value(bins, held, mixture), effect_size(bins.z, curve), seeds, posteriors,
        bool(at_bound), max(p.shrinking for p in posteriors), f"{kind}, noise mixture, provisional",
    )  # fmt: skip


def _mean_law(bins: Bins, alpha: float, whiten: Whitener) -> tuple[float, float, float, Array]:
    """Fit the mean curve at that α by GLS: s, q, a, and the law's log d by bin."""
    mean = bins.z.mean(axis=0)
    law = fixed_alpha(bins.u, mean, alpha, whiten)
    s, q, a = float(law.s[0]), float(law.q[0]), float(law.a[0])
    return s, q, a, a + q * growth(s, centred(bins.u))


def _p_value(bins: Bins, s: float, noise: Whitener | Mixture) -> float:
    x = centred(bins.u)
    tangent = np.stack([growth(s, x), growth_slope(s, x)])
    return p_value(bins, np.zeros_like(x), tangent, noise)  # the law itself lies in its tangent
