"""The two α's: the potential's, S(z) ~ z^α, against the curve's, d ~ (log t)^(2/α) (Hoffer et al. 2017, section 3).

With seeds, Welch's test: the difference over its standard error is t distributed with Satterthwaite's degrees of
freedom,

    ν = (a + b)² / (a²/(n−1) + b²/(m−1)),    a, b the squared standard errors over n origins and m seeds.

With one run, the potential's t distribution against the posterior of the curve's α.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special

from analysis.errors import LandscapeError
from analysis.fitting.fit_result import Fit
from analysis.potential_result import Array, Potential
from analysis.serialize import Part, Table, Tabulated, jsonable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REJECTED = 0.05


@dataclass(frozen=True, repr=False)
class Agreement(Tabulated):
    """Whether the potential and the curve have the same α.

    Attributes:
        potential: the potential's α.
        potential_interval: its confidence interval.
        curve: the curve's α.
        curve_interval: its confidence interval.
        difference: the potential's α less the curve's.
        interval: confidence interval of the difference.
        confidence_level: of the intervals.
        p_value: of the difference being 0; None where the two do not compare.
        potential_range: the smallest and largest distance that the potential's α is of.
        curve_range: those that the curve's α is of.
        warnings: why the two do not compare, in plain sentences; none where they do.

    Examples:
        >>> from analysis import Agreement
        >>> found = Agreement(1.2, (1.0, 1.4), 1.0, (0.9, 1.1), 0.2, (-0.1, 0.5), 0.95, 0.2, (1, 10), (2, 20), ())
        >>> found.comparable
        True
    """

    potential: float
    potential_interval: tuple[float, float]
    curve: float
    curve_interval: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    confidence_level: float
    p_value: float | None
    potential_range: tuple[float, float]
    curve_range: tuple[float, float]
    warnings: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """Whether the two α's can be compared at all."""
        return self.p_value is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the result, fit for JSON."""
        found: dict[str, Any] = jsonable({**vars(self), "comparable": self.comparable})
        return found

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the two α's with their intervals.

        Args:
            ax: draw there.

        Returns:
            The figure, as `analysis.figures.agreement` makes it.
        """
        from analysis import figures  # results draw themselves: the one import upwards that pyproject.toml excepts

        return figures.agreement(self, ax)

    def _summary(self) -> Sequence[Part]:
        rows = [
            ("α of the potential", f"{_with(self.potential, self.potential_interval)}   {_at(self.potential_range)}"),
            ("α of the curve", f"{_with(self.curve, self.curve_interval)}   {_at(self.curve_range)}"),
            ("difference", _with(self.difference, self.interval)),
            ("verdict", self._verdict()),
        ]
        return [Table(rows), *(f"! {sentence}" for sentence in self.warnings)]

    def _verdict(self) -> str:
        if self.p_value is None:
            return "not comparable"
        return f"{'different' if self.p_value < _REJECTED else 'no difference seen'}, p-value {self.p_value:.2g}"


def agreement(potential: Potential, fit: Fit) -> Agreement:
    """Test whether the potential's α is the curve's.

    They do not compare where the potential's α carries a warning, the curve's law does not hold, or the distances
    that the two are of do not overlap; the result then says why, and has no p-value.

    Args:
        potential: α from the potential.
        fit: α from the distances of one run, or of three seeds or more.

    Returns:
        The difference with its interval, and the test.

    Raises:
        LandscapeError: for anything but a potential and a fit, and where their confidence levels differ.

    Examples:
        >>> import numpy as np
        >>> from analysis import fit
        >>> from analysis.agreement import agreement
        >>> from analysis.potential import potential
        >>> from analysis.synthetic import synthetic
        >>> rng = np.random.default_rng(0)
        >>> z = np.geomspace(1, 100, 9)
        >>> found = potential((z, rng.normal(size=(10, 8, 9)) * z**0.5))
        >>> agreement(found, fit(synthetic("sinai", t0=0.1, seeds=5), t_min=10)).comparable
        True
    """
    _check(potential, fit)
    ranges = potential.window, (float(np.exp(fit.z.min())), float(np.exp(fit.z.max())))
    level = potential.confidence_level
    if fit.posterior is not None:
        interval, p_value = _against_posterior(potential, fit.posterior, level)
    else:
        interval, p_value = _welch(potential, np.array([seed.alpha for seed in fit.seeds]), level)
    reasons = tuple(_reasons(potential, fit, *ranges))
    return Agreement(
        potential=potential.alpha,
        potential_interval=potential.interval,
        curve=fit.alpha,
        curve_interval=fit.interval,
        difference=potential.alpha - fit.alpha,
        interval=interval,
        confidence_level=level,
        p_value=None if reasons else p_value,
        potential_range=ranges[0],
        curve_range=ranges[1],
        warnings=reasons,
    )


