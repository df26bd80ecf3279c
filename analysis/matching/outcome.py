"""What a matcher says of a run and a target distance: the status, and the match with its numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from analysis.serialize import Part, Tabulated, jsonable


class Status(StrEnum):
    """The status of a run with respect to a target distance.

    Examples:
        >>> from analysis import DistanceMatcher, Status
        >>> matcher = DistanceMatcher(6.0)
        >>> matcher.update(1, 0.5) is Status.WAITING
        True
        >>> Status.MATCHED.final
        True
    """

    WAITING = "waiting"
    """The run was seen neither below the target nor above it."""
    ARMED = "armed"
    """The run was seen below the target."""
    MATCHED = "matched"
    """The run is above the target and was seen below it before."""
    ALREADY_ABOVE = "already_above"
    """The run is above the target and was never seen below it."""
    NEVER_REACHED = "never_reached"
    """The run has used up its budget of updates below the target."""
    DIVERGED = "diverged"
    """The run's distance is not finite, or jumped across the target."""

    @property
    def final(self) -> bool:
        """True if further distances leave the status as it is."""
        return self in (Status.MATCHED, Status.NEVER_REACHED, Status.DIVERGED)


SENTENCES = {
    Status.WAITING: "after {t} updates the distance, {distance}, is as near to the target {target} as its error",
    Status.ARMED: "after {t} updates the distance is {distance}, {side} the target {target}",
    Status.NEVER_REACHED: "after all {t} updates the distance is {distance}, {side} the target {target}",
    Status.ALREADY_ABOVE: (
        "after {t} updates the distance is {distance}, above the target {target}, but from update {floor} on it was"
        " never seen below: the first updates may have carried it across. Measure both runs from an origin after"
        " those, warm the learning rate up, or set a floor in steps (min_step)"
    ),
}
BELOW, TOO_LITTLE_ABOVE = "still below", "not far or long enough above"
NO_DISTANCE = "after {t} updates there are too few distances to compare with the target {target}"


@dataclass(frozen=True, repr=False)
class Match(Tabulated):
    """The outcome of comparing a run with one target distance.

    Attributes:
        status: whether the run matched, and otherwise why not.
        step: the update at which it matched; if it did not, the last one seen (0: none).
        distance: the running distance at the last decision; NaN before the first full window.
        target: the distance to match, in the same unit.
        standard_error: that of the logarithm of the running distance.
        crossing: the update at which the fitted line meets the target; None unless matched.
        interval: the updates around the crossing within 2 SE, the target's own standard error included; None unless
            matched.
        sentence: the same in words.

    Examples:
        >>> import numpy as np
        >>> from analysis import DistanceMatcher
        >>> t = np.arange(1, 2001)
        >>> matcher = DistanceMatcher(6.0)
        >>> status = matcher.update(t, t**0.25)
        >>> matcher.match.status.value, round(matcher.match.crossing)
        ('matched', 1296)
    """

    status: Status
    step: int
    distance: float
    target: float
    standard_error: float
    crossing: float | None
    interval: tuple[float, float] | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; a number that does not exist yet is None."""
        return {name: jsonable(value) for name, value in asdict(self).items()}

    def _summary(self) -> Sequence[Part]:
        parts = [f"{self.status}: {self.sentence}"]
        if self.crossing is not None and self.interval is not None:
            low, high = self.interval
            parts.append(f"met the target at update {self.crossing:.0f}, at 2 SE {low:.0f} to {high:.0f}")
        return parts
