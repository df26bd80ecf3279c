"""Where a fit may start: α, its confidence interval and its p-value against t_min.

The fit range matters more than the seeds: real curves begin with a transient, and α read across it is another
number. So a fit carries its scan, and starts by default at the earliest t_min at which the law holds.

An interval holds for one fit range, chosen beforehand. Chosen from the data, a range may still carry the end of a
transient, too small to be detected and large enough to bend α. So what a fit then states is the hull of the intervals
over that start, all later ones and jump + log (`interval_over_starts`); `bench/intervals.py --only start` counts how
often either holds the truth.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.curve import Curve, CurvesLike
from analysis.errors import GrowthError, ShortCurveError
from analysis.fitting.age import Age, age_of
from analysis.fitting.estimator import Estimate, estimate
from analysis.fitting.former_names import accept_former_keywords
from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.fitting.law_fits import interval_over_seeds, seed_parameters
from analysis.fitting.log_bins import BINS_PER_DECADE, Bins, log_sums
from analysis.fitting.noise_mixture import Mixture, nested_mixtures
from analysis.fitting.origin_choice import seeds_from
from analysis.fitting.outliers import standing_apart
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.seed_noise import SeedNoise, seed_noises
from analysis.inputs import check_confidence_level
from analysis.serialize import jsonable

STARTS_PER_DECADE = 4

ESTIMATED = (
    *("alpha", "low", "high", "local_exponent"),
    *("p_value", "rms_residual", "max_residual", "residual_in_spreads", "noise", "verdict"),
)
"""Columns of what is known of α on one fit range."""


@dataclass(frozen=True, eq=False)
class Start:
    """One start tried.

    Attributes:
        bins: the log bins from there on.
        estimate: α on them; None where the distance does not grow.
        noise: of the seeds, chosen on them; below three the noise mixture.
    """

    bins: Bins
    estimate: Estimate | None
    noise: SeedNoise | Mixture

    @property
    def t(self) -> float:
        """The first update used."""
        return self.bins.fit_range[0]

    @property
    def p_value(self) -> float:
        """Of the law's goodness of fit; 0 where the distance does not grow."""
        return 0.0 if self.estimate is None else self.estimate.p_value


