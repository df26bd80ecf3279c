"""The running log-distance: log d at the newest update by a straight line on log t, and its standard error.

Over a window of bandwidth W in u = log t a diffusing distance is close to a straight line in z = log d. Eight batch
means of width W/8 give the line's value at the newest update, and its standard error from their scatter:

    SE² = s² (1/8 + (u − ū)² / Σ_b (u_b − ū)²),    s² = Σ_b residual_b² / 6.

Batch means stand for the updates, because the noise of neighbouring updates is correlated (over tens of updates).
"k SE" stands for Student's quantile (6 degrees of freedom) at k standard deviations of a normal variable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log, sqrt
from typing import Any, NamedTuple, Self

from scipy.special import ndtr, stdtrit

BANDWIDTHS = (0.05, 0.1)  # W: the narrow one answers sooner, the wide one bears more noise
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
        """Fit the line to batch means.

        The sums are taken about the first mean, where they lose no digits.

        Args:
            means: u and z of n ≥ 3 batches.
        """
        n, (u0, z0) = len(means), means[0]
        su = sz = suu = suz = szz = 0.0
        for u, z in means:
            x, y = u - u0, z - z0
            su, sz, suu, suz, szz = su + x, sz + y, suu + x * x, suz + x * y, szz + y * y
        spread, cross = suu - su * su / n, suz - su * sz / n
        slope = cross / spread
        squares = max(szz - sz * sz / n - slope * cross, 0.0)
        return cls(u0 + su / n, z0 + sz / n, slope, spread, sqrt(squares / (n - 2)))

    def value(self, u: float) -> float:
        """Return z on the line.

        Args:
            u: log t.
        """
        return self.mean_z + self.slope * (u - self.mean_u)

    def error(self, u: float) -> float:
        """Return the standard error of the line's value.

        Args:
            u: log t.
        """
        return self.scatter * sqrt(1 / _BATCHES + (u - self.mean_u) ** 2 / self.spread)

    def leaves(self, mean: Mean) -> bool:
        """Return whether a new batch mean lies off the line by more than 5 of its standard errors.

        Args:
            mean: u and z of the batch.
        """
        error = sqrt(self.scatter**2 + self.error(mean[0]) ** 2)
        return abs(mean[1] - self.value(mean[0])) > max(FIVE * error, _SMALLEST_JUMP)


class Estimate(NamedTuple):
    """The running log-distance at the newest update of a window."""

    u: float
    z: float
    error: float  # standard error of z
    slope: float  # local exponent d log d / d log t
    jumped: bool  # the newest batch left the line through those before it


@dataclass
class RunningLogDistance:
    """Takes log distances one by one and estimates each time that the window has moved by W/8.

    Attributes:
        bandwidth: W; None for .05, or .1 where the batch means scatter by more than 1.2 %.
        means: u and z of the closed batches, newest last.
        closed: number of batches closed so far.
        stride: batches that make one mean: 2 makes the wide window of the narrow one's batches.
        line: the line through the window before the newest mean.
        start: t and u at which the open batch begins.
        n: distances in the open batch.
        sum_u: sum of their u.
        sum_z: sum of their z.
    """

    bandwidth: float | None = None
    means: list[Mean] = field(default_factory=list)
    closed: int = 0
    stride: int = 1
    line: Line | None = None
    start: tuple[int, float] | None = None
    n: int = 0
    sum_u: float = 0.0
    sum_z: float = 0.0

    def add(self, t: int, z: float) -> Estimate | None:
        """Take one log distance.

        Args:
            t: updates made.
            z: log d after them.

        Returns:
            The estimate at t, where one is due and a window is full.
        """
        u = log(t)
        if self.start is None:
            self.start = (t, u)
        self.n += 1
        self.sum_u += u
        self.sum_z += z
        wide_enough = u - self.start[1] >= (self.bandwidth or BANDWIDTHS[0]) / _BATCHES
        if not wide_enough or t - self.start[0] < _SHORTEST_BATCH:
            return None
        self.means.append((self.sum_u / self.n, self.sum_z / self.n))
        del self.means[: -2 * (_BATCHES + 1)]
        self.start, self.n, self.sum_u, self.sum_z = (t, u), 0, 0.0, 0.0
        self.closed += 1
        return self._estimate(u)

    def clear(self) -> None:
        """Forget all distances."""
        self.__init__(self.bandwidth)  # type: ignore[misc]

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers, in plain types."""
        return asdict(self) | {"line": tuple(self.line) if self.line else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a `state_dict()`.

        Args:
            state: of this version, or of version 0.1, in which the bandwidth was called width.
        """
        present = {"bandwidth" if name == "width" else name: value for name, value in state.items()}
        line = Line(*present["line"]) if present["line"] else None
        self.__init__(**present | {"line": line})  # type: ignore[misc]

    def _estimate(self, u: float) -> Estimate | None:
        if self.bandwidth is None and self.closed % _BATCHES == 0:
            self._choose_stride()
        means = self.means if self.stride == 1 else _paired(self.means)
        if self.closed % self.stride or len(means) < _BATCHES:
            return None
        line = Line.through(means[-_BATCHES:])
        jumped = self.line is not None and self.line.leaves(means[-1])
        self.line = line
        return Estimate(u, line.value(u), line.error(u), line.slope, jumped)

    def _choose_stride(self) -> None:
        """Choose the bandwidth by the noise, once a window."""
        if len(self.means) >= 2 * _BATCHES:
            stride = 2 if Line.through(self.means[-2 * _BATCHES :]).scatter > NOISY else 1
            if stride != self.stride:
                self.stride, self.line = stride, None


def _paired(means: Sequence[Mean]) -> list[Mean]:
    """Return the means of batches of twice the width, ending with the newest."""
    even = means[len(means) % 2 :]
    return [((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in zip(even[::2], even[1::2], strict=True)]
