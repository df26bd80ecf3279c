"""Schedules: which steps are recorded. A schedule answers `step in schedule`."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import index
from typing import Protocol

from trajectory.errors import RecordingError


class Schedule(Protocol):
    """Any object that can tell whether a step, counted in weight updates from 0, belongs to it."""

    def __contains__(self, step: int, /) -> bool: ...


@dataclass(frozen=True)
class Every:
    """The steps 0, n, 2n, ...

    Attributes:
        n: the number of updates from one step to the next.
        until: the last step that may belong to the schedule; None: it has no end.

    Raises:
        RecordingError: `n` is no whole number, or less than 1.

    Examples:
        >>> from trajectory import Every
        >>> list(Every(10, until=35))
        [0, 10, 20, 30]
        >>> 40 in Every(10)
        True
    """

    n: int
    until: int | None = None

    def __post_init__(self) -> None:
        if not hasattr(self.n, "__index__") or self.n < 1:
            raise RecordingError(f"Every({self.n!r}): expected a whole number of steps, 1 or more")
        object.__setattr__(self, "n", index(self.n))  # NumPy's integers too, which JSON does not know

    def __contains__(self, step: int) -> bool:
        return step % self.n == 0 and (self.until is None or step <= self.until)

    def __iter__(self) -> Iterator[int]:
        return iter(range(0, _end(self, self.until) + 1, self.n))


@dataclass(frozen=True)
class LogSpaced:
    """Step 0 and the steps round(10^(k / per_decade)) for k = 0, 1, 2, ...: evenly spaced in log t.

    Attributes:
        per_decade: how many steps there are from t to 10 t, once they are further apart than 1.
        until: the last step that may belong to the schedule; None: it has no end.

    Raises:
        RecordingError: `per_decade` is less than 1.

    Examples:
        >>> from trajectory import LogSpaced
        >>> list(LogSpaced(2, until=1000))
        [0, 1, 3, 10, 32, 100, 316, 1000]
    """

    per_decade: int = 12
    until: int | None = None

    def __post_init__(self) -> None:
        if self.per_decade < 1:
            raise RecordingError(f"LogSpaced({self.per_decade}): expected 1 or more steps a decade")

    def __contains__(self, step: int) -> bool:
        if self.until is not None and step > self.until:
            return False
        if step <= 1:
            return step in (0, 1)
        nearest = round(self.per_decade * math.log10(step))
        return any(round(10 ** (k / self.per_decade)) == step for k in (nearest - 1, nearest, nearest + 1))

    def __iter__(self) -> Iterator[int]:
        last, step = _end(self, self.until), 0
        while step <= last:
            yield step
            step = self.after(step)

    def after(self, step: int) -> int:
        """Return the next step, as if there were no end.

        Args:
            step: any step from 0 on.

        Returns:
            The first step of the schedule after it.
        """
        k = max(math.floor(self.per_decade * math.log10(step + 0.5)) - 1, 0)  # what follows is step + 1/2 or more
        while (following := round(10 ** (k / self.per_decade))) <= step:
            k += 1
        return following


@dataclass(frozen=True, init=False)
class At:
    """The listed steps.

    Args:
        steps: the steps, in any order.

    Examples:
        >>> from trajectory import At
        >>> list(At([100, 1, 10]))
        [1, 10, 100]
    """

    steps: frozenset[int]
    """The steps."""

    def __init__(self, steps: Iterable[int]) -> None:
        object.__setattr__(self, "steps", frozenset(int(step) for step in steps))

    def __contains__(self, step: int) -> bool:
        return step in self.steps

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self.steps))


def _end(schedule: Schedule, until: int | None) -> int:
    if until is None:
        raise RecordingError(f"{schedule} has no end; expected a bounded one here: say until=")
    return until


def as_schedule(schedule: Schedule | int) -> Schedule:
    """Return a schedule.

    Args:
        schedule: a schedule, or a whole number n, which stands for `Every(n)`.

    Returns:
        The schedule.

    Raises:
        RecordingError: it is neither.
    """
    if hasattr(schedule, "__index__"):
        return Every(schedule)  # type: ignore[arg-type]
    if isinstance(schedule, str) or not hasattr(schedule, "__contains__"):
        raise RecordingError(
            f"schedule {schedule!r}: expected n for every n-th step, or a schedule, such as LogSpaced(12)"
        )
    return schedule


def origin_steps(origins: Iterable[int | str] | int, memory: float | None) -> tuple[int, ...]:
    """Return the steps that distances are measured from, other than 0.

    Args:
        origins: a step, or steps in any order, or texts such as "5tau": multiples of the memory time.
        memory: τ = (1 − μ)/(ηλ), the updates after which weights under weight decay λ, learning rate η and momentum μ
            have forgotten where they began; None where there is no decay, or it is not known.

    Returns:
        Each step once, in order, without 0.

    Raises:
        RecordingError: for an origin that is neither, or a multiple of a memory time that is not known.
    """
    given = [origins] if isinstance(origins, str) or not isinstance(origins, Iterable) else origins
    return tuple(sorted({_origin_step(origin, memory) for origin in given} - {0}))


def _origin_step(origin: int | str, memory: float | None) -> int:
    if not isinstance(origin, str):
        return int(origin)
    number = origin.strip().removesuffix("tau").removesuffix("τ")
    try:
        if number == origin.strip():
            return int(number)
        value = float(number)
    except ValueError:
        raise RecordingError(f"origin {origin!r}: expected a step, or a multiple of τ such as '5tau'") from None
    if memory is None:
        raise RecordingError(
            f"origin {origin!r}: τ = (1 − μ)/(ηλ) needs SGD or AdamW with a learning rate and weight decay; expected "
            "a step"
        )
    return round(value * memory)