@accept_former_keywords(level="confidence_level")
def scan(
    data: CurvesLike,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    confidence_level: float = 0.95,
    origin: int | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Estimate α from every start of the fit range, four per decade of t.

    Args:
        data: one run or curve, or seeds of one experiment, as for `fit`, whose warnings of seeds that end early or
            stand apart are raised as Python's.
        t_min: the first start, in updates; by default the end of the learning rate's warm-up.
        t_max: the last update used; by default the first learning-rate drop.
        confidence_level: of the intervals.
        origin: d is the displacement from this update's weights, and t counts from it; by default as for `fit`.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same, with a warning.

    Returns:
        One row per start. Columns: t_min, t_max (updates), bins, t_min_age, t_max_age (the same in memory times of
        weight decay, `analysis.fitting.age`; NaN where that is not known), alpha, low, high (its confidence
        interval), local_exponent, p_value, rms_residual and max_residual (of log d), residual_in_spreads (the rms
        residual over the seeds' spread; NaN for one curve), noise (that the seeds are fitted under, `seed_noise`; or
        "mixture"), and verdict, as `Fit.verdict`. NaN where the distance does not grow, and the verdict is then "no
        growth". Its `attrs` hold the origin, its age in memory times (`origin_age`), and in words `age`, `expected`
        (of a law there) and `origin_choice`.

    Raises:
        AnalysisError: what `fit` raises, but for GrowthError.

    Examples:
        >>> import numpy as np
        >>> from analysis import scan
        >>> t = np.arange(1, 2001)
        >>> scan((t, np.log(t / 0.1) ** 2))[["t_min", "bins", "alpha"]].round(2).head(3)
           t_min  bins  alpha
        0   1.00    37    1.0
        1   1.77    36    1.0
        2   3.13    34    1.0
    """
    check_confidence_level(confidence_level)
    seeds = seeds_from(data, origin, t_min, t_max, force=force)
    tried = starts(seeds.curves, t_min, t_max, confidence_level)
    for sentence in (*seeds.notes, *standing_apart(tried[0].bins)):
        warnings.warn(sentence, stacklevel=2)
    frame = scan_table(tried, age_of(seeds.curves, tried[0].bins.fit_range))
    frame.attrs["origin_choice"] = seeds.origin_choice
    return frame


def starts(group: Sequence[Curve], t_min: float | None, t_max: float | None, confidence_level: float) -> list[Start]:
    """Estimate α from t_min and from later starts, up to the last that leaves a decade and 12 bins.

    Args:
        group: one curve, or seeds of one experiment.
        t_min: the first start; None for the end of the warm-up.
        t_max: the last update used; None for the first learning-rate drop.
        confidence_level: of the intervals.

    Returns:
        At least one start, in order of t.

    Raises:
        AnalysisError: what `binned` raises for the first start.
    """
    sums = log_sums(group, t_min, t_max)
    every = BINS_PER_DECADE // STARTS_PER_DECADE
    tried = [sums.bins()]
    for first in range(every, len(sums.centres), every):
        try:
            tried.append(sums.bins(first))
        except ShortCurveError:
            break
    noises: Iterable[SeedNoise | Mixture] = seed_noises(tried) if len(group) >= 3 else nested_mixtures(tried)
    pairs = zip(tried, noises, strict=True)
    return [Start(bins, _grown(bins, confidence_level, noise), noise) for bins, noise in pairs]


def _grown(bins: Bins, confidence_level: float, noise: SeedNoise | Mixture) -> Estimate | None:
    try:
        return estimate(bins, confidence_level, noise)
    except GrowthError:
        return None


def choose(found: Sequence[Start], t_min: float | None) -> tuple[Start, tuple[str, ...]]:
    """Choose the start of a fit: the earliest at which the law holds, unless t_min was given.

    The law holds where its p-value is at least 5 %, there and at the start before. One good p-value is not enough:
    the start at which a decaying transient just escapes detection still bends α by more than its interval
    (`bench/intervals.py --only start` shows by how much). The very first start has none before it.

    Args:
        found: what `starts` returned.
        t_min: the start asked for, if any.

    Returns:
        The start, and a sentence on how it was chosen: without two good starts in a row the last good one, without
        any the least bad one. No sentence where t_min was given.
    """
    if t_min is not None:
        return found[0], ()
    good = [start.p_value >= ACCEPTED for start in found]
    settled = [start for i, start in enumerate(found) if good[i] and (i == 0 or good[i - 1])]
    if settled:
        return settled[0], (
            f"t_min was not given: the fit starts at t = {settled[0].t:.4g}, the earliest start at which the law "
            f"holds (p of at least {ACCEPTED:g}, there and one start before).",
        )
    single = [start for start, holds in zip(found, good, strict=True) if holds]
    if single:
        return single[-1], (
            f"t_min was not given: the fit starts at t = {single[-1].t:.4g}, the last start at which the law holds "
            f"(p of at least {ACCEPTED:g}). It does not hold at two neighbouring starts.",
        )
    grown = [start for start in found if start.estimate]
    best = max(grown, key=lambda start: start.p_value, default=found[0])
    return best, (
        f"t_min was not given: the law is rejected from every start, and the fit starts at t = {best.t:.4g}, where "
        "its p-value is largest.",
    )


def interval_over_starts(
    found: Sequence[Start], chosen: Start, confidence_level: float = 0.95
) -> tuple[float, float] | None:
    """Return the hull of α's intervals over the starts at which the law holds, and with the transient in the law.

    It holds the true α if the interval of any of these ranges does: of the fit's own, of those from later starts, or,
    from three seeds on, of jump + log on the fit's range, which leaves a transient whose square adds.

    Args:
        found: what `starts` returned.
        chosen: the start of the fit.
        confidence_level: of the intervals.

    Returns:
        The hull's ends; None where the law holds at none of these starts.
    """
    held = [
        start.estimate.interval
        for start in found
        if start.estimate is not None and start.p_value >= ACCEPTED and start.t >= chosen.t
    ]
    if held and isinstance(chosen.noise, SeedNoise):
        alpha = seed_parameters(LAWS["jump + log"], chosen.bins, chosen.noise)["alpha"]
        held.append(interval_over_seeds(alpha, confidence_level))
    return (min(low for low, _ in held), max(high for _, high in held)) if held else None


def scan_table(found: Sequence[Start], age: Age) -> pd.DataFrame:
    """Return the scan as a table.

    Args:
        found: what `starts` returned.
        age: of the origin, and of the whole range.

    Returns:
        One row per start, with the columns and the `attrs` of `scan`.
    """
    frame = pd.DataFrame([_row(start, age) for start in found])
    known = {"origin": age.origins[0], "origin_age": jsonable(age.origin_age)}
    frame.attrs.update({**known, "age": str(age), "expected": age.expected})
    return frame


def numbers(at: Estimate) -> dict[str, float | str]:
    """Return what is known of α on one fit range, by the columns `ESTIMATED`.

    Args:
        at: the estimate.

    Returns:
        A number per column; the noise and the verdict in words.
    """
    sizes = (at.rms_residual, at.max_residual, at.residual_in_spreads)
    noise = "mixture" if at.noise is None else str(at.noise)
    values = (at.alpha, *at.interval, at.local_exponent, at.p_value, *sizes, noise, at.agreement)
    return dict(zip(ESTIMATED, values, strict=True))


def nothing() -> dict[str, float | str]:
    """Return NaN for each column of `ESTIMATED`, no noise, and the verdict "no growth"."""
    return dict.fromkeys(ESTIMATED, math.nan) | {"noise": "", "verdict": "no growth"}


def _row(start: Start, age: Age) -> dict[str, float | str]:
    first, last = start.bins.fit_range
    row: dict[str, float | str] = {"t_min": first, "t_max": last, "bins": len(start.bins.u)}
    row |= {"t_min_age": age.of(first), "t_max_age": age.of(last)}
    return row | (numbers(start.estimate) if start.estimate else nothing())
