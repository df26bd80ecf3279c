"""Which steps to record: a schedule answers `step in schedule`."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from trajectory.errors import RecordingError


class Schedule(Protocol):
    """Any object that says whether a step, counted in weight updates from 0, belongs to it."""

    def __contains__(self, step: int, /) -> bool: ...


@dataclass(frozen=True)
class Every:
    """Steps 0, n, 2n, ..., up to `until` if it is given."""

    n: int
    until: int | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise RecordingError(f"Every({self.n}): expected a whole number of steps, 1 or more")

    def __contains__(self, step: int) -> bool:
        return step % self.n == 0 and (self.until is None or step <= self.until)

    def __iter__(self) -> Iterator[int]:
        return iter(range(0, _end(self, self.until) + 1, self.n))


@dataclass(frozen=True)
class LogSpaced:
    """Step 0 and round(10^(k / per_decade)) for k = 0, 1, 2, ...: evenly spaced in log t, up to `until` if given."""

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
        last, step, k = _end(self, self.until), 0, 0
        while step <= last:
            yield step
            while (following := round(10 ** (k / self.per_decade))) <= step:
                k += 1
            step = following


@dataclass(frozen=True, init=False)
class At:
    """The listed steps."""

    steps: frozenset[int]

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
    """An int n stands for `Every(n)`."""
    return Every(schedule) if isinstance(schedule, int) else schedule
