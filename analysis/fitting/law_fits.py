"""One law's least squares on one set of bins: its parameters, its BIC, its p-value, and how well it predicts.

Every law is log d = a + h(u; θ) + noise, u = log t. Whitened (`SeedNoise.on`), a drops out. With n seeds of
K whitened values each, and RSS their sum of squares about the best θ of their mean,

    BIC = nK log(RSS / nK) + k log nK,     k: parameters in θ.

From three seeds on each is fitted by itself too, and a parameter's interval is Student's over the seeds: of log τ
and log D where it is a time or an amplitude.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import special

from analysis.fitting.comparison_result import TRAINED_SHARE, FittedLaw
from analysis.fitting.effect_size import effect_size
from analysis.fitting.invariance import Change, Invariance, over_seeds, range_parts, standard_error
from analysis.fitting.law_test import p_value
from analysis.fitting.laws import Array, Branch, Law
from analysis.fitting.least_squares import least_squares, slopes
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.seed_noise import BROWNIAN, SeedNoise

_CONFIDENCE = 0.95
_SCALES = ("tau", "D")  # whose logarithms are averaged


def fit_law(law: Law, bins: Bins, noise: SeedNoise = BROWNIAN, mixture: Mixture | None = None) -> FittedLaw:
    """Fit one law.

    Args:
        law: the law.
        bins: one curve, or one per seed.
        noise: that the law is fitted under.
        mixture: the noise mixture on these bins, if it is at hand; it serves the p-value of fewer than three curves.

    Returns:
        The fit.
    """
    u, mean, n = bins.u, bins.z.mean(axis=0), len(bins.z)
    branch, whiten = law.on(u), noise.on(bins)
    each = np.vstack([mean, bins.z]) if n >= 3 else mean[None]
    thetas, misfits = least_squares(branch, u, each, whiten)
    theta, shapes = thetas[0], branch.shape(u, thetas)
    a = np.mean(each - shapes, axis=1)
    found = [branch.report(*pair) for pair in zip(thetas, a.tolist(), strict=True)]
    count = n * (len(u) - 1)
    rounding = 1e-20 * float(np.sum(whiten(bins.z) ** 2)) + 1e-300
    rss = n * float(misfits[0]) + float(np.sum(whiten(bins.z - mean) ** 2)) + rounding
    return FittedLaw(
        law=law,
        parameters=found[0],
        intervals=_intervals(found[1:]),
        at_bound=_at_bound(branch, theta),
        bic=count * math.log(rss / count) + len(theta) * math.log(count),
        p_value=p_value(bins, shapes[0], slopes(branch, u, thetas[:1])[0], whiten if n >= 3 else mixture),
        size=effect_size(bins.z, a[0] + shapes[0]),
        holdout=_holdout(law, bins, noise),
        curve=a[0] + shapes[0],
    )


def seed_parameters(law: Law, bins: Bins, noise: SeedNoise = BROWNIAN) -> dict[str, Array]:
    """Fit a law to each seed by itself.

    Args:
        law: the law.
        bins: one curve per seed.
        noise: that each is fitted under.

    Returns:
        (seed,) values of each parameter, by name.
    """
    u, z, branch = bins.u, bins.z, law.on(bins.u)
    thetas, _ = least_squares(branch, u, z, noise.on(bins))
    a = np.mean(z - branch.shape(u, thetas), axis=1)
    return _by_name([branch.report(*pair) for pair in zip(thetas, a.tolist(), strict=True)])


def law_invariance(
    law: Law, bins: Bins, origins: Sequence[tuple[int, Bins, Bins]] = (), noise: SeedNoise = BROWNIAN
) -> Invariance:
    """Test whether a law's parameters are the same on parts of the fit range, and from other origins (`invariance`).

    Args:
        law: the law.
        bins: one per seed.
        origins: for each other origin the update, the bins from there, and those of the fit's own on the same range.
        noise: that each seed is fitted under.

    Returns:
        The test; without changes for fewer than three seeds, and for a law without parameters.
    """
    if len(bins.z) < 3:
        return Invariance(())
    whole = seed_parameters(law, bins, noise)
    units = {"c2": math.exp(2 * float(bins.z.mean())), "K": 0.0}  # c² is a part of d², and K its own measure
    changes: list[Change] = []
    for what, part in range_parts(bins.u):
        changes += _changes(what, seed_parameters(law, bins.part(part), noise), whole, units)
    for origin, there, here in origins:
        own = whole if here is bins else seed_parameters(law, here, noise)
        changes += _changes(f"from update {origin}", seed_parameters(law, there, noise), own, units, origin)
    return Invariance(tuple(changes))


def _changes(
    what: str, there: dict[str, Array], whole: dict[str, Array], units: dict[str, float], origin: int | None = None
) -> Iterator[Change]:
    for name, values in there.items():
        pair = (np.log(values), np.log(whole[name])) if name in _SCALES else (values, whole[name])
        if np.isfinite(pair).all():
            called = f"log_{name}" if name in _SCALES else name
            yield over_seeds(what, called, pair[0], pair[1], origin, units.get(name, 1.0))


def interval_over_seeds(values: Array, confidence_level: float = _CONFIDENCE) -> tuple[float, float]:
    """Compute Student's interval for the mean of independent seeds.

    Args:
        values: (seed,) a number of each.
        confidence_level: of the interval.

    Returns:
        Its ends.
    """
    mean = float(values.mean())
    half = float(special.stdtrit(len(values) - 1, (1 + confidence_level) / 2)) * standard_error(values)
    return mean - half, mean + half


def _by_name(rows: list[dict[str, float]]) -> dict[str, Array]:
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _intervals(seeds: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return each parameter's t interval over the seeds, but for those that are not finite in each seed."""
    found = {}
    for name, values in _by_name(seeds).items():
        if np.isfinite(values).all():
            low, high = interval_over_seeds(np.log(values) if name in _SCALES else values)
            found[name] = (math.exp(low), math.exp(high)) if name in _SCALES else (low, high)
    return found


def _at_bound(branch: Branch, theta: Array) -> bool:
    low, high = branch.bounds.T
    return bool(np.any(np.minimum(theta - low, high - theta) < 1e-3 * (high - low)))


def _holdout(law: Law, bins: Bins, noise: SeedNoise) -> float:
    """Predict the last third in log t from the last value before it: the root mean square error."""
    u, mean = bins.u, bins.z.mean(axis=0)
    seen = int(np.searchsorted(u, u[0] + TRAINED_SHARE * (u[-1] - u[0]), side="right"))
    branch, whiten = law.on(u[:seen]), noise.on(bins.part(slice(seen)))
    theta, _ = least_squares(branch, u[:seen], mean[None, :seen], whiten)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shape = branch.shape(u, theta)[0]
    error = (mean - shape)[seen:] - (mean - shape)[seen - 1]
    return float(np.sqrt(np.mean(error**2))) if np.isfinite(error).all() else math.inf