def _check(potential: Potential, fit: Fit) -> None:
    if not (isinstance(potential, Potential) and isinstance(fit, Fit)):
        raise LandscapeError(
            f"got a {type(potential).__name__} and a {type(fit).__name__}; expected a Potential, then a Fit"
        )
    if potential.confidence_level != fit.confidence_level:
        raise LandscapeError(
            f"the potential's intervals are of {potential.confidence_level:g}, the fit's of {fit.confidence_level:g};"
            " expected one confidence_level"
        )


def _reasons(potential: Potential, fit: Fit, near: tuple[float, float], travelled: tuple[float, float]) -> list[str]:
    """Say why the two do not compare, if they do not."""
    sentences = list(potential.warnings)
    if max(near[0], travelled[0]) >= min(near[1], travelled[1]):
        sentences.append(
            f"The potential is known at distances {near[0]:.3g} .. {near[1]:.3g}, the curve at {travelled[0]:.3g} .."
            f" {travelled[1]:.3g}: they do not overlap."
        )
    if fit.p_value < _REJECTED:
        sentences.append(f"The curve does not follow the law (p-value {fit.p_value:.2g}): its α describes nothing.")
    if fit.posterior is None and fit.n < 3:
        sentences.append("Two runs give α no standard error; expected one, or three seeds or more.")
    return sentences


def _welch(potential: Potential, seeds: Array, level: float) -> tuple[tuple[float, float], float]:
    """Return the interval of the difference, and the p-value of its being 0."""
    difference = potential.alpha - float(seeds.mean())
    a, b = potential.standard_error**2, float(seeds.var(ddof=1)) / len(seeds)
    if a + b == 0:
        return (difference, difference), float(difference == 0)
    nu = (a + b) ** 2 / (a**2 / (potential.n - 1) + b**2 / (len(seeds) - 1))
    error = math.sqrt(a + b)
    half = float(special.stdtrit(nu, (1 + level) / 2)) * error
    return (difference - half, difference + half), float(2 * special.stdtr(nu, -abs(difference) / error))


def _against_posterior(
    potential: Potential, posterior: tuple[Array, Array], level: float
) -> tuple[tuple[float, float], float]:
    """Likewise, the curve's α distributed as its posterior."""
    alphas, cumulative = posterior
    middles, weights = (alphas[1:] + alphas[:-1]) / 2, np.diff(cumulative)
    weights = weights / weights.sum()
    error = max(potential.standard_error, 1e-12)

    def below(x: float) -> float:
        """The probability that the potential's α less the curve's is below x."""
        return float(weights @ special.stdtr(potential.n - 1, (x + middles - potential.alpha) / error))

    reach = error * float(special.stdtrit(potential.n - 1, (3 + level) / 4))  # leaves half of what is left out
    ends = potential.alpha - float(alphas[-1]) - reach, potential.alpha - float(alphas[0]) + reach
    low, high = (
        float(optimize.brentq(lambda x, share=share: below(x) - share, *ends))
        for share in ((1 - level) / 2, (1 + level) / 2)
    )
    return (low, high), min(1.0, 2 * min(below(0), 1 - below(0)))


def _with(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _at(distances: tuple[float, float]) -> str:
    return f"at distances {distances[0]:.3g} .. {distances[1]:.3g}"
