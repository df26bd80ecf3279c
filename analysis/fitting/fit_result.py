"""What `fit` returns: frozen, complete when it is made. Nothing is estimated here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from analysis.fitting.age import Age
from analysis.fitting.effect_size import EffectSize, Judged
from analysis.fitting.former_names import FormerNames
from analysis.fitting.invariance import Invariance
from analysis.fitting.law_curve import LawCurve
from analysis.fitting.law_test import goodness_test
from analysis.fitting.laws import Array
from analysis.fitting.seed_estimate import SeedEstimate
from analysis.fitting.shared_noise import widening
from analysis.serialize import Part, Table, Tabulated, jsonable, records, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IN_JSON = (
    "alpha", "quoted_interval", "interval", "interval_over_starts", "start_chosen", "confidence_level", "exponent",
    "t0", "amplitude", "local_exponent", "law", "fit_range", "origin", "n", "verdict", "rejected", "p_value",
    "goodness_test", "rms_residual", "max_residual", "residual_in_spreads", "shared_residual", "method",
    "noise", "provisional", "power_law_excluded", "warnings",
)  # fmt: skip
MOVES = "α moves with the fit range"
MOVES_WITH_ORIGIN = "α moves with the origin"
_SCANNED = {
    "t_min": ".4g",
    "bins": ".0f",
    "alpha": ".3f",
    "low": ".3f",
    "high": ".3f",
    "p_value": ".2g",
    "rms_residual": ".2%",
}


@dataclass(frozen=True, eq=False, repr=False)
class Fit(FormerNames, Judged, LawCurve, Tabulated):
    """The law d = A |log(t/t₀)|^(2/α), fitted to one range of one or more curves.

    With z = log d, u = log t and u_m the middle of the range, z = a + q g_s(u − u_m) and α = 2 s / q
    (`analysis.fitting.laws`).

    Attributes:
        alpha: the estimate of α.
        interval: its confidence interval, which holds for a fit range that was chosen beforehand.
        interval_over_starts: the hull of the intervals over the starts at which the law holds, from this one on, and
            (from three seeds on) of jump + log: what is known of α where the start was chosen from the data. None
            where the law holds at none of them.
        start_chosen: whether the start was chosen from the data, t_min not being given.
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
        age: how old the origin and the fit range are, in memory times of weight decay.
        invariance: whether α stays the same on parts of the fit range and from other recorded origins, with a
            p-value of its own.
        shared_residual: the share of the residuals' variance that seeds have in common; NaN below three seeds.
        method: how α was estimated, in words.
        noise: that the seeds were fitted under, in words (`analysis.fitting.seed_noise`); "mixture" below three.
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
    start_chosen: bool
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
    age: Age
    invariance: Invariance
    shared_residual: float
    method: str
    noise: str
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
    def goodness_test(self) -> str:
        """The test that the p-value comes from, in words: `compare` uses the same."""
        return goodness_test(self.n)

    @property
    def verdict(self) -> str:
        """One of: holds; α moves with the fit range, or with the origin; rejected, though close; wrong; far.

        The law holds where its p-value and that of the invariance are at least .05, and its rms residual is below 5 %
        of d ("not rejected, though far" from there on). A rejected law is close where its
        rms residual is at most 1 % of d and a twentieth of what log d grows by, and its largest residual at most 3 %.
        """
        if self.agreement != "holds" or not self.invariance.moves:
            return self.agreement
        return MOVES if self.invariance.worst.origin is None else MOVES_WITH_ORIGIN

    @property
    def quoted_interval(self) -> tuple[float, float] | None:
        """The interval to quote: that over the starts, where the start was chosen; None where no start fits."""
        return self.interval_over_starts if self.start_chosen else self.interval

    @property
    def interval_if_shared(self) -> tuple[float, float]:
        """The interval if all that the seeds' residuals have in common were noise that they share."""
        factor = widening(self.shared_residual, self.n) if self.n >= 3 else 1.0
        low, high = self.interval
        return self.alpha - factor * (self.alpha - low), self.alpha + factor * (high - self.alpha)

    @property
    def provisional(self) -> bool:
        """Whether there are fewer than three seeds."""
        return self.n < 3

    @property
    def power_law_excluded(self) -> bool:
        """Whether the interval to quote leaves out 0."""
        return self.quoted_interval is not None and (self.quoted_interval[0] > 0 or self.quoted_interval[1] < 0)

    @property
    def residuals(self) -> Array:
        """(curve, bin): log d less the law."""
        return self.z - np.log(self.predict(np.exp(self.u)))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, fit for JSON: None where a number is NaN or infinite."""
        found = {name: getattr(self, name) for name in _IN_JSON}
        found |= {
            "age": self.age.to_dict(),
            "invariance": self.invariance.to_dict(),
            "bins": len(self.u),
            "seeds": [asdict(seed) for seed in self.seeds],
            "scan": records(self.scan),
        }
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
            "start_chosen": self.start_chosen,
            "t0": self.t0,
            "amplitude": self.amplitude,
            "local_exponent": self.local_exponent,
            "t_min": self.fit_range[0],
            "t_max": self.fit_range[1],
            "origin": self.origin,
            "origin_age": self.age.origin_age,
            "n": self.n,
            "bins": len(self.u),
            "p_value": self.p_value,
            "rms_residual": self.rms_residual,
            "max_residual": self.max_residual,
            "residual_in_spreads": self.residual_in_spreads,
            "verdict": self.verdict,
            "invariance_p_value": self.invariance.p_value,
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
            *self._headline(),
            ("law", f"{self.law}, d = {self.formula}"),
            ("local exponent", f"{self.local_exponent:.4f} at t = {self.middle:.0f}"),
            ("fit range", f"{self.age.window}, {len(self.u)} log bins"),
            ("age", str(self.age)),
            *([("expected there", self.age.expected)] if self.age.memory is not None else []),
            ("method", self.method),
            ("verdict on the law", f"{self.verdict}: p = {self.p_value:.2g}, {self.size}"),
            ("p-value", self.goodness_test),
            ("α elsewhere", self._elsewhere()),
            ("power law, α = 0", self._power_law()),
        ]
        if self.n > 1:
            rows += [(f"α of {seed.name}", f"{seed.alpha:.3f}{_own(seed.interval)}") for seed in self.seeds]
        return Table(rows)

    def _power_law(self) -> str:
        if self.rejected:
            return "rejected with all of the family"
        return "excluded" if self.power_law_excluded else "not excluded"

    def _warnings(self) -> list[str]:
        return [f"! {sentence}" for sentence in self.warnings]

    def _headline(self) -> list[tuple[str, str]]:
        level = f"{100 * self.confidence_level:g} % confidence interval"
        if not self.start_chosen:
            return [("α", f"{self.alpha:.3f}   {level} {_pair(self.interval)}")]
        hull = self.interval_over_starts
        stated = "the law holds from no start"
        if hull is not None:
            jump = ", and with a jump in the law" if self.n >= 3 else ""
            stated = f"{_pair(hull)}   over all starts from here on at which the law holds{jump}"
        here = f"{self.alpha:.3f}   {level} {_pair(self.interval)}, had the start been chosen beforehand"
        return [("α", stated), ("α from this start", here)]

    def _elsewhere(self) -> str:
        if not self.invariance.changes:
            return "not asked: the range spans less than 1.5 decades"
        values = ", ".join(f"{change.value:.3f} {change.what}" for change in self.invariance.changes)
        return f"{values}; p = {self.invariance.p_value:.2g} that it is the same"

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw data and law.

        Args:
            ax: axes to draw into; by default a figure of its own, with the residuals below.

        Returns:
            The figure, as `analysis.figures.fit` makes it.
        """
        from analysis import figures  # results draw themselves: the one import upwards that pyproject.toml excepts

        return figures.fit(self, ax)


def _own(interval: tuple[float, float] | None) -> str:
    return f"   {_pair(interval)}" if interval else ""


def _pair(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"
