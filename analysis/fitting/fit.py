"""`fit`: α of ‖w_t − w_0‖ ~ (log t/t₀)^(2/α), with its interval, its window and what to be wary of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.curve import Curve, Curves, curves
from analysis.errors import AnalysisError, LawError, OffsetError, SeedError
from analysis.fitting.diagnostics import caveats
from analysis.fitting.estimator import SeedEstimate, estimate
from analysis.fitting.laws import LAWS, Array, growth, log_amplitude, log_t0
from analysis.fitting.noise_mixture import LEVELS
from analysis.fitting.per_layer import fit_layers
from analysis.fitting.start_scan import choose, over_starts, table, windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Fit:
    """The law d = A |log(t/t₀)|^(2/α) fitted to one window of one or more curves.

    alpha, interval, level: the estimate and its interval of that level, if the window was given beforehand;
    window_interval: the hull of the intervals over the starts that fit, from this one to a decade later: what is
    known of α where the start was chosen from the data (`window.over_starts`); None where none fits;
    q: local exponent d log d / d log t at the middle of the window, u_m = log `middle`;
    s, a: the family's other parameters there (`laws`), at which `alpha` = 2 s / q;
    window: first and last t used; origin: t counts from this update; n: curves fitted;
    goodness: p-value of the law; misfit: rms of the mean log d about it;
    method: how α was estimated; provisional: fewer than three seeds;
    seeds: each curve's own estimate; posterior: α against its cumulative probability, for one run;
    scan: the same estimate for other starts (`window.scan`); warnings: plain sentences;
    u (bin,), z (curve, bin): mean log t and mean log d of the bins fitted.
    """

    alpha: float
    interval: tuple[float, float]
    window_interval: tuple[float, float] | None
    level: float
    q: float
    s: float
    a: float
    law: str
    window: tuple[float, float]
    origin: int
    n: int
    goodness: float
    misfit: float
    method: str
    seeds: tuple[SeedEstimate, ...]
    posterior: tuple[Array, Array] | None
    scan: pd.DataFrame
    warnings: tuple[str, ...]
    u: Array
    z: Array

    @property
    def middle(self) -> float:
        """The t at the middle of the window in log t, where q is the local exponent."""
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
        """t₀ in updates: 0 for the power law, beyond the window for α < 0."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(log_t0(self.s, self._u_middle)))

    @property
    def amplitude(self) -> float:
        """A, in units of d; may overflow to infinity as α → 0, where d = A t^q takes over."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(log_amplitude(self.a, self.q, self.s, self._u_middle)))

    @property
    def provisional(self) -> bool:
        """True below three seeds."""
        return self.n < 3

    @property
    def power_law_excluded(self) -> bool:
        """Whether α's interval leaves out 0."""
        return not self.interval[0] <= 0 <= self.interval[1]

    def predict(self, t: ArrayLike) -> Array:
        """The law's distance after t updates; NaN on the far side of t₀."""
        y = self.s * (np.log(np.asarray(t, float)) - self._u_middle)
        x = np.where(y > -1, y / self.s if self.s else np.log(np.asarray(t, float)) - self._u_middle, np.nan)
        return np.exp(self.a + self.q * growth(self.s, x))

    @property
    def residuals(self) -> Array:
        """(curve, bin): log d less the law."""
        return self.z - np.log(self.predict(np.exp(self.u)))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, fit for JSON: no NaN and no infinity, None instead."""
        low, high = self.interval
        return jsonable(
            {
                "alpha": self.alpha,
                "interval": [low, high],
                "window_interval": self.window_interval,
                "level": self.level,
                "exponent": self.exponent,
                "t0": self.t0,
                "amplitude": self.amplitude,
                "q": self.q,
                "law": self.law,
                "window": list(self.window),
                "origin": self.origin,
                "n": self.n,
                "bins": len(self.u),
                "goodness": self.goodness,
                "misfit": self.misfit,
                "method": self.method,
                "provisional": self.provisional,
                "power_law_excluded": self.power_law_excluded,
                "seeds": [
                    {"name": seed.name, "alpha": seed.alpha, "q": seed.q, "interval": seed.interval}
                    for seed in self.seeds
                ],
                "scan": self.scan.to_dict("records"),
                "warnings": list(self.warnings),
            }
        )

    def to_frame(self) -> pd.DataFrame:
        """One row of numbers, to be stacked with other fits."""
        low, high = self.interval
        row = {"alpha": self.alpha, "low": low, "high": high, "level": self.level, "exponent": self.exponent}
        row |= dict(
            zip(("low_over_starts", "high_over_starts"), self.window_interval or (math.nan,) * 2, strict=True)
        )
        row |= {
            "t0": self.t0,
            "amplitude": self.amplitude,
            "q": self.q,
            "t_min": self.window[0],
            "t_max": self.window[1],
        }
        row |= {"n": self.n, "bins": len(self.u), "goodness": self.goodness, "misfit": self.misfit}
        return pd.DataFrame([row])

    def __str__(self) -> str:
        low, high = self.interval
        since = f" after update {self.origin}" if self.origin else ""
        zero = "excluded" if self.power_law_excluded else "not excluded"
        rows = [
            ("α", f"{self.alpha:.3f}   {100 * self.level:g} % interval [{low:.3f}, {high:.3f}]"),
            ("over the starts", self._over_starts),
            ("law", f"{self.law}, d = {self._formula}"),
            ("local exponent", f"q = {self.q:.4f} at t = {self.middle:.0f}"),
            ("window", f"t = {self.window[0]:g} .. {self.window[1]:g}{since}, {len(self.u)} log bins"),
            ("method", self.method),
            ("goodness", f"p = {self.goodness:.2g}, misfit {100 * self.misfit:.2g} % of d"),
            ("power law, α = 0", zero),
        ]
        lines = [f"{name:<18}{value}" for name, value in rows]
        lines += [
            f"{'':<18}{seed.name}: α = {seed.alpha:.3f}" + _bracket(seed.interval)
            for seed in self.seeds
            if self.n > 1
        ]
        lines += ["", "α against the start of the window", _scan_text(self.scan)]
        lines += ["", *(f"! {sentence}" for sentence in self.warnings)] if self.warnings else []
        return "\n".join(lines)

    @property
    def _over_starts(self) -> str:
        if self.window_interval is None:
            return "no start from here to a decade later gives a good fit"
        return f"{'':<9}{'hull':<14}[{self.window_interval[0]:.3f}, {self.window_interval[1]:.3f}]  of those that fit"

    @property
    def _formula(self) -> str:
        if 0 < self.t0 < math.inf and 0 < self.amplitude < math.inf:
            return f"{self.amplitude:.4g} · |log(t/{self.t0:.3g})|^{self.exponent:.3g}"
        return f"{math.exp(self.a):.4g} · (t/{self.middle:.0f})^{self.q:.3g}"

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Data and law, drawn by `analysis.figures.runs.fit`."""
        from analysis import figures

        return figures.fit(self, ax)


