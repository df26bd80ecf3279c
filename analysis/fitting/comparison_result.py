"""What `compare` returns: frozen, complete when it is made. Nothing is estimated here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from analysis.fitting.age import Age
from analysis.fitting.effect_size import EffectSize, Judged
from analysis.fitting.former_names import FormerNames
from analysis.fitting.invariance import Invariance
from analysis.fitting.law_test import goodness_test
from analysis.fitting.laws import PARAMETERS, Array, Law
from analysis.serialize import Part, Table, Tabulated, jsonable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINED_SHARE = 2 / 3  # of the fit range in log t; the rest is what a law has to predict
_SIZES = ("rms_residual", "max_residual", "residual_in_spreads")
_COMPARED = ("bic", "delta", "weight", "p_value", *_SIZES, "holdout", "agreement", "verdict")


_COLUMNS = ("law", "parameters", "delta", "weight", "p_value", "rms", "largest", "in spreads", "holdout", "verdict")


@dataclass(frozen=True, eq=False)
class FittedLaw(Judged):
    """One law, fitted to the range of a comparison by itself.

    Attributes:
        law: the law.
        parameters: by the names that its formula gives them.
        intervals: of those parameters, 95 % t intervals over the seeds; none below three seeds.
        at_bound: whether a parameter stopped at an end of the range searched.
        bic: Bayes' information criterion under the comparison's noise.
        p_value: of the law's goodness of fit.
        size: how far the mean log d lies from the law.
        holdout: root mean square error of log d over the last third of the fit range in log t, predicted from the
            rest.
        curve: (bin,) log d of the law.
    """

    law: Law
    parameters: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    at_bound: bool
    bic: float
    p_value: float
    size: EffectSize
    holdout: float
    curve: Array


@dataclass(frozen=True, eq=False)
class LawFit(FittedLaw, FormerNames):
    """One law, fitted and compared with the others.

    Attributes:
        delta: how far its BIC lies above the best law's.
        weight: proportional to exp(−bic/2); a comparison's weights sum to one.
        predicted: what theory gives for parameters, where the runs' settings tell: τ of a saturation is the memory of
            weight decay, and D of directions (`analysis.directions`) that of forgotten ones.
        ruled_out: whether BIC and a second witness are against it (`analysis.fitting.model_comparison`).

    Examples:
        >>> import numpy as np
        >>> from analysis import compare
        >>> t = np.geomspace(10, 10_000, 40)
        >>> law = compare((t, t**0.25), ["power law"], t_min=10).fits[0]
        >>> law.law.formula, round(law.parameters["q"], 3), law.verdict
        ('t^q', 0.25, 'best')
    """

    delta: float
    weight: float
    predicted: dict[str, float]
    ruled_out: bool

    former_names: ClassVar[Mapping[str, str]] = {
        "bound": "at_bound",
        "goodness": "p_value",
        "misfit": "rms_residual",
        "held_out": "holdout",
    }

    @property
    def meaning(self) -> dict[str, str]:
        """What each parameter means, in a phrase."""
        return {name: PARAMETERS[name] for name in self.parameters}

    @property
    def verdict(self) -> str:
        """One of: best; best, but with an agreement of its own; not separable; ruled out; the agreement.

        The agreement (rejected, though close; wrong; or not rejected, though far) is told of laws that BIC does not
        rule out and that do not hold.
        """
        holds = self.agreement == "holds"
        if self.delta == 0:
            return "best" if holds else f"best, but {self.agreement}"
        if self.ruled_out:
            return "ruled out"
        return "not separable" if holds else self.agreement


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(FormerNames, Tabulated):
    """Laws compared on one fit range, the best first.

    Attributes:
        fits: one per law, by BIC.
        verdict: what the comparison says, in a sentence.
        warnings: what to know beside it, in plain sentences.
        fit_range: the first and last t used, in updates.
        start_chosen: whether its start was chosen from the data, as `fit` chooses it; intervals suppose that it was
            not.
        origin: the update from which t counts.
        n: number of curves.
        noise: the noise that every law was fitted under, in words.
        invariance: whether the best law's parameters stay the same on parts of the fit range and from other
            recorded origins; nothing is asked below three seeds.
        age: how old the origin and the fit range are, in memory times of weight decay.
        u: (bin,) mean log t of the log bins.
        z: (curve, bin) mean log d of each.

    Examples:
        >>> import numpy as np
        >>> from analysis import compare
        >>> t = np.geomspace(10, 10_000, 40)
        >>> found = compare((t, t**0.25), ["power law", "pure log"], t_min=10)
        >>> found.best, found.to_frame()["law"].tolist()
        ('power law', ['power law', 'pure log'])
    """

    fits: tuple[LawFit, ...]
    verdict: str
    warnings: tuple[str, ...]
    fit_range: tuple[float, float]
    start_chosen: bool
    origin: int
    n: int
    noise: str
    invariance: Invariance
    age: Age
    u: Array
    z: Array

    former_names: ClassVar[Mapping[str, str]] = {"window": "fit_range", "held_out_from": "holdout_from"}

    @property
    def best(self) -> str:
        """The name of the law with the lowest BIC."""
        return self.fits[0].law.name

    @property
    def not_separable(self) -> tuple[str, ...]:
        """The names of the laws that are neither the best nor ruled out nor rejected."""
        return tuple(fit.law.name for fit in self.fits[1:] if not fit.ruled_out and not fit.rejected)

    @property
    def memory(self) -> float | None:
        """The memory time of weight decay, in updates; None if nothing decays, or the runs' settings do not say."""
        return self.age.memory if self.age.memory is not None and math.isfinite(self.age.memory) else None

    @property
    def goodness_test(self) -> str:
        """The one test that all its p-values come from, in words: that of `fit`."""
        return goodness_test(self.n)

    @property
    def holdout_from(self) -> float:
        """The t at which the last third of the fit range in log t begins: what `LawFit.holdout` predicts."""
        return math.exp(self.u[0] + TRAINED_SHARE * (self.u[-1] - self.u[0]))

    @property
    def residuals(self) -> pd.DataFrame:
        """Mean log d less each law: index t, one column per law."""
        mean = self.z.mean(axis=0)
        index = pd.Index(np.exp(self.u), name="t")
        return pd.DataFrame({fit.law.name: mean - fit.curve for fit in self.fits}, index=index)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per law: its name, formula and parameters, its numbers, and the verdict on it."""
        return pd.DataFrame(
            [
                {"law": fit.law.name, "formula": fit.law.formula, "parameters": _parameters(fit)}
                | {column: getattr(fit, column) for column in _COMPARED}
                for fit in self.fits
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the bins, fit for JSON: None where a number is NaN or infinite."""
        names = (
            "best",
            "not_separable",
            "verdict",
            "fit_range",
            "start_chosen",
            "origin",
            "n",
            "noise",
            "goodness_test",
            "memory",
            "warnings",
        )
        laws = [
            {"law": fit.law.name, "formula": fit.law.formula, "motion": fit.law.motion}
            | {
                name: getattr(fit, name)
                for name in (*_COMPARED, "parameters", "intervals", "predicted", "meaning", "at_bound")
            }
            for fit in self.fits
        ]
        found = {name: getattr(self, name) for name in names} | {
            "laws": laws,
            "age": self.age.to_dict(),
            "invariance": self.invariance.to_dict(),
        }
        return {key: jsonable(value) for key, value in found.items()}

    def _summary(self) -> Sequence[Part]:
        start = ", its start chosen from the data" if self.start_chosen else ""
        what = f"{self.age.window}{start}, {len(self.u)} log bins, n = {self.n}, {self.noise} noise"
        rows = [
            (
                fit.law.name,
                _parameters(fit),
                f"{fit.delta:.1f}",
                f"{fit.weight:.2g}",
                f"{fit.p_value:.2g}",
                f"{fit.rms_residual:.2%}",
                f"{fit.max_residual:.2%}",
                f"{fit.residual_in_spreads:.2f}",
                f"{fit.holdout:.2%}",
                fit.verdict,
            )
            for fit in self.fits
        ]
        laws = Table(rows, _COLUMNS)
        return [
            what,
            f"{self.age}; expected there: {self.age.expected}",
            laws,
            f"{self.best}, the law of {self.fits[0].law.motion}: what its parameters mean",
            Table(
                [_explained(self.fits[0], name) for name in self.fits[0].parameters]
                or [("none", "", "its amplitude alone is free")]
            ),
            f"p-value: {self.goodness_test}",
            self.verdict,
            *(f"! {sentence}" for sentence in self.warnings),
        ]

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw data and laws.

        Args:
            ax: axes to draw into; by default a figure of its own, with the residuals below.

        Returns:
            The figure, as `analysis.figures.compare` makes it.
        """
        from analysis import figures  # see Fit.plot

        return figures.compare(self, ax)


def _explained(fit: LawFit, name: str) -> tuple[str, str, str]:
    value = f"{fit.parameters[name]:.4g}"
    if name in fit.intervals:
        low, high = fit.intervals[name]
        value += f" [{low:.4g}, {high:.4g}]"
    expected = f"; predicted {fit.predicted[name]:.3g}" if name in fit.predicted else ""
    return name, value, fit.meaning[name] + expected


def _parameters(fit: LawFit) -> str:
    values = ", ".join(f"{name} = {value:.3g}" for name, value in fit.parameters.items())
    return f"{values} (at its bound)" if fit.at_bound else values
