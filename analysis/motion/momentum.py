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

from analysis.curve import Curve
from analysis.errors import MotionError
from analysis.inputs import is_finite_number

_SETTLED = 10.0  # times 1/(1 − μ): by then μ^t is 4e-5 at μ = .9, and the start of the momentum is forgotten
_UNLIKE = 0.2  # of a correlation: what gradients are correlated in time by, at most, where their noise is alive
_ALIKE = 0.05  # of a correlation: what chance leaves of it (`neighbour_correlations`)


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
    if not isinstance(kind, bool):
        raise MotionError(f"nesterov = {kind!r}: expected True or False: pass nesterov=...")
    return Momentum(float(mu), kind)


def _shared(group: Sequence[Curve], name: str, given: Any, missing: Any) -> Any:
    noted = [curve.settings.get(name, missing) for curve in group] if given is None else [given]
    if any(other != noted[0] for other in noted):
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