def _bracket(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"   [{interval[0]:.3f}, {interval[1]:.3f}]"


def _scan_text(scan: pd.DataFrame) -> str:
    columns = {
        "t_min": "{:.4g}",
        "bins": "{:.0f}",
        "alpha": "{:.3f}",
        "low": "{:.3f}",
        "high": "{:.3f}",
        "goodness": "{:.2g}",
    }
    return scan.to_string(index=False, columns=list(columns), formatters={k: v.format for k, v in columns.items()})


def jsonable(value: Any) -> Any:
    """The value with plain numbers, and None for NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


@overload
def fit(
    data: Curves,
    *,
    t_min: float | None = ...,
    t_max: float | None = ...,
    law: str = ...,
    level: float = ...,
    per: None = ...,
    origin: int = ...,
    offset: float | str = ...,
) -> Fit: ...


@overload
def fit(
    data: Curves,
    *,
    t_min: float | None = ...,
    t_max: float | None = ...,
    law: str = ...,
    level: float = ...,
    per: str,
    origin: int = ...,
    offset: float | str = ...,
) -> pd.DataFrame: ...


def fit(
    data: Curves,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    law: str = "ultraslow",
    level: float = 0.95,
    per: str | None = None,
    origin: int = 0,
    offset: float | str = 0.0,
) -> Fit | pd.DataFrame:
    """Fit the ultra-slow diffusion law to one run, or to several seeds of one experiment.

    data: a Run or its path, (t, d), a pandas Series, an xarray DataArray, or a list of those (seeds).
    t_min, t_max: first and last update used; by default the constant-learning-rate phase, from the earliest
    start at which the law holds. level: of the interval. per: "layer" gives a DataFrame of α by layer.
    law: "ultraslow". The others hold α or have none: `compare` fits them, with their parameters and goodness, on the
    same window. origin: d is the displacement from this update's weights, and t counts from it, in t_min and t_max
    too (`curves` says why). offset: a number subtracted from d; it cannot be fitted beside t₀, since at α = 2 the
    two are one parameter, A log(t/t₀) + c.

    Returns a `Fit`, or the DataFrame. Raises CurveError, DistanceError, WindowError, ShortCurveError,
    GrowthError, SeedError, OffsetError, LawError.
    """
    if law != "ultraslow":
        rivals = [name for name in LAWS if name != "ultraslow"]
        instead = f"use compare(data, [{law!r}])" if law in rivals else f"compare fits {', '.join(rivals)}"
        raise LawError(f"law = {law!r}: fit estimates α, which 'ultraslow' alone leaves free; {instead}")
    if not 0 < level < 1:
        raise AnalysisError(f"level = {level:g}: expected a probability between 0 and 1, such as 0.95")
    group = [_shifted(curve, offset) for curve in curves(data, origin=origin)]
    _check_seeds(group)
    if per not in (None, "layer"):
        raise AnalysisError(f"per = {per!r}: expected 'layer' or None")
    whole = _fit(group, t_min, t_max, law, level)
    return whole if per is None else fit_layers(group, whole.window, level)


def _fit(group: Sequence[Curve], t_min: float | None, t_max: float | None, law: str, level: float) -> Fit:
    found = windows(group, t_min, t_max, level)
    chosen, note = choose(found, t_min)
    bins, at = chosen.bins, chosen.estimate
    if at is None:
        at = estimate(bins, level)  # raises, naming the curve that does not grow
    scan, hull = table(found), over_starts(found, chosen)
    only = at.posteriors[0] if len(at.posteriors) == 1 else None
    return Fit(
        alpha=at.alpha,
        interval=at.interval,
        window_interval=hull,
        level=level,
        q=at.q,
        s=at.s,
        a=at.a,
        law=law,
        window=bins.window,
        origin=group[0].origin,
        n=len(group),
        goodness=at.goodness,
        misfit=at.misfit,
        method=at.method,
        seeds=at.seeds,
        posterior=(only.alpha, LEVELS) if only else None,
        scan=scan,
        warnings=caveats(group, bins, at, scan, hull, level) + note,
        u=bins.u,
        z=bins.z,
    )


def _shifted(curve: Curve, offset: float | str) -> Curve:
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
