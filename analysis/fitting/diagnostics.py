"""Warnings about a fit, in plain sentences: everything that a reader must know before quoting its α."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.curve import Curve
from analysis.fitting.age import Age
from analysis.fitting.effect_size import FAR
from analysis.fitting.estimator import Estimate
from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.fitting.invariance import Invariance
from analysis.fitting.law_fits import interval_over_seeds
from analysis.fitting.log_bins import Bins
from analysis.fitting.outliers import standing_apart
from analysis.fitting.seed_noise import SeedNoise
from analysis.fitting.shared_noise import LARGE_SHARE, widening
from analysis.fitting.variable_projection import variable_projection


def diagnose(
    group: Sequence[Curve],
    bins: Bins,
    at: Estimate,
    scan: pd.DataFrame,
    quoted: tuple[float, float] | None,
    invariance: Invariance,
    age: Age,
    confidence_level: float,
) -> tuple[str, ...]:
    """Return every warning that a fit carries, the gravest first.

    Args:
        group: the curves fitted.
        bins: their log bins.
        at: the estimate on them.
        scan: the table of the estimate's scan over the start.
        quoted: the interval to quote; None where no start fits.
        invariance: of α on parts of the range and from other origins.
        age: of the origin and of the range.
        confidence_level: of the intervals.

    Returns:
        Plain sentences.
    """
    found = [
        *standing_apart(bins),
        _rejected(at),
        *age.warnings,
        _moving(invariance),
        _later(scan, bins, at),
        _lenient(at, len(group)),
        _shared(at, len(group)),
        _few_seeds(len(group)),
        _power_law(at, quoted, confidence_level),
        _bound(at),
        _contradicting(scan, at),
        _least_squares(bins, at, confidence_level),
        _short(bins),
        _shrinking(at),
        *_learning_rate(group, bins),
        *drops_unknown(group),
    ]
    return tuple(sentence for sentence in found if sentence)


def _rejected(at: Estimate) -> str | None:
    if not at.rejected:
        return None
    if at.size.close:
        return (
            f"The law is rejected, though close (p = {at.p_value:.2g}, {at.size}): it misses the curve by no more "
            "than seeds differ by. So α describes this range, and need not be the exponent of a law."
        )
    return f"No law of the family fits this range (p = {at.p_value:.2g}, {at.size}): α has no meaning here."


def _later(scan: pd.DataFrame, bins: Bins, at: Estimate) -> str | None:
    """Count rejected later starts: a law that holds from here on is rejected there by chance, one time in 20."""
    t, alpha, p_value = scan[["t_min", "alpha", "p_value"]].to_numpy().T
    later = (t > bins.fit_range[0]) & ~np.isnan(alpha)
    rejected = later & (p_value < ACCEPTED)
    if at.p_value < ACCEPTED or rejected.sum() <= later.sum() / 4:
        return None
    where = ", ".join(f"{start:.4g}" for start in t[rejected])
    return (
        f"Fitted from a later t on (t = {where}), the law is rejected. A law that holds from "
        f"t = {bins.fit_range[0]:.4g} on holds from there too, so p = {at.p_value:.2g} may be luck."
    )


def _lenient(at: Estimate, n: int) -> str | None:
    if n >= 3 or at.p_value < ACCEPTED or at.rms_residual < FAR:
        return None
    return (
        f"The law misses the curve by {100 * at.rms_residual:.2g} % of d, while seeds differ by about 1 %. The noise "
        "models of a single run can take a transient for noise: the p-value is lenient."
    )


def _few_seeds(n: int) -> str | None:
    if n == 1:
        return (
            "Provisional: one run cannot tell its noise from its law; the interval rests on a mixture of "
            "noise models. Three seeds or more give an interval that does not."
        )
    if n == 2:
        return (
            "Provisional: two runs are too few for an interval over seeds; each was fitted by itself, and "
            "the interval spans both."
        )
    return None


def _moving(invariance: Invariance) -> str | None:
    if not invariance.moves:
        return None
    return (
        f"α moves with {invariance.moves_with}: {invariance.worst} (p = {invariance.p_value:.2g}). "
        "Under one law α is the same on all parts of the range and from all origins."
    )


def _shared(at: Estimate, n: int) -> str | None:
    """Say what the seeds' common residuals do, since their interval supposes that they share no noise."""
    if not at.shared > LARGE_SHARE:
        return None
    return (
        f"{at.shared:.0%} of the residuals' variance is common to the seeds. It is the law's misfit, or noise that "
        "the seeds share, such as the same order of samples. Interval and p-value suppose that they share no noise. "
        f"If all of it were noise, the interval would be {widening(at.shared, n):.1f} times as wide, and the p-value "
        "would mean nothing."
    )


