"""`DistanceMatcher`: the on-line test of whether a run has travelled as far as a target distance D.

Let z be the running log-distance and SE its standard error (`running_estimate`), estimated every W/8 in log t. The
matcher arms once z < log D − 2 SE, and fires, for good, when z > log D + 2 SE in two successive estimates. A run that
is above D and was never seen below it, or that jumps across, has not travelled there: it gets a status and no match.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import exp, hypot, isfinite, isnan, log, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.errors import MatchError
from analysis.fitting.former_names import accept_former_keywords
from analysis.inputs import check_update, is_finite_number
from analysis.matching.outcome import BELOW, NO_DISTANCE, SENTENCES, TOO_LITTLE_ABOVE, Match, Status
from analysis.matching.running_estimate import TWO, Estimate, RunningLogDistance

# The initial transient of a √-scaled batch of 4096 lasts fifty updates (docs/matching.md): no distance counts before
# this update.
TRANSIENT = 100
# A learning rate that changes by more than this fraction inside a window bends the line; a slow decay does not.
RATE_CHANGE = 0.1

_LARGEST_LOG = 700.0  # e^700 is still a float


@dataclass
class _State:
    """What a matcher remembers beside its running estimate."""

    passed: list[Match] = field(default_factory=list)  # one for each target matched so far
    status: Status = Status.WAITING
    above: int = 0  # successive estimates above the target
    t: int = 0
    z: float = nan
    error: float = nan
    left: float | None = None  # the estimate before a jump, until one below the target is seen again
    rate: float | None = None  # the learning rate when the window began
    fault: str = ""


class DistanceMatcher:
    """Watches a stream of distances until it reaches a target.

    The rule is in the module's docstring. Memory is constant, and there is one decision for each W/8 in log t. Steps
    must increase; those at or before the last one seen (replayed after a resume) are passed over.

    Args:
        targets: distance to reach, or several to reach in turn, in the unit of the stream.
        target_errors: standard errors of the targets' logarithms. They widen the reported interval and delay nothing.
        origin: the update t_w that the distances are measured from, ‖w_t − w_{t_w}‖. Distances up to it are passed
            over, and log(t − t_w) takes the place of log t; every t given and reported counts from w_0 all the same.
        bandwidth: W in log t; None chooses .05, or .1 where the distances are noisy.
        min_step: updates before it do not count; a run that is above its target by then is `already_above`.
        budget: the number of updates after which an unmatched target is `never_reached`; None for no limit.

    Raises:
        MatchError: if a target or the bandwidth is out of range.
        AnalysisError: if `min_step` or `budget` is no number of updates.

    Examples:
        >>> import numpy as np
        >>> from analysis import DistanceMatcher
        >>> matcher = DistanceMatcher(6.0)
        >>> for t in range(1, 2001):  # in a training loop, the run's distance after each update
        ...     status = matcher.update(t, t**0.25)
        >>> print(status, matcher.match.step - 1296 in range(20))
        matched True
    """

    @accept_former_keywords(window="bandwidth")
    def __init__(
        self,
        targets: float | Iterable[float],
        *,
        target_errors: float | Iterable[float] = 0.0,
        origin: int = 0,
        bandwidth: float | None = None,
        min_step: int = TRANSIENT,
        budget: int | None = None,
    ):
        self.targets = tuple(np.atleast_1d(np.asarray(targets, float)).tolist())
        errors = np.nan_to_num(np.asarray(target_errors, float))
        self.target_errors = tuple(np.broadcast_to(errors, len(self.targets)).tolist())
        if not self.targets:
            raise MatchError("no target distance was given; expected one or more")
        for target in self.targets:
            if not (isfinite(target) and target > 0):
                raise MatchError(f"target distance {target:g}: expected a positive, finite number")
        if bandwidth is not None and not (is_finite_number(bandwidth) and 0 < bandwidth < 1):
            raise MatchError(f"bandwidth {bandwidth!r}: expected a width in log t between 0 and 1, such as 0.05")
        check_update(min_step, "min_step")
        check_update(budget, "budget")
        self.origin, self.min_step, self.budget = origin, min_step, budget
        self._running = RunningLogDistance(bandwidth)
        self._state = _State()

    @property
    def status(self) -> Status:
        """Return the status with respect to the target watched now, or the last one."""
        return self._state.status

    @property
    def target(self) -> float:
        """Return the target watched now, or the last one."""
        return self.targets[self._index]

    @property
    def matches(self) -> tuple[Match, ...]:
        """Return the matches so far, in the order of their targets."""
        return tuple(self._state.passed)

    @property
    def match(self) -> Match:
        """Return the outcome so far for the target watched now, or the last one."""
        state = self._state
        if state.status is Status.MATCHED:
            return state.passed[-1]
        sentence = self._sentence()
        return Match(state.status, state.t, exp(state.z), self.target, state.error, None, None, sentence)

    def update(self, t: ArrayLike, distance: ArrayLike, learning_rate: ArrayLike | None = None) -> Status:
        """Take ‖w_t − w_origin‖ after t updates, or arrays of both in order.

        Args:
            t: updates made, a number or (update,).
            distance: the distance after each of them.
            learning_rate: the learning rate of those updates. Where it changes by more than 10 % the running estimate
                starts anew; after a rise, the run must also be seen below the target again.

        Returns:
            The status after them.
        """
        if np.ndim(t) == 0:
            self._take(int(t), float(distance), learning_rate)  # type: ignore[arg-type]
            return self.status
        steps, distances = np.asarray(t), np.asarray(distance, float)
        rates = np.broadcast_to(np.asarray(learning_rate), steps.shape)
        for step, d, rate in zip(steps.tolist(), distances.tolist(), rates.tolist(), strict=True):
            self._take(step, d, rate)
        return self.status

    def restart(self) -> None:
        """Forget the running estimate, and that the run was seen below, as after a rise of the learning rate."""
        self._running.clear()
        self._state.above, self._state.left = 0, None
        if not self.status.final:
            self._state.status = Status.WAITING

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to resume exactly, in plain types."""
        state = asdict(self._state) | {"status": str(self.status)}
        passed = [asdict(match) | {"status": str(match.status)} for match in self.matches]
        return state | {"targets": self.targets, "passed": passed, "window": self._running.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a `state_dict()`.

        Args:
            state: of a matcher with the same targets; those of version 0.1 are read too.

        Raises:
            MatchError: if its targets are others.
        """
        fields = dict(state)
        targets = tuple(fields.pop("targets"))
        if targets != self.targets:
            raise MatchError(f"saved state for targets {targets}, expected {self.targets}; use the same reference")
        self._running.load_state_dict(fields.pop("window"))
        passed = []
        for entry in fields["passed"]:
            interval = None if entry["interval"] is None else tuple(entry["interval"])
            passed.append(Match(**entry | {"status": Status(entry["status"]), "interval": interval}))
        self._state = _State(**fields | {"status": Status(fields["status"]), "passed": passed})

    @property
    def _index(self) -> int:
        return len(self._state.passed) - (self.status is Status.MATCHED)

    def _take(self, t: int, distance: float, rate: float | None) -> None:
        state = self._state
        if t <= max(state.t, self.origin) or (state.status.final and not self._next_target()):
            return
        state.t = t
        if rate is not None and not isnan(rate):
            self._watch_rate(rate)
        if not (isfinite(distance) and distance >= 0):
            self._diverge(f"the distance is {distance:g} after {t} updates")
        elif distance > 0:  # 0: nothing has moved yet, as in a warm-up that begins at rate 0
            estimate = self._running.add(t - self.origin, log(distance))
            if estimate:
                self._judge(estimate)
        if self.budget is not None and t >= self.budget and state.status in (Status.WAITING, Status.ARMED):
            state.status = Status.NEVER_REACHED

    def _watch_rate(self, rate: float) -> None:
        if self._state.rate is None:
            self._state.rate = rate
        elif abs(rate - self._state.rate) > RATE_CHANGE * self._state.rate:
            if rate > self._state.rate:
                self.restart()
            else:  # a lower rate causes no overshoot: a run seen below stays so
                self._running.clear()
                self._state.above = 0
            self._state.rate = rate

    def _next_target(self) -> bool:
        """Watch for the target after a match, if there is one."""
        if self.status is not Status.MATCHED or len(self.matches) == len(self.targets):
            return False
        self._state.status, self._state.above = Status.WAITING, 0
        return True

    def _judge(self, estimate: Estimate) -> None:
        state = self._state
        if estimate.jumped:
            self._leave()
            return
        state.z, state.error = estimate.z, estimate.error
        if state.t < self.min_step:
            return
        gap, margin = estimate.z - log(self.target), TWO * estimate.error
        state.above = state.above + 1 if gap > margin else 0
        if gap < -margin:
            state.status, state.left = Status.ARMED, None
        elif state.above >= 2:
            self._cross(estimate)

    def _fire(self, estimate: Estimate) -> None:
        state, target = self._state, self.target
        crossing = interval = None
        if estimate.slope > 0:
            middle = estimate.u - (estimate.z - log(target)) / estimate.slope
            half_width = TWO * hypot(estimate.error, self.target_errors[self._index]) / estimate.slope
            low, high = middle - half_width, min(middle + half_width, _LARGEST_LOG)
            crossing = self.origin + exp(middle)
            interval = (self.origin + exp(low), self.origin + exp(high))
        distance, percent = exp(estimate.z), 100 * estimate.error
        passed = f"the distance is {distance:.4g} ± {percent:.2g} %, and so past the target {target:.4g}"
        state.status = Status.MATCHED
        state.passed.append(
            Match(
                state.status,
                state.t,
                distance,
                target,
                estimate.error,
                crossing,
                interval,
                f"after {state.t} updates {passed}",
            )
        )

    def _leave(self) -> None:
        """Start anew after a jump off the line: the next full window shows if it led across the target."""
        left = self._state.z if self.status is Status.ARMED else self._state.left
        self.restart()
        self._state.left = left

    def _cross(self, estimate: Estimate) -> None:
        """Decide how a run came above the target: it travelled or jumped there, or was never seen below."""
        state = self._state
        if state.status is Status.ARMED:
            self._fire(estimate)
        elif state.left is not None:
            before, after = exp(state.left), exp(estimate.z)
            self._diverge(
                f"the distance jumped from {before:.4g} to {after:.4g}, across the target {self.target:.4g}"
            )
        else:
            state.status = Status.ALREADY_ABOVE

    def _diverge(self, fault: str) -> None:
        self._state.status, self._state.fault = Status.DIVERGED, fault

    def _sentence(self) -> str:
        state = self._state
        if state.fault:
            return state.fault
        said = SENTENCES[state.status] if isfinite(state.z) else NO_DISTANCE
        numbers = {"distance": f"{exp(state.z):.4g}" if isfinite(state.z) else "", "target": f"{self.target:.4g}"}
        side = BELOW if exp(state.z) < self.target else TOO_LITTLE_ABOVE
        return said.format(t=state.t, floor=self.min_step, side=side, **numbers)
