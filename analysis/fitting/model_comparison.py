"""`compare`: rival laws on one fit range under the same correlated noise, by BIC, prediction and an honest verdict.

Laws are weighed by exp(−BIC/2) (`law_fits`). A law is ruled out by a BIC 6 above the best (odds of 20 to 1; Kass &
Raftery 1995 call more "strong"), and by a second witness that does not rest on Brownian noise, since under smoother
noise BIC alone turns down true laws (`bench/intervals.py`): from three seeds on, its p-value, whose t-tests hold for
any noise, or a c² that lies below 0 with its interval; below three, the interval of α under the mixture of noise
models, for the laws that hold an α. Laws that are not ruled out are not separable from the best, and are said to be
so.

All p-values of a comparison come from one test, which it names (`Comparison.goodness_test`) and which `fit` uses too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from analysis.curve import Curve, CurvesLike
from analysis.errors import GrowthError, LawError
from analysis.fitting.age import age_of
from analysis.fitting.comparison_result import Comparison, FittedLaw, LawFit
from analysis.fitting.diagnostics import drops_unknown
from analysis.fitting.estimator import check_growth, estimate
from analysis.fitting.invariance import Invariance
from analysis.fitting.law_fits import fit_law, law_invariance
from analysis.fitting.laws import Law
from analysis.fitting.log_bins import Bins, binned
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.origin_choice import at_other_origins, seeds_from
from analysis.fitting.outliers import standing_apart
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.seed_noise import named_noise, seed_noise
from analysis.fitting.start_scan import choose, starts

SEPARABLE = 6.0
_ANY = (-math.inf, math.inf)


def compare(
    data: CurvesLike,
    laws: Sequence[str] | None = None,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    origin: int | None = None,
    noise: str = "chosen",
    force: bool = False,
) -> Comparison:
    """Compare diffusion laws on one run, or on several seeds of one experiment.

    Args:
        data: what `fit` takes: one curve, or seeds of one experiment.
        laws: names out of `analysis.fitting.rival_laws.LAWS`; by default all of them.
        t_min: the first update used; by default the one that `fit` takes.
        t_max: the last update used; by default the first learning-rate drop.
        origin: d is the displacement from this update's weights, and t counts from it; by default as for `fit`.
        noise: "chosen" from three seeds on by what they differ by, as `fit` chooses it (`seed_noise`), and Brownian
            in log t below; or "brownian", or "independent" by log bin, which finds a true power law far less often.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same, with a warning.

    Returns:
        The comparison, the best law first.

    Raises:
        LawError: for an unknown law.
        GrowthError: where the distance does not grow.
        AnalysisError: for an unknown noise, and what `fit` raises for the data.

    Examples:
        >>> import numpy as np
        >>> from analysis import compare
        >>> t = np.geomspace(10, 10_000, 40)
        >>> noise = 0.01 * np.random.default_rng(0).normal(size=(3, 1)) * np.log(t)
        >>> compare([(t, t**0.25 * np.exp(row)) for row in noise], ["power law", "pure log", "normal"], t_min=10).best
        'power law'
    """
    chosen = _named(laws)
    seeds = seeds_from(data, origin, t_min, t_max, force=force)
    group = seeds.curves
    bins, notes = _bins(group, t_min, t_max)
    assumed = seed_noise(bins) if noise == "chosen" else named_noise(noise)
    check_growth(bins, assumed)
    defined = [law for law in chosen if bins.u[0] > law.after]
    notes += tuple(
        f"{law.name} is left out: it needs t > {math.exp(law.after):g}." for law in chosen if law not in defined
    )
    mixture = Mixture(bins) if len(group) < 3 else None
    age = age_of(group, bins.fit_range)
    memory = age.memory if age.memory is not None and math.isfinite(age.memory) else None
    fitted = [fit_law(law, bins, assumed, mixture) for law in defined]
    fits = _compared(fitted, bins, mixture, _predicted(group[0], memory))
    pairs = at_other_origins(seeds, bins, age) if len(group) >= 3 else []
    invariance = law_invariance(fits[0].law, bins, pairs, assumed)
    warnings = (
        *filter(None, [seeds.origin_choice]),
        *seeds.notes,
        *standing_apart(bins),
        *age.warnings,
        *_provisional(len(group)),
        *_no_jump(fits),
        *_saturated(fits, memory),
        *drops_unknown(group),
        *notes,
    )
    return Comparison(
        fits,
        _verdict(fits, invariance),
        warnings,
        bins.fit_range,
        t_min is None,
        group[0].origin,
        len(group),
        str(assumed),
        invariance,
        age,
        bins.u,
        bins.z,
    )


def _bins(group: Sequence[Curve], t_min: float | None, t_max: float | None) -> tuple[Bins, tuple[str, ...]]:
    if t_min is not None:
        return binned(group, t_min, t_max), ()
    start, _ = choose(starts(group, None, t_max, 0.95), None)
    return start.bins, (
        f"t_min was not given: all laws are compared from t = {start.t:.4g} on, the start that `fit` chooses from "
        "the data for the ultra-slow law. The intervals suppose that it was chosen beforehand. A rival may describe "
        "earlier updates too: give t_min to ask.",
    )


def _named(laws: Iterable[str] | None) -> list[Law]:
    if isinstance(laws, str) or not isinstance(laws, Iterable | None):
        raise LawError(f"laws = {laws!r}: expected a list of names, as in {[laws if laws in LAWS else 'power law']}")
    names = list(LAWS if laws is None else laws)
    if not names or any(not isinstance(name, str) or name not in LAWS for name in names):
        raise LawError(f"laws = {names}: expected names out of {', '.join(LAWS)}")
    return [LAWS[name] for name in dict.fromkeys(names)]


def _predicted(curve: Curve, memory: float | None) -> dict[str, float]:
    """Return what theory gives for parameters: the memory time, and where forgotten directions saturate."""
    if memory is None:
        return {}
    count = curve.config.get("directions")
    return {"tau": memory} | ({"D": math.sqrt(2 * count)} if count else {})


def _compared(
    fits: Sequence[FittedLaw], bins: Bins, mixture: Mixture | None, predicted: Mapping[str, float]
) -> tuple[LawFit, ...]:
    """Rank the fits by BIC, and add what only their comparison says of each."""
    best = min(fit.bic for fit in fits)
    total = sum(math.exp((best - fit.bic) / 2) for fit in fits)
    against = _second_witness(fits, bins, mixture)
    compared = [
        LawFit(
            **vars(fit),
            delta=fit.bic - best,
            weight=math.exp((best - fit.bic) / 2) / total,
            predicted={name: value for name, value in predicted.items() if name in fit.parameters},
            ruled_out=fit.bic - best >= SEPARABLE and against[fit.law.name],
        )
        for fit in fits
    ]
    return tuple(sorted(compared, key=lambda fit: fit.bic))


def _second_witness(fits: Sequence[FittedLaw], bins: Bins, mixture: Mixture | None) -> dict[str, bool]:
    """Say for each law, by name, whether evidence that does not rest on Brownian noise is against it."""
    if len(bins.z) >= 3:
        return {fit.law.name: fit.rejected or fit.intervals.get("c2", _ANY)[1] < 0 for fit in fits}
    low, high = _alpha_interval(bins, mixture)
    return {fit.law.name: fit.law.alpha is None or fit.law.alpha < low or fit.law.alpha > high for fit in fits}


def _alpha_interval(bins: Bins, mixture: Mixture | None) -> tuple[float, float]:
    """Return the 95 % interval under the noise mixture; the whole line, where the curve does not grow."""
    try:
        return estimate(bins, 0.95, mixture).interval
    except GrowthError:
        return -math.inf, math.inf


def _verdict(fits: Sequence[LawFit], invariance: Invariance) -> str:
    """Say which law is separated, or which are not, and whether the best one moves with the fit range."""
    found = _separation(fits)
    if fits[0].rejected or not invariance.moves:
        return found
    return (
        f"{found} But {fits[0].law.name} moves with {invariance.moves_with}: {invariance.worst} "
        f"(p = {invariance.p_value:.2g}). It is no law of the motion."
    )


def _separation(fits: Sequence[LawFit]) -> str:
    best, near = fits[0], [fit for fit in fits[1:] if not fit.ruled_out]
    holding = [fit for fit in near if not fit.rejected]
    if best.rejected and not holding:
        return _none_fits(best, [fit.law.name for fit in (best, *near) if fit.size.close])
    if best.rejected:
        names, s = _listed([fit.law.name for fit in holding]), "s" if len(holding) == 1 else ""
        return f"{best.law.name} has the lowest BIC, but is rejected (p = {best.p_value:.2g}); {names} hold{s}."
    if len(fits) == 1:
        return f"{best.law.name}: {best.agreement} (p = {best.p_value:.2g}, {best.size}); no other law was asked for."
    wider = [fit.law.name for fit in holding if best.law.name in fit.law.contains]
    alike = [fit.law.name for fit in holding if best.law.name not in fit.law.contains]
    beside = f" {_contained(best, wider)}" if wider else ""
    if alike:
        return f"Not separable: {best.law.name} has the lowest BIC, and {_listed(alike)} may hold as well.{beside}"
    return f"{best.law.name} is separated from the other laws.{beside}"


def _contained(best: LawFit, wider: Sequence[str]) -> str:
    if len(wider) == 1:
        return f"{wider[0]} fits no better; {best.law.name} is a special case of it."
    return f"{_listed(wider)} fit no better; {best.law.name} is a special case of each."


def _none_fits(best: LawFit, close: Sequence[str]) -> str:
    found = f"None of these laws fits this range: the best, {best.law.name}, has p = {best.p_value:.2g} ({best.size})"
    return f"{found}. Rejected, though close: {', '.join(close)}." if close else f"{found}, and none is close."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _provisional(n: int) -> tuple[str, ...]:
    if n >= 3:
        return ()
    return ("Provisional: with fewer than three runs, the bend of a law and smooth noise cannot be told apart.",)


def _no_jump(fits: Sequence[LawFit]) -> tuple[str, ...]:
    """Name the laws after a jump, among those not ruled out, whose c² is negative."""
    names = [fit.law.name for fit in fits if not fit.ruled_out and fit.parameters.get("c2", 0.0) < 0]
    if not names:
        return ()
    return (f"{_listed(names)} find{'s' if len(names) == 1 else ''} no jump on this range: c² is negative.",)


def _saturated(fits: Sequence[LawFit], memory: float | None) -> tuple[str, ...]:
    """Compare the fitted τ of saturating laws that are not ruled out with the weight-decay memory."""
    found = [fit for fit in fits if "tau" in fit.parameters and not fit.ruled_out]
    if memory is None or not found:
        return ()
    times = ", ".join(f"{fit.law.name} τ = {fit.parameters['tau']:.3g}" for fit in found)
    return (
        f"A distance that saturates is not excluded: {times} updates. Weight decay alone would saturate it within a "
        f"factor of 7 of its memory time, {memory:.3g} updates.",
    )
