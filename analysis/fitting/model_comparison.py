"""Rival laws on one window under the same correlated noise: BIC weights, prediction, and an honest verdict.

Every law is log d = a + h(u; θ) + Brownian motion in u = log t. Increments, whitened by √Δu, leave a out; with
n seeds of K increments each and sums of squares about the law's best θ,

    BIC = nK log(RSS / nK) + k log nK,     weight ∝ exp(−BIC/2),     k: parameters in θ.

A law is ruled out by a BIC 6 above the best (odds of 20 to 1; Kass & Raftery 1995 call more "strong"), and by a
second witness that does not rest on Brownian noise, since under smoother noise BIC alone turns down true laws
(`bench/intervals.py`): from three seeds on, its goodness of fit, whose t-tests hold for any noise; below, the
interval of α under the mixture of noise models, for the laws that hold an α. Laws that are not ruled out are not
separable from the best, and are said to be so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from analysis.curve import Curve, Curves, curves
from analysis.errors import GrowthError, LawError
from analysis.fitting.diagnostics import shortest_memory
from analysis.fitting.estimator import estimate
from analysis.fitting.fit import jsonable
from analysis.fitting.goodness_of_fit import deviations, seeds_p, single_p
from analysis.fitting.laws import LAWS, Array, Branch, Law
from analysis.fitting.log_bins import Bins, binned
from analysis.fitting.noise_models import whitener
from analysis.fitting.start_scan import ACCEPTED, choose, windows
from analysis.fitting.variable_projection import centred

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEPARABLE = 6.0
_TRAINED = 2 / 3  # of the window in log t; the rest is predicted


@dataclass(frozen=True, eq=False)
class LawFit:
    """One law on the window.

    parameters: by their readers' names; bound: a parameter stopped at an end of the range searched;
    bic, delta (to the best law), weight; goodness: p-value; misfit: rms of the mean log d about the law;
    held_out: rms error of log d over the last third of the window in log t, predicted from the rest;
    ruled_out: see the module; curve: (bin,) log d of the law.
    """

    law: Law
    parameters: dict[str, float]
    bound: bool
    bic: float
    delta: float
    weight: float
    goodness: float
    misfit: float
    held_out: float
    ruled_out: bool
    curve: Array

    @property
    def verdict(self) -> str:
        """One of: best; best, but misfit; not separable (from the best); ruled out."""
        if self.delta == 0:
            return "best" if self.goodness >= ACCEPTED else "best, but misfit"
        return "ruled out" if self.ruled_out else "not separable"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Laws compared on one window, the best first.

    fits: one per law; verdict: a plain sentence; warnings: more of them; window, n, noise: what was compared;
    origin: t counts from this update; memory: weight-decay memory time in updates, if the runs' settings give it;
    u (bin,), z (curve, bin).
    """

    fits: tuple[LawFit, ...]
    verdict: str
    warnings: tuple[str, ...]
    window: tuple[float, float]
    origin: int
    n: int
    noise: str
    memory: float | None
    u: Array
    z: Array

    @property
    def best(self) -> str:
        """The name of the law with the lowest BIC."""
        return self.fits[0].law.name

    @property
    def not_separable(self) -> tuple[str, ...]:
        """The names of the laws that are neither the best nor ruled out."""
        return tuple(fit.law.name for fit in self.fits[1:] if not fit.ruled_out)

    @property
    def held_out_from(self) -> float:
        """The t at which the last third of the window in log t begins: what `LawFit.held_out` predicts."""
        return math.exp(self.u[0] + _TRAINED * (self.u[-1] - self.u[0]))

    @property
    def residuals(self) -> pd.DataFrame:
        """Mean log d less each law: index t, one column per law."""
        mean = self.z.mean(axis=0)
        index = pd.Index(np.exp(self.u), name="t")
        return pd.DataFrame({fit.law.name: mean - fit.curve for fit in self.fits}, index=index)

    def to_frame(self) -> pd.DataFrame:
        """One row per law."""
        columns = ("bic", "delta", "weight", "goodness", "misfit", "held_out", "verdict")
        rows = [
            {"law": fit.law.name, "formula": fit.law.formula, "parameters": _parameters(fit)}
            | {column: getattr(fit, column) for column in columns}
            for fit in self.fits
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the bins, fit for JSON."""
        rows = self.to_frame().drop(columns="parameters").to_dict("records")
        return jsonable(
            {
                "best": self.best,
                "not_separable": list(self.not_separable),
                "verdict": self.verdict,
                "window": list(self.window),
                "origin": self.origin,
                "n": self.n,
                "noise": self.noise,
                "memory": self.memory,
                "laws": [
                    row | {"parameters": fit.parameters, "bound": fit.bound}
                    for row, fit in zip(rows, self.fits, strict=True)
                ],
                "warnings": list(self.warnings),
            }
        )

    def __str__(self) -> str:
        frame = self.to_frame()
        style = {
            "delta": "{:.1f}",
            "weight": "{:.2g}",
            "goodness": "{:.2g}",
            "misfit": "{:.2%}",
            "held_out": "{:.2%}",
        }
        columns = ["law", "parameters", *style, "verdict"]
        table = frame.to_string(
            index=False, columns=columns, formatters={key: form.format for key, form in style.items()}
        )
        since = f" after update {self.origin}" if self.origin else ""
        window = f"t = {self.window[0]:g} .. {self.window[1]:g}{since}"
        head = f"{window}, {len(self.u)} log bins, n = {self.n}, {self.noise} noise"
        memory = [] if self.memory is None else [f"weight-decay memory (1-mu)/(lr wd) = {self.memory:.3g} updates"]
        return "\n".join([head, table, *memory, self.verdict, *(f"! {sentence}" for sentence in self.warnings)])

    def plot(self) -> "Figure":
        """Data, laws and residuals, drawn by `analysis.figures.runs.compare`."""
        from analysis import figures

        return figures.compare(self)


def compare(
    data: Curves,
    laws: Sequence[str] | None = None,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    origin: int = 0,
    noise: str = "brownian",
) -> Comparison:
    """Compare laws on one window of one run or of several seeds of one experiment.

    laws: names out of `laws.LAWS`, default all. The window is the one that `fit` takes. noise: "brownian" in
    log t, or "independent" (log bins), which finds a true power law far less often.
    Raises LawError, and what `fit` raises.
    """
    chosen = _named(laws)
    group = curves(data, origin=origin)
    bins, notes = _window(group, t_min, t_max)
    defined = [law for law in chosen if bins.u[0] > law.after]
    notes += tuple(
        f"{law.name} is left out: it needs t > {math.exp(law.after):g}." for law in chosen if law not in defined
    )
    fits = _judged(_ranked([_fit_law(law, bins, noise) for law in defined]), bins)
    memory = shortest_memory(group)
    warnings = _provisional(len(group)) + _saturated(fits, memory) + notes
    return Comparison(
        fits, _verdict(fits), warnings, bins.window, group[0].origin, len(group), noise, memory, bins.u, bins.z
    )


def _window(group: Sequence[Curve], t_min: float | None, t_max: float | None) -> tuple[Bins, tuple[str, ...]]:
    if t_min is not None:
        return binned(group, t_min, t_max), ()
    window, notes = choose(windows(group, None, t_max, 0.95), None)
    return window.bins, notes


def _named(laws: Sequence[str] | None) -> list[Law]:
    unknown = [name for name in laws or () if name not in LAWS]
    if unknown or (laws is not None and not laws):
        raise LawError(f"laws = {list(laws or ())}: expected names out of {', '.join(LAWS)}")
    return [LAWS[name] for name in laws or LAWS]


def _least_squares(branch: Branch, u: Array, mean: Array, noise: str) -> tuple[Array, Array]:
    """θ that brings the law closest to the mean, by grid and trust region, and the whitened residual."""
    whiten = whitener(noise, u)
    y = whiten(mean)
    if not branch.axes:
        theta = np.empty(0)
        return theta, y - whiten(branch.shape(u, theta))
    grid = np.stack(np.meshgrid(*branch.axes, indexing="ij"), axis=-1).reshape(-1, len(branch.axes))
    distance = np.sum((y - whiten(branch.shape(u, grid))) ** 2, axis=1)
    start = grid[np.argmin(distance)]
    low, high = (np.array([axis[end] for axis in branch.axes]) for end in (0, -1))
    inside = np.clip(start, low + 1e-9 * (high - low), high - 1e-9 * (high - low))
    found = least_squares(
        lambda theta: y - whiten(branch.shape(u, theta)),
        inside,
        bounds=(low, high),
        x_scale=high - low,
        xtol=1e-10,
    )
    return found.x, found.fun


def _fit_law(law: Law, bins: Bins, noise: str) -> LawFit:
    u, mean, n = bins.u, bins.z.mean(axis=0), len(bins.z)
    branch, whiten = law.on(u), whitener(noise, u)
    theta, residual = _least_squares(branch, u, mean, noise)
    shape = branch.shape(u, theta)
    curve = shape + float(np.mean(mean - shape))
    spread = whiten(bins.z - mean)
    count = n * (len(u) - 1)
    rss = n * float(residual @ residual) + float(np.sum(spread**2)) + 1e-30
    return LawFit(
        law=law,
        parameters=branch.report(theta),
        bound=_at_bound(branch, theta),
        bic=count * math.log(rss / count) + len(theta) * math.log(count),
        delta=math.nan,
        weight=math.nan,
        goodness=_goodness(branch, bins, theta, noise),
        misfit=float(np.sqrt(np.mean((mean - curve) ** 2))),
        held_out=_held_out(law, u, mean, noise),
        ruled_out=False,
        curve=curve,
    )


def _at_bound(branch: Branch, theta: Array) -> bool:
    for value, axis in zip(theta, branch.axes, strict=True):
        if min(value - axis[0], axis[-1] - value) < 1e-3 * (axis[-1] - axis[0]):
            return True
    return False


def _goodness(branch: Branch, bins: Bins, theta: Array, noise: str) -> float:
    u, whiten = bins.u, whitener(noise, bins.u)
    nudges = 1e-6 * np.diag(np.maximum(1.0, np.abs(theta)))
    tangent = np.array([branch.shape(u, theta + step) - branch.shape(u, theta - step) for step in nudges])
    tangent = whiten(tangent.reshape(len(theta), len(u)))
    y, added = whiten(bins.z - branch.shape(u, theta)), whiten(deviations(centred(u)))
    if len(y) >= 3:
        return seeds_p(y, tangent, added)
    return single_p(y.mean(axis=0), tangent, added, len(u) - 1)


def _held_out(law: Law, u: Array, mean: Array, noise: str) -> float:
    """rms error of the last third in log t, predicted from the last value before it (Brownian noise)."""
    seen = int(np.searchsorted(u, u[0] + _TRAINED * (u[-1] - u[0]), side="right"))
    branch = law.on(u[:seen])
    theta, _ = _least_squares(branch, u[:seen], mean[:seen], noise)
    with np.errstate(invalid="ignore", divide="ignore"):
        shape = branch.shape(u, theta)
    error = (mean - shape)[seen:] - (mean - shape)[seen - 1]
    return float(np.sqrt(np.mean(error**2))) if np.isfinite(error).all() else math.inf


def _ranked(fits: Sequence[LawFit]) -> tuple[LawFit, ...]:
    """Sorted by BIC, with the differences to the best and the weights filled in."""
    best = min(fit.bic for fit in fits)
    total = sum(math.exp((best - fit.bic) / 2) for fit in fits)
    weighed = [replace(fit, delta=fit.bic - best, weight=math.exp((best - fit.bic) / 2) / total) for fit in fits]
    return tuple(sorted(weighed, key=lambda fit: fit.bic))


def _judged(fits: Sequence[LawFit], bins: Bins) -> tuple[LawFit, ...]:
    """The fits with their `ruled_out` filled in."""
    if len(bins.z) >= 3:
        return tuple(replace(fit, ruled_out=fit.delta >= SEPARABLE and fit.goodness < ACCEPTED) for fit in fits)
    low, high = _alpha_interval(bins)
    outside = [fit.law.alpha is None or not low <= fit.law.alpha <= high for fit in fits]
    return tuple(
        replace(fit, ruled_out=fit.delta >= SEPARABLE and far) for fit, far in zip(fits, outside, strict=True)
    )


def _alpha_interval(bins: Bins) -> tuple[float, float]:
    """The 95 % interval under the noise mixture; everything, where the curve does not grow."""
    try:
        return estimate(bins, 0.95).interval
    except GrowthError:
        return -math.inf, math.inf


def _verdict(fits: Sequence[LawFit]) -> str:
    best, near = fits[0], [fit for fit in fits[1:] if not fit.ruled_out]
    if all(fit.goodness < ACCEPTED for fit in (best, *near)):
        return f"None of these laws fits this window: the best, {best.law.name}, has p = {best.goodness:.2g}."
    wider = ", ".join(fit.law.name for fit in near if best.law.name in fit.law.contains)
    alike = ", ".join(fit.law.name for fit in near if best.law.name not in fit.law.contains)
    if alike:
        also = f", nor {wider}, which contains it" if wider else ""
        return f"Not separable: {best.law.name} has the lowest BIC, but {alike} cannot be ruled out{also}."
    beside = f"; {wider}, which contains it, fits no better" if wider else ""
    return f"{best.law.name} is separated from the other laws{beside}."


def _provisional(n: int) -> tuple[str, ...]:
    if n >= 3:
        return ()
    return ("Provisional: fewer than three runs cannot tell a law's bend from smooth noise between seeds.",)


def _saturated(fits: Sequence[LawFit], memory: float | None) -> tuple[str, ...]:
    """A fitted τ beside the weight-decay memory, for the saturating laws that are not ruled out."""
    found = [fit for fit in fits if "tau" in fit.parameters and not fit.ruled_out]
    if memory is None or not found:
        return ()
    times = ", ".join(f"{fit.law.name} τ = {fit.parameters['tau']:.3g}" for fit in found)
    return (f"Saturation is in play: {times} updates, against a weight-decay memory of {memory:.3g}.",)


def _parameters(fit: LawFit) -> str:
    text = ", ".join(f"{name} = {value:.3g}" for name, value in fit.parameters.items())
    return f"{text} (at its bound)" if fit.bound else text
