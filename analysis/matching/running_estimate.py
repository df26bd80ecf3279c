"""The level of a noisy distance on-line: a straight line of log d on log t over the last W, and its error.

Over a window W of u = log t a diffusing distance is close to a straight line in z = log d. Eight batch
means of width W/8 give the line's level at the newest update, and its standard error from their scatter:

    SE² = s² (1/8 + (u − ū)² / Σ_b (u_b − ū)²),    s² = Σ_b residual_b² / 6.

Batch means rather than updates, because the noise of neighbouring updates is correlated (tens of updates).
"k SE" stands for Student's quantile (6 degrees of freedom) at a normal variable's k standard deviations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log, sqrt
from typing import Any, NamedTuple, Self

from scipy.special import ndtr, stdtrit

WINDOWS = (0.05, 0.1)  # widths W: the narrow one answers sooner, the wide one bears more noise
# Scatter of the narrow window's batch means from which on 2 SE is 10 % in step and more (at a local exponent
# of .23, a real run's): it then resolves no more than the wide window, which fires early less often.
NOISY = 0.012

_BATCHES = 8
TWO, FIVE = (float(stdtrit(_BATCHES - 2, ndtr(k))) for k in (2.0, 5.0))
_SHORTEST_BATCH = 2  # updates: below t = 320 a batch of W/8 would hold less
_SMALLEST_JUMP = 0.01  # in log d, what seeds differ by: less does not show that a run left its path

Mean = tuple[float, float]  # a batch's means of u and z


class Line(NamedTuple):
    """The least-squares line of z on u through the batch means of one window."""

    mean_u: float
    mean_z: float
    slope: float
    spread: float  # Σ_b (u_b − ū)²
    scatter: float  # s

    @classmethod
    def through(cls, means: Sequence[Mean]) -> Self:
        """The line through n ≥ 3 batch means; sums are taken about the first, where they lose no digits."""
        n, (u0, z0) = len(means), means[0]
        su = sz = suu = suz = szz = 0.0
        for u, z in means:
            x, y = u - u0, z - z0
            su, sz, suu, suz, szz = su + x, sz + y, suu + x * x, suz + x * y, szz + y * y
        spread, cross = suu - su * su / n, suz - su * sz / n
        slope = cross / spread
        squares = max(szz - sz * sz / n - slope * cross, 0.0)
        return cls(u0 + su / n, z0 + sz / n, slope, spread, sqrt(squares / (n - 2)))

    def level(self, u: float) -> float:
        """z on the line at u."""
        return self.mean_z + self.slope * (u - self.mean_u)

    def error(self, u: float) -> float:
        """The level's standard error at u."""
        return self.scatter * sqrt(1 / _BATCHES + (u - self.mean_u) ** 2 / self.spread)

    def leaves(self, mean: Mean) -> bool:
        """Whether a new batch mean lies off the line by more than 5 of its standard errors."""
        error = sqrt(self.scatter**2 + self.error(mean[0]) ** 2)
        return abs(mean[1] - self.level(mean[0])) > max(FIVE * error, _SMALLEST_JUMP)


class Level(NamedTuple):
    """log d at the newest of a window's updates."""

    u: float
    z: float
    error: float  # standard error of z
    slope: float  # local exponent d log d / d log t
    jumped: bool  # whether the newest batch left the line through those before it


@dataclass
class LevelWindow:
    """Takes log distances one by one and gives a Level each time a window has moved by W/8.

    width: W; None for .05, or .1 where the batch means scatter by more than 1.2 %.
    """

    width: float | None = None
    means: list[Mean] = field(default_factory=list)  # closed batches, newest last
    closed: int = 0
    stride: int = 1  # batches to one mean: 2 makes the wide window out of the narrow one's batches
    line: Line | None = None  # through the window before the newest mean
    start: tuple[int, float] | None = None  # t and u where the open batch begins
    n: int = 0
    sum_u: float = 0.0
    sum_z: float = 0.0

    def add(self, t: int, z: float) -> Level | None:
        """Takes z = log d after t updates."""
        u = log(t)
        if self.start is None:
            self.start = (t, u)
        self.n += 1
        self.sum_u += u
        self.sum_z += z
        wide_enough = u - self.start[1] >= (self.width or WINDOWS[0]) / _BATCHES
        if not wide_enough or t - self.start[0] < _SHORTEST_BATCH:
            return None
        self.means.append((self.sum_u / self.n, self.sum_z / self.n))
        del self.means[: -2 * (_BATCHES + 1)]
        self.start, self.n, self.sum_u, self.sum_z = (t, u), 0, 0.0, 0.0
        self.closed += 1
        return self._level(u)

    def clear(self) -> None:
        """Begins anew."""
        self.__init__(self.width)  # type: ignore[misc]

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, in plain types."""
        return asdict(self) | {"line": tuple(self.line) if self.line else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict()`."""
        line = Line(*state["line"]) if state["line"] else None
        self.__init__(**dict(state) | {"line": line})  # type: ignore[misc]

    def _level(self, u: float) -> Level | None:
        if self.width is None and self.closed % _BATCHES == 0:
            self._choose_width()
        means = self.means if self.stride == 1 else _paired(self.means)
        if self.closed % self.stride or len(means) < _BATCHES:
            return None
        line = Line.through(means[-_BATCHES:])
        jumped = self.line is not None and self.line.leaves(means[-1])
        self.line = line
        return Level(u, line.level(u), line.error(u), line.slope, jumped)

    def _choose_width(self) -> None:
        """Looks at the noise once a window."""
        if len(self.means) >= 2 * _BATCHES:
            stride = 2 if Line.through(self.means[-2 * _BATCHES :]).scatter > NOISY else 1
            if stride != self.stride:
                self.stride, self.line = stride, None


def _paired(means: Sequence[Mean]) -> list[Mean]:
    """Means of twice the width, ending with the newest."""
    even = means[len(means) % 2 :]
    return [((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in zip(even[::2], even[1::2], strict=True)]
