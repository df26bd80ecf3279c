"""`collapse`: do runs of several learning rates and batch sizes travel along one curve, d = f(t) η^a B^−b?

Hoffer, Hubara and Soudry (2017, section 4) expect equal curves where η ∝ √B: then b = a/2. Plain diffusion has a = 1
and b = ½. In log d the exponents are those of a linear regression with an intercept for each t, of which each run is
one observation: its mean log d for a and b over the whole range, its log d in a bin for those at that t.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.curve import SETTINGS, Curve, CurvesLike
from analysis.errors import MotionError
from analysis.fitting.log_bins import Bins, binned
from analysis.fitting.outliers import broken_down
from analysis.fitting.seed_group import differing_settings, read_seeds
from analysis.inputs import check_confidence_level, is_finite_number
from analysis.serialize import Part, Table, Tabulated, jsonable, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False, repr=False)
class Collapse(Tabulated):
    """The exponents of learning rate and batch size in d = f(t) η^a B^−b.

    Attributes:
        a: of the learning rate; NaN where all runs have one.
        a_interval: its confidence interval (Student's over the runs).
        b: of the batch size; NaN where all runs have one.
        b_interval: its confidence interval.
        excess: b − a/2, which is 0 where η ∝ √B gives equal curves; NaN unless both vary.
        excess_interval: its confidence interval.
        before: root mean square, over runs and t, of log d about the runs' mean curve.
        after: the same once η^a B^−b is divided out: what the collapse leaves.
        frame: one row per log bin. Columns: t, a, a_low, a_high, b, b_low, b_high, at that t alone.
        n: number of runs.
        fit_range: the first and last t used.
        origin: the update from which t counts.
        confidence_level: of the intervals.
        warnings: plain sentences.
        curves: one row per run and log bin. Columns: run, lr, batch_size, t, distance, scaled (the distance over
            η^a B^−b, with η and B in units of their geometric means over the runs).

    Examples:
        >>> import numpy as np
        >>> from analysis import Collapse, Curve, collapse
        >>> t = np.geomspace(1, 1000, 60)
        >>> runs = [Curve(t, t**0.3 / batch**0.5, config={"lr": 0.1, "batch_size": batch}) for batch in (16, 64, 256)]
        >>> found = collapse(runs)
        >>> isinstance(found, Collapse), round(found.b, 6), found.to_dict()["a"]
        (True, 0.5, None)
    """

    a: float
    a_interval: Interval
    b: float
    b_interval: Interval
    excess: float
    excess_interval: Interval
    before: float
    after: float
    frame: pd.DataFrame
    n: int
    fit_range: tuple[float, float]
    origin: int
    confidence_level: float
    warnings: tuple[str, ...] = ()
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        tables = ("frame", "curves")
        return {key: records(value) if key in tables else jsonable(value) for key, value in vars(self).items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the exponents at each t."""
        return self.frame.copy()

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the runs before and after the collapse, and the exponents.

        Args:
            ax: draw the runs after it there.

        Returns:
            The figure.
        """
        from analysis import figures

        return figures.collapse(self, ax)

    def _summary(self) -> Sequence[Part]:
        level = f"{100 * self.confidence_level:g} % confidence interval"
        rows = [("d", "f(t) η^a B^−b"), ("runs", str(self.n)), ("t", "{:g} .. {:g}".format(*self.fit_range))]
        for name, value, (low, high) in (
            ("a", self.a, self.a_interval),
            ("b", self.b, self.b_interval),
            ("b − a/2", self.excess, self.excess_interval),
        ):
            said = (
                "all runs have one value" if math.isnan(value) else f"{value:.3f}   {level} [{low:.3f}, {high:.3f}]"
            )
            rows.append((name, said))
        rows.append(("spread of log d", f"{self.before:.2%} before, {self.after:.2%} after"))
        said = "b − a/2 = 0: learning rates ∝ √B give equal curves (Hoffer et al. 2017)."
        return [Table(rows), said, *(f"! {sentence}" for sentence in self.warnings)]


def collapse(
    data: CurvesLike,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    origin: int = 0,
    confidence_level: float = 0.95,
) -> Collapse:
    """Fit d = f(t) η^a B^−b to runs that differ in learning rate η and batch size B.

    Args:
        data: runs or their paths, several for each setting, that noted `lr` and `batch_size` in their configuration;
            or `Curve`s with such a `config`. One that ends more than half a decade of t before the others is left
            out, with a warning.
        t_min: the first update used; by default the latest of the runs' warm-up ends.
        t_max: the last update used; by default the first learning-rate drop of any.
        origin: d is the displacement from this update's weights, and t counts from it.
        confidence_level: of the intervals.

    Returns:
        The exponents, over the range and at each t.

    Raises:
        SeedError: where two of the runs are one.
        MotionError: where the settings are not noted, nothing varies, other settings do, or there are too few runs.
        AnalysisError: what `fit` raises for the data.

    Examples:
        >>> import numpy as np
        >>> from analysis import Curve, collapse
        >>> t = np.geomspace(1, 1000, 60)
        >>> runs = [
        ...     Curve(t, np.log(9 * t) * lr**0.6 * batch**-0.3, config={"lr": lr, "batch_size": batch})
        ...     for lr in (0.05, 0.1)
        ...     for batch in (16, 64)
        ... ]
        >>> found = collapse(runs)
        >>> round(found.a, 6), round(found.b, 6), round(found.after, 6)
        (0.6, 0.3, 0.0)
    """
    check_confidence_level(confidence_level)
    group, notes = read_seeds(data, origin, t_min, t_max, force=True)
    differing = differing_settings(group)  # as asked for; `_settings` says which may
    logs = _settings(group)
    bins = binned(group, t_min, t_max)
    varying = [name for name, values in logs.items() if np.ptp(values) > 0]
    if not varying:
        raise MotionError(
            f"got {len(group)} runs of one learning rate and one batch size; expected several of either"
        )
    columns = [np.ones(len(group)), *(logs[name] for name in varying)]
    design = np.stack(columns, axis=1)
    spare = len(group) - design.shape[1]
    if spare < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise MotionError(
            f"{len(group)} runs do not determine the exponents of {' and '.join(varying)} with an interval: expected "
            "learning rates and batch sizes that do not go together, and more runs than exponents"
        )
    quantile = float(special.stdtrit(spare, (1 + confidence_level) / 2))
    whole = _exponents(design, bins.z.mean(axis=1), varying, quantile)
    by_bin = [_exponents(design, z, varying, quantile) for z in bins.z.T]
    frame = pd.DataFrame({"t": np.exp(bins.u)})
    for name in ("a", "b"):
        frame[[name, f"{name}_low", f"{name}_high"]] = [found[name] for found in by_bin]
    centred = bins.z - bins.z.mean(axis=0)
    collapsed = centred - sum(
        sign * whole[name][0] * (logs[setting] - logs[setting].mean())[:, None]
        for name, setting, sign in (("a", "lr", 1), ("b", "batch_size", -1))
        if setting in varying
    )
    return Collapse(
        a=whole["a"][0],
        a_interval=whole["a"][1:],
        b=whole["b"][0],
        b_interval=whole["b"][1:],
        excess=whole["excess"][0],
        excess_interval=whole["excess"][1:],
        before=float(np.sqrt(np.mean(centred**2))),
        after=float(np.sqrt(np.mean(collapsed**2))),
        frame=frame,
        n=len(group),
        fit_range=bins.fit_range,
        origin=group[0].origin,
        confidence_level=confidence_level,
        warnings=(*(s for s in notes if s not in differing), *broken_down(bins).values()),
        curves=_long(group, bins, collapsed + bins.z.mean(axis=0)),
    )


def _long(group: Sequence[Curve], bins: Bins, scaled: Array) -> pd.DataFrame:
    """Return each run's distances and scaled distances, a row for each bin; the logarithms are (run, bin)."""
    tables = [
        pd.DataFrame({"t": np.exp(bins.u), "distance": np.exp(z), "scaled": np.exp(z_scaled)}).assign(
            run=curve.name, lr=float(curve.settings["lr"]), batch_size=float(curve.settings["batch_size"])
        )
        for curve, z, z_scaled in zip(group, bins.z, scaled, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)[["run", "lr", "batch_size", "t", "distance", "scaled"]]


def _settings(group: Sequence[Curve]) -> dict[str, Array]:
    """Return each run's log learning rate and log batch size; refuse runs that differ in another setting."""
    for name in SETTINGS:
        values = sorted({str(curve.settings[name]) for curve in group if name in curve.settings})
        if name not in ("lr", "batch_size") and len(values) > 1:
            raise MotionError(
                f"the runs differ in {name} ({', '.join(values)}); expected only lr, batch_size and seed to differ"
            )
    for curve in group:
        noted: list[Any] = [curve.settings.get(name) for name in ("lr", "batch_size")]
        if not all(is_finite_number(value) and value > 0 for value in noted):
            raise MotionError(
                f"{curve.name}: notes lr {noted[0]!r} and batch_size {noted[1]!r}; expected positive numbers in its "
                "configuration: Recorder(..., config={'lr': ..., 'batch_size': ...})"
            )
    return {name: np.log([float(curve.settings[name]) for curve in group]) for name in ("lr", "batch_size")}


def _exponents(
    design: Array, y: Array, varying: Sequence[str], quantile: float
) -> dict[str, tuple[float, float, float]]:
    """Return a, b and b − a/2, each with its confidence interval; NaN for what does not vary."""
    slopes, *_ = np.linalg.lstsq(design, y, rcond=None)
    spare = len(y) - design.shape[1]
    covariance = np.linalg.inv(design.T @ design) * np.sum((y - design @ slopes) ** 2) / spare
    along = {name: np.array([0.0, *(float(other == name) for other in varying)]) for name in varying}
    weights = {}
    if "lr" in along:
        weights["a"] = along["lr"]
    if "batch_size" in along:
        weights["b"] = -along["batch_size"]
    if len(weights) == 2:
        weights["excess"] = weights["b"] - weights["a"] / 2
    found = dict.fromkeys(("a", "b", "excess"), (math.nan, math.nan, math.nan))
    for name, weight in weights.items():
        value, half = float(weight @ slopes), quantile * math.sqrt(max(float(weight @ covariance @ weight), 0.0))
        found[name] = value, value - half, value + half
    return found
