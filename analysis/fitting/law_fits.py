"""One law's least squares on one set of bins: its parameters, its BIC, its p-value, and how well it predicts.

Every law is log d = a + h(u; θ) + noise, u = log t. Whitened (`noise_models.whitener`), a drops out. With n seeds of
K whitened values each, and RSS their sum of squares about the best θ of their mean,

    BIC = nK log(RSS / nK) + k log nK,     k: parameters in θ.

From three seeds on each is fitted by itself too, and a parameter's interval is Student's over the seeds: of log τ
where it is a time.
"""

import math

import numpy as np
from scipy import special

from analysis.fitting.comparison_result import TRAINED_SHARE, FittedLaw
from analysis.fitting.effect_size import effect_size
from analysis.fitting.law_test import p_value
from analysis.fitting.laws import Array, Branch, Law
from analysis.fitting.least_squares import least_squares, slopes
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.noise_models import whitener

_CONFIDENCE = 0.95
_TIMES = ("tau",)  # whose logarithms are averaged


def fit_law(law: Law, bins: Bins, noise: str, mixture: Mixture | None = None) -> FittedLaw:
    """Fit one law.

    Args:
        law: the law.
        bins: one curve, or one per seed.
        noise: "brownian" in log t, or "independent".
        mixture: the noise mixture on these bins, if it is at hand; it serves the p-value of fewer than three curves.

    Returns:
        The fit.

    Raises:
        AnalysisError: for an unknown noise.
    """
    u, mean, n = bins.u, bins.z.mean(axis=0), len(bins.z)
    branch, whiten = law.on(u), whitener(noise, u)
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
        p_value=p_value(bins, shapes[0], slopes(branch, u, thetas[:1])[0], mixture),
        size=effect_size(bins.z, a[0] + shapes[0]),
        holdout=_holdout(law, u, mean, noise),
        curve=a[0] + shapes[0],
    )


def _intervals(seeds: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Return each parameter's t interval over the seeds, but for those that are not finite in each seed."""
    found = {}
    for name in seeds[0] if seeds else ():
        values = np.array([seed[name] for seed in seeds])
        values = np.log(values) if name in _TIMES else values
        if not np.isfinite(values).all():
            continue
        quantile = special.stdtrit(len(values) - 1, (1 + _CONFIDENCE) / 2)
        half = float(quantile * values.std(ddof=1) / math.sqrt(len(values)))
        low, high = float(values.mean()) - half, float(values.mean()) + half
        found[name] = (math.exp(low), math.exp(high)) if name in _TIMES else (low, high)
    return found


def _at_bound(branch: Branch, theta: Array) -> bool:
    low, high = branch.bounds.T
    return bool(np.any(np.minimum(theta - low, high - theta) < 1e-3 * (high - low)))


def _holdout(law: Law, u: Array, mean: Array, noise: str) -> float:
    """Predict the last third in log t from the last value before it (Brownian noise): the root mean square error."""
    seen = int(np.searchsorted(u, u[0] + TRAINED_SHARE * (u[-1] - u[0]), side="right"))
    branch, whiten = law.on(u[:seen]), whitener(noise, u[:seen])
    theta, _ = least_squares(branch, u[:seen], mean[None, :seen], whiten)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shape = branch.shape(u, theta)[0]
    error = (mean - shape)[seen:] - (mean - shape)[seen - 1]
    return float(np.sqrt(np.mean(error**2))) if np.isfinite(error).all() else math.inf
