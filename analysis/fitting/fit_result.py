"""What `fit` returns: frozen, complete when it is made. Nothing is estimated here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.fitting.effect_size import EffectSize, Judged
from analysis.fitting.former_names import FormerNames
from analysis.fitting.law_test import goodness_test
from analysis.fitting.laws import Array, growth, log_amplitude, log_t0
from analysis.serialize import Part, Table, Tabulated, jsonable, records, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IN_JSON = (
    "alpha", "interval", "interval_over_starts", "confidence_level", "exponent", "t0", "amplitude", "local_exponent",
    "law", "fit_range", "origin", "n", "verdict", "rejected", "p_value", "goodness_test", "rms_residual",
    "max_residual", "residual_in_spreads", "method", "provisional", "power_law_excluded", "warnings",
)  # fmt: skip
_SCANNED = {
    "t_min": ".4g",
    "bins": ".0f",
    "alpha": ".3f",
    "low": ".3f",
    "high": ".3f",
    "p_value": ".2g",
    "rms_residual": ".2%",
}


@dataclass(frozen=True)
class SeedEstimate(FormerNames):
    """One seed's own estimate.

    Attributes:
        name: of its curve.
        alpha: its α.
        local_exponent: its d log d / d log t at the middle of the fit range.
        interval: its confidence interval for α, where there are fewer than three seeds; else None.

    Examples:
        >>> import numpy as np
        >>> from analysis import fit
        >>> t = np.geomspace(1, 10_000, 50)
        >>> seeds = fit([(t, 2 * t**0.3), (t, 3 * t**0.4)]).seeds
        >>> [(seed.name, round(seed.local_exponent, 2)) for seed in seeds]
        [('curve 1', 0.3), ('curve 2', 0.4)]
    """

    name: str
    alpha: float
    local_exponent: float
    interval: tuple[float, float] | None = None

    former_names: ClassVar[Mapping[str, str]] = {"q": "local_exponent"}


@dataclass(frozen=True, eq=False, repr=False)
class Fit(FormerNames, Judged, Tabulated):
    """The law d = A |log(t/t₀)|^(2/α), fitted to one range of one or more curves.

    With z = log d, u = log t and u_m the middle of the range, z = a + q g_s(u − u_m) and α = 2 s / q
    (`analysis.fitting.laws`).

    Attributes:
        alpha: the estimate of α.
        interval: its confidence interval, which holds for a fit range that was chosen beforehand.
        interval_over_starts: the hull of the intervals over the starts at which the law holds, from this one to a
            decade later: what is known of α where the start was chosen from the data. None where the law holds at
            none of them.
        confidence_level: of these intervals, such as 0.95.
        local_exponent: q = d log d / d log t at the middle of the fit range.
        s: the family's bend at that point; 0 for a power law.
        a: log d at that point.
        law: the name of the law fitted.
        fit_range: the first and last t used, in updates.
        origin: the update from which t counts.
        n: number of curves fitted.
        p_value: of the law's goodness of fit. Below .05 the law does not hold and α describes nothing.
        size: how far the mean log d lies from the law.
        method: how α was estimated, in words.
        seeds: each curve's own estimate.
        posterior: for one run, α (200,) against its cumulative probability (200,); else None.
        scan: the same estimate for other starts, as `analysis.scan` returns it.
        warnings: what to know before quoting α, in plain sentences, the gravest first.
        u: (bin,) mean log t of the log bins fitted.
        z: (curve, bin) mean log d of each.

    Examples:
        >>> import numpy as np
        >>> from analysis import fit
        >>> t = np.geomspace(1, 10_000, 50)
        >>> found = fit((t, 2 * np.log(t / 0.1) ** 2))
        >>> round(found.alpha, 3), round(found.t0, 3), found.power_law_excluded
        (1.0, 0.1, True)
        >>> found.to_dict()["confidence_level"]
        0.95
    """

    alpha: float
    interval: tuple[float, float]
    interval_over_starts: tuple[float, float] | None
    confidence_level: float
    local_exponent: float
    s: float
    a: float
    law: str
    fit_range: tuple[float, float]
    origin: int
    n: int
    p_value: float
    size: EffectSize
    method: str
    seeds: tuple[SeedEstimate, ...]
    posterior: tuple[Array, Array] | None
    scan: pd.DataFrame
    warnings: tuple[str, ...]
    u: Array
    z: Array

    former_names: ClassVar[Mapping[str, str]] = {
        "window_interval": "interval_over_starts",
        "level": "confidence_level",
        "q": "local_exponent",
        "window": "fit_range",
        "goodness": "p_value",
        "misfit": "rms_residual",
    }

    @property
    def middle(self) -> float:
        """The t at the middle of the fit range in log t, where the local exponent is taken."""
        return math.exp(self._u_middle)

    @property
    def _u_middle(self) -> float:
        return float(self.u[0] + self.u[-1]) / 2

    @property
    def exponent(self) -> float:
        """2/α, infinite for the power law."""
        return 2 / self.alpha if self.alpha else math.inf

    @property
    def t0(self) -> float:
        """t₀ in updates: 0 for the power law, beyond the fit range for α < 0."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(log_t0(self.s, self._u_middle)))

    @property
    def amplitude(self) -> float:
        """A, in units of d; may overflow to infinity as α → 0, where d = A t^q takes over."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(log_amplitude(self.a, self.local_exponent, self.s, self._u_middle)))

    @property
    def goodness_test(self) -> str:
        """The test that the p-value comes from, in words: `compare` uses the same."""
        return goodness_test(self.n)

    @property
    def verdict(self) -> str:
        """What p-value and size of the misfit say together: holds; rejected, though close; wrong.

        A rejected law is close where its rms residual is at most 1 % of d and a twentieth of what log d grows by, and
        its largest residual at most 3 %.
        """
        return self.agreement

    @property
    def provisional(self) -> bool:
        """Whether there are fewer than three seeds."""
        return self.n < 3

    @property
    def power_law_excluded(self) -> bool:
        """Whether α's confidence interval leaves out 0."""
        return self.interval[0] > 0 or self.interval[1] < 0

    @property
    def residuals(self) -> Array:
        """(curve, bin): log d less the law."""
        return self.z - np.log(self.predict(np.exp(self.u)))

    def predict(self, t: ArrayLike) -> Array:
        """Return the law's distance after t updates.

        Args:
            t: updates since the origin, of any shape.

        Returns:
            Distances of the same shape; NaN on the far side of t₀.
        """
        x = np.log(np.asarray(t, float)) - self._u_middle
        return np.exp(self.a + self.local_exponent * growth(self.s, np.where(self.s * x > -1, x, np.nan)))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, fit for JSON: None where a number is NaN or infinite."""
        found = {name: getattr(self, name) for name in _IN_JSON}
        found |= {"bins": len(self.u), "seeds": [asdict(seed) for seed in self.seeds], "scan": records(self.scan)}
        return {key: jsonable(value) for key, value in found.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return one row, to be stacked with other fits."""
        low, high = self.interval
        low_over_starts, high_over_starts = self.interval_over_starts or (math.nan, math.nan)
        row = {
            "alpha": self.alpha,
            "low": low,
            "high": high,
            "confidence_level": self.confidence_level,
            "exponent": self.exponent,
            "low_over_starts": low_over_starts,
            "high_over_starts": high_over_starts,
            "t0": self.t0,
            "amplitude": self.amplitude,
            "local_exponent": self.local_exponent,
            "t_min": self.fit_range[0],
            "t_max": self.fit_range[1],
            "n": self.n,
            "bins": len(self.u),
            "p_value": self.p_value,
            "rms_residual": self.rms_residual,
            "max_residual": self.max_residual,
            "residual_in_spreads": self.residual_in_spreads,
            "verdict": self.verdict,
        }
        return pd.DataFrame([row])

    def __str__(self) -> str:
        starts = [[format(row[name], form) for name, form in _SCANNED.items()] for _, row in self.scan.iterrows()]
        scan = Table(starts, tuple(_SCANNED))
        warnings = ["", *self._warnings()] if self.warnings else []
        return text([self._facts(), "", "α against the start of the fit range", scan, *warnings])

    def _summary(self) -> Sequence[Part]:
        return [self._facts(), *self._warnings()]

    def _facts(self) -> Table:
        rows = [
            ("α", f"{self.alpha:.3f}   {100 * self.confidence_level:g} % confidence interval {_pair(self.interval)}"),
            ("over the starts", self._over_starts()),
            ("law", f"{self.law}, d = {self._formula()}"),
            ("local exponent", f"{self.local_exponent:.4f} at t = {self.middle:.0f}"),
            ("fit range", f"{in_words(self.fit_range, self.origin)}, {len(self.u)} log bins"),
            ("method", self.method),
            ("verdict on the law", f"{self.verdict}: p = {self.p_value:.2g}, {self.size}"),
            ("p-value", self.goodness_test),
            ("power law, α = 0", "excluded" if self.power_law_excluded else "not excluded"),
        ]
        if self.n > 1:
            rows += [(f"α of {seed.name}", f"{seed.alpha:.3f}{_own(seed.interval)}") for seed in self.seeds]
        return Table(rows)

    def _warnings(self) -> list[str]:
        return [f"! {sentence}" for sentence in self.warnings]

    def _over_starts(self) -> str:
        if self.interval_over_starts is None:
            return "no start from here to a decade later gives a good fit"
        return f"{_pair(self.interval_over_starts)}, the hull of the intervals of those that fit"

    def _formula(self) -> str:
        if 0 < self.t0 < math.inf and 0 < self.amplitude < math.inf:
            return f"{self.amplitude:.4g} · |log(t/{self.t0:.3g})|^{self.exponent:.3g}"
        return f"{math.exp(self.a):.4g} · (t/{self.middle:.0f})^{self.local_exponent:.3g}"

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw data and law.

        Args:
            ax: axes to draw into; by default a figure of its own, with the residuals below.

        Returns:
            The figure, as `analysis.figures.fit` makes it.
        """
        from analysis import figures  # results draw themselves: the one import upwards that pyproject.toml excepts

        return figures.fit(self, ax)


def in_words(fit_range: tuple[float, float], origin: int) -> str:
    """Write a fit range in words.

    Args:
        fit_range: the first and last t used, in updates.
        origin: the update from which t counts.

    Returns:
        Such as "t = 100 .. 5000 after update 1000".
    """
    return f"t = {fit_range[0]:g} .. {fit_range[1]:g}" + (f" after update {origin}" if origin else "")


def _own(interval: tuple[float, float] | None) -> str:
    return f"   {_pair(interval)}" if interval else ""


def _pair(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"