def _least_squares(bins: Bins, at: Estimate, confidence_level: float) -> str | None:
    """Compare generalised with plain least squares: where they disagree, one of them is misled."""
    if at.noise is not None and at.noise.refused is not None:
        other = SeedNoise(at.noise.refused)
        moved = float(variable_projection(bins.u, bins.z, other.on(bins)).alpha.mean())
        return (
            f"What seeds differ by is {other} noise. Weighed for it, the curves give α = {moved:.2f}, and this fit, "
            f"under Brownian noise, gives {at.alpha:.2f}. They differ by more than their errors, so not all of the "
            "range follows one law."
        )
    plain = variable_projection(bins.u, bins.z, "independent").alpha
    alpha, (low, high) = float(plain.mean()), at.interval
    error = (high - low) / 2
    if len(plain) >= 3:
        own = interval_over_seeds(plain, confidence_level)
        error = float(np.hypot(error, (own[1] - own[0]) / 2))
    centre = at.alpha if len(plain) >= 3 else (low + high) / 2
    if not abs(alpha - centre) > max(error, 0.005):  # the numbers are told to two decimals
        return None
    return (
        f"Plain least squares give α = {alpha:.2f} and this fit gives {at.alpha:.2f}. They differ by more than their "
        "errors, so the ends of the range and its middle do not follow the same law."
    )


def _power_law(at: Estimate, quoted: tuple[float, float] | None, confidence_level: float) -> str | None:
    if quoted is None or quoted[0] > 0 or quoted[1] < 0:
        return None
    return (
        f"The {100 * confidence_level:g} % confidence interval of α contains 0: a power law d ~ "
        f"t^{at.local_exponent:.2g} is not excluded."
    )


def _bound(at: Estimate) -> str | None:
    if not at.at_bound:
        return None
    return (
        "α is a bound and no estimate: the search stopped where the fit range ends it, with t₀ at the first t or an "
        "infinite d just beyond the last."
    )


def _contradicting(scan: pd.DataFrame, at: Estimate) -> str | None:
    """Find a start that fits as well and contradicts: each estimate lies outside of the other's interval."""
    t, end, alpha, low, high, p_value = scan[["t_min", "t_max", "alpha", "low", "high", "p_value"]].to_numpy().T
    outside = (alpha < at.interval[0]) | (alpha > at.interval[1])
    others = np.flatnonzero(
        (p_value >= ACCEPTED) & (end >= 100 * t) & outside & ((low > at.alpha) | (high < at.alpha))
    )
    if not len(others):
        return None
    worst = others[np.argmax(np.abs(alpha[others] - at.alpha))]
    return (
        f"α depends on where the fit starts: the law also holds from t = {t[worst]:.4g} on, with α = "
        f"{alpha[worst]:.2f} [{low[worst]:.2f}, {high[worst]:.2f}]."
    )


def _short(bins: Bins) -> str | None:
    decades = np.log10(bins.fit_range[1] / bins.fit_range[0])
    if decades >= 2:
        return None
    return f"The fit range spans {decades:.1f} decades of t; under two, α is poorly determined."


def _shrinking(at: Estimate) -> str | None:
    if at.shrinking < 0.01:
        return None
    if at.shrinking > 0.5:
        return (
            f"With probability {at.shrinking:.2g} the law falls, and the curve's growth is noise. "
            "α is stated as if the law grew."
        )
    return f"With probability {at.shrinking:.2g} the distance does not grow at all; that part is left out of α."


def _learning_rate(group: Sequence[Curve], bins: Bins) -> list[str]:
    found = []
    for curve in group:
        if curve.run is None or "learning_rate" not in curve.run.metrics:
            continue
        start, end = (t + curve.origin for t in bins.fit_range)
        rate = curve.run.metrics["learning_rate"].dropna()
        rate = rate[(rate.index >= start) & (rate.index < end)]
        if len(rate) and rate.max() > 1.01 * rate.min():
            found.append(
                f"The learning rate of {curve.name} varies between {rate.min():.3g} and {rate.max():.3g} "
                "inside the fit range; the laws hold at a constant one."
            )
    return found


def drops_unknown(group: Sequence[Curve]) -> tuple[str, ...]:
    """Say that nothing tells when the learning rate dropped.

    Args:
        group: the curves.

    Returns:
        A sentence, or none where the drops of all curves are known.
    """
    unknown = [curve.name for curve in group if not curve.drops_known]
    if not unknown:
        return ()
    whose = unknown[0] if len(unknown) == 1 else f"{len(unknown)} curves"
    return (
        f"Nothing tells when the learning rate of {whose} dropped: a drop bends the curve; end the range before it "
        "with t_max, or give the run.",
    )
