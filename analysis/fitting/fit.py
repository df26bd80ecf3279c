"""`fit`: α of ‖w_t − w_0‖ ~ (log t/t₀)^(2/α), with its confidence interval, its range and what to be wary of."""

from analysis.curve import CurvesLike
from analysis.errors import LawError
from analysis.fitting.age import age_of
from analysis.fitting.diagnostics import diagnose
from analysis.fitting.estimator import estimate
from analysis.fitting.fit_result import Fit
from analysis.fitting.former_names import accept_former_keywords
from analysis.fitting.invariance import Invariance, origin_invariance, range_invariance
from analysis.fitting.noise_mixture import PROBABILITIES
from analysis.fitting.origin_choice import at_other_origins, seeds_from
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.start_scan import choose, interval_over_starts, scan_table, starts
from analysis.inputs import check_confidence_level


@accept_former_keywords(level="confidence_level")
def fit(
    data: CurvesLike,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    law: str = "ultraslow",
    confidence_level: float = 0.95,
    origin: int | None = None,
    offset: float = 0.0,
    force: bool = False,
) -> Fit:
    """Fit the ultra-slow diffusion law ‖w_t − w_0‖ = A |log(t/t₀)|^(2/α) to one run, or to seeds of one experiment.

    From three seeds on, each is fitted by generalised least squares, and α's interval is Student's over the seeds.
    The noise is Brownian in log t, or another if what seeds differ by makes it far likelier (`seed_noise`). One run
    is fitted under a mixture of noise models, and its interval is provisional.

    Args:
        data: a Run or its path, (t, d), a pandas Series, an xarray DataArray, a list of those (seeds), or a pandas
            DataFrame with index t and a column for each seed. A seed that ends more than half a decade of t before
            the others is left out, with a warning.
        t_min: the first update used; by default the earliest start at which the law holds, after the learning rate's
            warm-up.
        t_max: the last update used; by default the first learning-rate drop.
        law: "ultraslow", the only one with a free α: `compare` fits the others.
        confidence_level: of the interval.
        origin: d is the displacement from this update's weights, and t counts from it, in t_min and t_max too
            (`curves` says why). By default of runs the oldest recorded origin after which two decades of t are left,
            or else w_0, as of all other data.
        offset: a number subtracted from d. It cannot be fitted beside t₀: at α = 2 the two are one parameter,
            A log(t/t₀) + c.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same, with a warning.

    Returns:
        The fit, with its scan over the start and its warnings.

    Raises:
        CurveError: where the data are no curve.
        DistanceError: where a distance in the fit range is not a positive number.
        FitRangeError: where t_max lies past a learning-rate drop.
        ShortCurveError: where the range is shorter than a decade of t or 12 log bins.
        GrowthError: where the distance does not grow.
        SeedError: where two of the seeds are one curve, or are runs of different settings.
        OffsetError: where the offset is to be fitted, or is no finite number.
        LawError: for another law.
        AnalysisError: for a confidence level outside of (0, 1), or above .995 below three seeds; or an origin or a
            t_min that is no update.

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
    check_confidence_level(confidence_level)
    seeds = seeds_from(data, origin, t_min, t_max, offset, force)
    group = seeds.curves
    tried = starts(group, t_min, t_max, confidence_level)
    chosen, note = choose(tried, t_min)
    bins, at = chosen.bins, chosen.estimate
    if at is None:
        at = estimate(bins, confidence_level, chosen.noise)  # raises, naming the curve that does not grow
    age = age_of(group, bins.fit_range)
    scan, hull = scan_table(tried, age), interval_over_starts(tried, chosen, confidence_level)
    parts = range_invariance(bins, chosen.noise)
    others = origin_invariance(at_other_origins(seeds, bins, age), at.noise)
    invariance = Invariance((*parts.changes, *others.changes))
    quoted = hull if t_min is None else at.interval
    return Fit(
        alpha=at.alpha,
        interval=at.interval,
        interval_over_starts=hull,
        start_chosen=t_min is None,
        confidence_level=confidence_level,
        local_exponent=at.local_exponent,
        s=at.s,
        a=at.a,
        law=law,
        fit_range=bins.fit_range,
        origin=group[0].origin,
        n=len(group),
        p_value=at.p_value,
        size=at.size,
        age=age,
        invariance=invariance,
        shared_residual=at.shared,
        method=at.method,
        noise="mixture" if at.noise is None else str(at.noise),
        seeds=at.seeds,
        posterior=(at.posteriors[0].alpha, PROBABILITIES) if len(at.posteriors) == 1 else None,
        scan=scan,
        warnings=(
            *filter(None, [seeds.origin_choice]),
            *seeds.notes,
            *diagnose(group, bins, at, scan, quoted, invariance, age, confidence_level),
            *note,
        ),
        u=bins.u,
        z=bins.z,
    )
