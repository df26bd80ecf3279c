"""`fit`: α of ‖w_t − w_0‖ ~ (log t/t₀)^(2/α), with its confidence interval, its range and what to be wary of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.curve import Curve, CurvesLike, curves
from analysis.errors import AnalysisError, LawError, OffsetError, SeedError
from analysis.fitting.diagnostics import diagnose
from analysis.fitting.estimator import estimate
from analysis.fitting.fit_result import Fit
from analysis.fitting.laws import LAWS
from analysis.fitting.noise_mixture import PROBABILITIES
from analysis.fitting.start_scan import choose, interval_over_starts, scan_table, starts


def fit(
    data: CurvesLike,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    law: str = "ultraslow",
    confidence_level: float = 0.95,
    origin: int = 0,
    offset: float = 0.0,
) -> Fit:
    """Fit the ultra-slow diffusion law ‖w_t − w_0‖ = A |log(t/t₀)|^(2/α) to one run, or to seeds of one experiment.

    From three seeds on, each is fitted by generalised least squares under Brownian noise in log t, and α's interval
    is Student's over the seeds. One run is fitted under a mixture of noise models, and its interval is provisional.

    Args:
        data: a Run or its path, (t, d), a pandas Series, an xarray DataArray, or a list of those (seeds).
        t_min: the first update used; by default the earliest start at which the law holds, after the learning rate's
            warm-up.
        t_max: the last update used; by default the first learning-rate drop.
        law: "ultraslow", the only one with a free α: `compare` fits the others.
        confidence_level: of the interval.
        origin: d is the displacement from this update's weights, and t counts from it, in t_min and t_max too
            (`curves` says why).
        offset: a number subtracted from d. It cannot be fitted beside t₀: at α = 2 the two are one parameter,
            A log(t/t₀) + c.

    Returns:
        The fit, with its scan over the start and its warnings.

    Raises:
        CurveError: where the data are no curve.
        DistanceError: where a distance in the fit range is not a positive number.
        FitRangeError: where t_max lies past a learning-rate drop.
        ShortCurveError: where the range is shorter than a decade of t or 12 log bins.
        GrowthError: where the distance does not grow.
        SeedError: where two of the seeds are one curve.
        OffsetError: where the offset is to be fitted.
        LawError: for another law.
        AnalysisError: for a confidence level outside of (0, 1).

    Examples:
        >>> import numpy as np
        >>> from analysis import fit
        >>> t = np.arange(1, 2001)
        >>> found = fit((t, np.log(t / 0.1) ** 2), t_min=10)
        >>> round(found.alpha, 2), found.fit_range
        (1.0, (10.0, 2000.0))
    """
    if law != "ultraslow":
        rivals = [name for name in LAWS if name != "ultraslow"]
        instead = f"use compare(data, [{law!r}])" if law in rivals else f"compare fits {', '.join(rivals)}"
        raise LawError(f"law = {law!r}: fit estimates α, which 'ultraslow' alone leaves free; {instead}")
    if not 0 < confidence_level < 1:
        raise AnalysisError(
            f"confidence_level = {confidence_level:g}: expected a probability between 0 and 1, such as 0.95"
        )
    group = [_shifted(curve, offset) for curve in curves(data, origin=origin)]
    _check_seeds(group)
    tried = starts(group, t_min, t_max, confidence_level)
    chosen, note = choose(tried, t_min)
    bins, at = chosen.bins, chosen.estimate
    if at is None:
        at = estimate(bins, confidence_level)  # raises, naming the curve that does not grow
    scan, hull = scan_table(tried), interval_over_starts(tried, chosen)
    return Fit(
        alpha=at.alpha,
        interval=at.interval,
        interval_over_starts=hull,
        confidence_level=confidence_level,
        local_exponent=at.local_exponent,
        s=at.s,
        a=at.a,
        law=law,
        fit_range=bins.fit_range,
        origin=group[0].origin,
        n=len(group),
        p_value=at.p_value,
        rms_residual=at.rms_residual,
        method=at.method,
        seeds=at.seeds,
        posterior=(at.posteriors[0].alpha, PROBABILITIES) if len(at.posteriors) == 1 else None,
        scan=scan,
        warnings=diagnose(group, bins, at, scan, hull, confidence_level) + note,
        u=bins.u,
        z=bins.z,
    )


def _shifted(curve: Curve, offset: float) -> Curve:
    if isinstance(offset, str):
        raise OffsetError(
            f"offset = {offset!r}: at α = 2 an additive offset and t₀ are the same parameter, so both "
            "cannot be free; give the offset as a number"
        )
    return replace(curve, d=curve.d - offset) if offset else curve


def _check_seeds(group: Sequence[Curve]) -> None:
    for i, one in enumerate(group):
        for other in group[:i]:
            if np.array_equal(one.d, other.d) and np.array_equal(one.t, other.t):
                raise SeedError(
                    f"{other.name} and {one.name} are one curve; expected independent seeds: give it once"
                )
