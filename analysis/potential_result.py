"""What a probe of the loss measures, and what `analysis.potential` makes of it: frozen, complete when it is made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import LandscapeError
from analysis.serialize import Part, Table, Tabulated, jsonable, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_SHARED = ("dimension", "statistics", "precision")
TAYLOR = "α = 2 is what Taylor's expansion gives for any smooth loss: it says nothing about roughness."


@dataclass(frozen=True, eq=False)
class Probe:
    """Differences of the loss at distances from origins, as `analysis.landscape.probe` measures them.

    Attributes:
        z: (distance,) distances ‖w − w₀‖, increasing.
        delta: (origin, direction, sign, distance) L(w₀ ± z v) − L(w₀).
        gradient_norm: (origin,) |g| at the origins.
        dimension: the number of weights.
        loss: (origin,) L(w₀).
        weight_norm: (origin,) ‖w₀‖.
        statistics: what normalization layers used, "running" or "batch".
        precision: of the weights, such as "float32".

    Examples:
        >>> import numpy as np
        >>> from analysis import Probe
        >>> z = np.array([0.1, 0.2, 0.4])
        >>> delta = np.multiply.outer(np.array([[[1.0, -1.0]], [[3.0, -3.0]]]), z)
        >>> one = Probe(z, delta, np.array([1.0, 3.0]), 1, np.zeros(2), np.ones(2), "running", "float64")
        >>> Probe.joined([one, one]).delta.shape
        (4, 1, 2, 3)
    """

    z: Array
    delta: Array
    gradient_norm: Array
    dimension: int
    loss: Array
    weight_norm: Array
    statistics: str
    precision: str

    @classmethod
    def joined(cls, probes: "Sequence[Probe]") -> "Probe":
        """Join probes of several origins.

        Args:
            probes: probes with the same distances, numbers of directions and weights, and statistics.

        Returns:
            One probe of all their origins.

        Raises:
            LandscapeError: where there is none, or they differ in more than their origins.
        """
        if not probes:
            raise LandscapeError("got no origin; expected at least one: initial weights, or a snapshot")
        first = probes[0]
        for probe in probes[1:]:
            alike = all(getattr(probe, name) == getattr(first, name) for name in _SHARED)
            if not (alike and probe.delta.shape[1:] == first.delta.shape[1:] and np.array_equal(probe.z, first.z)):
                raise LandscapeError(
                    "the probes differ in their distances, directions, weights, precision or statistics; expected the"
                    " same for every origin"
                )
        delta, gradient_norm, loss, weight_norm = (
            np.concatenate([getattr(probe, name) for probe in probes])
            for name in ("delta", "gradient_norm", "loss", "weight_norm")
        )
        return cls(
            first.z, delta, gradient_norm, first.dimension, loss, weight_norm, first.statistics, first.precision
        )


@dataclass(frozen=True)
class Exponent:
    """An exponent of a power of z, with its confidence interval over origins.

    Attributes:
        value: the estimate.
        interval: its confidence interval.
        each: each origin's own; empty where the estimate pools them.

    Examples:
        >>> from analysis.potential_result import Exponent
        >>> Exponent(1.5, (1.2, 1.8)).value
        1.5
    """

    value: float
    interval: tuple[float, float]
    each: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Potential(Tabulated):
    """α from the random potential, S(z) ~ z^α.

    Attributes:
        alpha: about L(w₀), the mean of the origins' slopes.
        interval: its confidence interval, t over origins; it holds for distances that were chosen beforehand.
        confidence_level: of all intervals, such as 0.95.
        each: (origin,) the origins' own α.
        centred: about the mean over all draws, the variance of L(w₀ ± z v) − L(w₀) pooled over origins; its interval
            is the jackknife's. Another definition, and often another α.
        odd: of the odd part (δ₊ − δ₋)/2, 2 for a gradient; None without both signs, or where rounding is all of it.
        even: of the even part (δ₊ + δ₋)/2, 4 for a curvature; None likewise, and for less than three distances where
            the weights resolve it.
        local: the exponent between neighbouring distances: columns z (their geometric mean), exponent, low, high.
        taylor_share: what |g|² z² / dim explains of S(z), the median over the distances; NaN without gradients.
        curvature_p: p-value of log S being a straight line in log z, by a t test over origins of its quadratic term.
        z: (distance,) the distances.
        s: (origin, distance) S_i(z).
        table: by distance z: S, its variance about the mean (centred), odd and even part, and Taylor's value.
        directions: the number of directions for each origin.
        statistics: what normalization layers used; empty where it is not known.
        warnings: what to know before quoting α, in plain sentences, the gravest first.

    Examples:
        >>> import numpy as np
        >>> from analysis.potential import potential
        >>> z = np.geomspace(0.1, 10, 9)
        >>> draws = np.random.default_rng(0).normal(size=(10, 8, 1))
        >>> found = potential((z, draws * z**0.5))
        >>> round(found.alpha, 3), round(found.centred.value, 3)
        (1.0, 1.0)
    """

    alpha: float
    interval: tuple[float, float]
    confidence_level: float
    each: tuple[float, ...]
    centred: Exponent
    odd: Exponent | None
    even: Exponent | None
    local: pd.DataFrame
    taylor_share: float
    curvature_p: float
    z: Array
    s: Array
    table: pd.DataFrame
    directions: int
    statistics: str
    warnings: tuple[str, ...]

    @property
    def n(self) -> int:
        """The number of origins."""
        return len(self.each)

    @property
    def window(self) -> tuple[float, float]:
        """The smallest and the largest distance."""
        return float(self.z[0]), float(self.z[-1])

    @property
    def standard_error(self) -> float:
        """Of α: the standard deviation over origins, by √n."""
        return float(np.std(self.each, ddof=1) / math.sqrt(self.n))

    @property
    def note(self) -> str:
        """What α = 2 means, and whether the interval holds it."""
        return TAYLOR + " The interval holds 2." * (self.interval[0] <= 2 <= self.interval[1])

    def to_dict(self) -> dict[str, Any]:
        """Return the result, fit for JSON."""
        parts = {name: getattr(self, name) for name in ("centred", "odd", "even")}
        found: dict[str, Any] = jsonable(
            {
                "alpha": self.alpha,
                "interval": self.interval,
                "confidence_level": self.confidence_level,
                "each": self.each,
                **{name: part and {"alpha": part.value, "interval": part.interval} for name, part in parts.items()},
                "taylor_share": self.taylor_share,
                "curvature_p": self.curvature_p,
                "window": self.window,
                "origins": self.n,
                "directions": self.directions,
                "statistics": self.statistics,
                "note": self.note,
                "warnings": self.warnings,
            }
        )
        return found | {"local": records(self.local), "distances": records(self.table)}

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row for each distance, as `table`."""
        return self.table.copy()

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw √S(z) with Taylor's line.

        Args:
            ax: axes to draw into; by default a figure of its own, with the local exponent below.

        Returns:
            The figure, as `analysis.figures.potential` makes it.
        """
        from analysis import figures  # results draw themselves: the one import upwards that pyproject.toml excepts

        return figures.potential(self, ax)

    def _summary(self) -> Sequence[Part]:
        percent = f"{100 * self.confidence_level:g} % confidence interval"
        rows = [
            ("α about L(w₀)", f"{self.alpha:.3f}   {percent} {_pair(self.interval)}"),
            ("α about the mean", f"{self.centred.value:.3f}   {_pair(self.centred.interval)}"),
            ("distances", f"z = {self.window[0]:.3g} .. {self.window[1]:.3g}, {len(self.z)} of them"),
            ("draws", f"{self.n} origins of {self.directions} directions"),
            ("Taylor's share", "unknown" if math.isnan(self.taylor_share) else f"{self.taylor_share:.2g} of S"),
            ("straight line", f"p-value {self.curvature_p:.2g}"),
        ]
        rows += [
            (f"{name} part", f"z^{part.value:.2f}   {_pair(part.interval)}")
            for name, part in (("odd", self.odd), ("even", self.even))
            if part is not None
        ]
        if self.statistics:
            rows.append(("normalization", f"{self.statistics} statistics"))
        return [Table(rows), self.note, *(f"! {sentence}" for sentence in self.warnings)]


def _pair(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"
