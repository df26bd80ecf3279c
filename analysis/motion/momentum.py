"""What momentum makes of gradients that are uncorrelated in time.

The update of torch's SGD is −η Σ_k h_k g_{t−k} of the gradients up to now. With momentum μ h_k = μ^k; with
`nesterov=True`, which adds μ times the new buffer to the gradient, h_0 = 1 + μ and h_k = μ^(k+1) after it. Either way
Σ h_k = 1/(1 − μ), which sets how far such updates diffuse; and Σ h_k² = c/(1 − μ²), which sets how long each is, with
c = 1, or c = 1 + 2μ − 2μ³ for Nesterov's (1.34 at μ = .9). Dampening scales all updates but the first by one number,
and changes no ratio of theirs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.curve import Curve
from analysis.errors import MotionError
from analysis.fitting.age import optimizer_of
from analysis.inputs import is_finite_number, is_same

_SETTLED = 10.0  # times 1/(1 − μ): by then μ^t is 4e-5 at μ = .9, and the start of the momentum is forgotten
_UNLIKE = 0.2  # of a correlation: what gradients are correlated in time by, at most, where their noise is alive
_ALIKE = 0.05  # of a correlation: what chance leaves of it (`neighbour_correlations`)
_WEIGHTED = ("sgd", "adam", "adamw")  # optimizers whose updates are sums of gradients weighted by μ^k (β₁^k)
_AS_LONG = 1.25  # of an update: that without its momentum of .9 is .44 (SGD), .72 (Nesterov) or 4.4 (Adam) times that


@dataclass(frozen=True)
class Momentum:
    """The momentum of SGD's updates.

    Attributes:
        mu: μ, from 0 on and below 1.
        nesterov: whether it is Nesterov's, as torch defines it.
    """

    mu: float
    nesterov: bool = False

    @property
    def size(self) -> float:
        """The squared length of an update over that under plain momentum μ: c."""
        return 1 + 2 * self.mu - 2 * self.mu**3 if self.nesterov else 1.0

    @property
    def diffusion(self) -> float:
        """The squared distance that updates diffuse over Σ‖Δw‖²: (Σ h_k)²/Σ h_k² = (1 + μ)/((1 − μ) c)."""
        return (1 + self.mu) / ((1 - self.mu) * self.size)

    @property
    def neighbours(self) -> float:
        """The correlation of neighbouring updates: Σ h_k h_{k+1}/Σ h_k², which is μ without Nesterov."""
        return self.mu**2 * (1 + self.mu - self.mu**2) / self.size if self.nesterov else self.mu

    @property
    def settled(self) -> int:
        """The update by which the start of the momentum is forgotten."""
        return math.ceil(_SETTLED / (1 - self.mu) - 1e-9)

    @property
    def formula(self) -> str:
        """How `diffusion` is written."""
        return "(1 + μ)/((1 − μ)(1 + 2μ − 2μ³))" if self.nesterov else "(1 + μ)/(1 − μ)"

    def __str__(self) -> str:
        return f"μ = {self.mu:g}{', of Nesterov' * self.nesterov}"


def noted_momentum(group: Sequence[Curve], momentum: float | None, nesterov: bool | None) -> Momentum:
    """Return the momentum of runs, as given or as all of them note it.

    Args:
        group: the runs' curves.
        momentum: μ; None for the setting `momentum`.
        nesterov: whether it is Nesterov's; None for the setting `nesterov`, which is False where it is not noted.

    Raises:
        MotionError: for a momentum that is unknown, or that the runs do not share.
    """
    mu = _shared(group, "momentum", momentum, None)
    if not is_finite_number(mu) or not 0 <= mu < 1:
        raise MotionError(
            f"momentum = {mu!r}: expected a number from 0 on, below 1: pass momentum=... (0 without one)"
        )
    kind = _shared(group, "nesterov", nesterov, False)
    if not isinstance(kind, bool | np.bool_):
        raise MotionError(f"nesterov = {kind!r}: expected True or False: pass nesterov=...")
    return Momentum(float(mu), bool(kind))


def _shared(group: Sequence[Curve], name: str, given: Any, missing: Any) -> Any:
    noted = [curve.settings.get(name, missing) for curve in group] if given is None else [given]
    if not all(is_same(other, noted[0]) for other in noted):
        listed = ", ".join(map(str, dict.fromkeys(noted)))
        raise MotionError(f"the runs note several values of {name} ({listed}); expected one: give those of one")
    return noted[0]


def doubts(
    momentum: Momentum, correlation: float, by_parameter: Mapping[str, float], start: float, exact: bool
) -> Iterator[str]:
    """Say what may be wrong with the momentum, and where the windows of a budget ask for more than was recorded.

    Args:
        momentum: as given or noted.
        correlation: of neighbouring updates of all weights; NaN where it is not known.
        by_parameter: the same of single parameters, which may have an optimizer of their own.
        start: the first update of the first window.
        exact: whether every update was recorded.

    Yields:
        A sentence for each doubt.
    """
    if abs(correlation - momentum.neighbours) > _UNLIKE:
        other = Momentum(momentum.mu, not momentum.nesterov)
        why = "the momentum was another, or the gradients are correlated"
        if abs(correlation - other.neighbours) <= _ALIKE:
            why = f"with nesterov={other.nesterov} they would give {other.neighbours:.2f}"
        yield (
            f"Neighbouring updates have correlation {correlation:.2f}, where gradients that are uncorrelated in time "
            f"give them {momentum.neighbours:.2g} ({momentum}): {why}."
        )
    unlike = [f"{name} {at:.2f}" for name, at in by_parameter.items() if abs(at - momentum.neighbours) > _UNLIKE]
    if unlike:
        yield (
            f"Of single parameters neighbouring updates have correlation: {', '.join(unlike)}; if these have another "
            f"momentum than {momentum}, as under an optimizer of their own, their R is wrong."
        )
    if start < momentum.settled:
        yield f"The first window begins before t = {momentum.settled:g} = {_SETTLED:g}/(1 − μ): R is too small there."
    if not exact:
        yield "Not every update was recorded: ‖Δw‖² is interpolated between those that were."


def other_optimizers(group: Sequence[Curve]) -> Iterator[str]:
    """Say which optimizers of runs may diffuse by another factor than `Momentum.diffusion`.

    Args:
        group: the runs' curves.

    Yields:
        A sentence for each.
    """
    for name in sorted({optimizer_of(curve) for curve in group} - set(_WEIGHTED)):
        yield (
            f"Trained with {name}, whose updates may not be sums of gradients weighted by μ^k, as those of "
            f"{', '.join(_WEIGHTED)} are: R may need another factor."
        )


def restarts(group: Sequence[Curve], momentum: Momentum, start: float, end: float) -> Iterator[str]:
    """Say where runs were resumed and their momentum began anew, so that R is too small until it is built up.

    The update after that is shorter (SGD) or longer (Adam) than those before.

    Args:
        group: the curves of runs with `update_norm`.
        momentum: as given or noted.
        start: the update before the first window, since the origin.
        end: the last update of the last window.

    Yields:
        A sentence for each such place, and for those where the update after it was not recorded.
    """
    memory = math.ceil(1 / (1 - momentum.mu) - 1e-9)
    for curve in group:
        if curve.run is None or not momentum.mu:
            continue
        norm = curve.run.total("update_norm")
        for step in (step for step in curve.run.resumed if start - memory <= step - curve.origin < end):
            before = norm.loc[step - memory : step].mean()
            ratio = norm.get(step + 1, math.nan) / before if before > 0 else math.nan
            if 1 / _AS_LONG < ratio < _AS_LONG:
                continue
            seen = "whether its momentum went on is not recorded; if it did not,"
            if not math.isnan(ratio):
                seen = f"the next update is {ratio:.2g} times as long as those before, as if its momentum began anew;"
            yield f"{curve.name} was resumed after update {step}: {seen} R is too small there."
