"""`DistanceMatcher`: the on-line test for "this run has travelled that far".

With z the level of log d and SE its standard error (`running_estimate`), every W/8 in log t: the matcher arms
once z < log D − 2 SE, and fires, for good, when z > log D + 2 SE twice running. A run that is above without
having been seen below, or that jumps across, has not travelled there: it gets a status, never a match.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import exp, hypot, isfinite, isnan, log, nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.errors import MatchError
from analysis.matching.running_estimate import TWO, Level, LevelWindow

# A √-scaled batch of 4096 is thrown to its distance within fifty updates: nothing before this one is travel.
TRANSIENT = 100
# A learning rate that moves by more than this inside a window bends the line; a slow decay does not.
RATE_CHANGE = 0.1

_LARGEST_LOG = 700.0  # e^700 is still a float


class Status(StrEnum):
    """Where a run stands against a target distance."""

    WAITING = "waiting"  # seen neither below the target nor above it
    ARMED = "armed"  # seen below
    MATCHED = "matched"
    ALREADY_ABOVE = "already_above"  # above, and never seen below
    NEVER_REACHED = "never_reached"  # the budget of updates is spent
    DIVERGED = "diverged"  # the distance is not finite, or jumped across the target

    @property
    def final(self) -> bool:
        """Whether further distances leave it as it is."""
        return self in (Status.MATCHED, Status.NEVER_REACHED, Status.DIVERGED)


_SENTENCES = {
    Status.WAITING: "not yet told from the target after {t} updates: {far}",
    Status.ARMED: "below the target after {t} updates: {far}",
    Status.NEVER_REACHED: "not reached in {t} updates: {far}",
    Status.ALREADY_ABOVE: (
        "above the target after {t} updates ({far}) and never seen below it from update {floor} on, as when"
        " the first updates throw the weights there: measure both runs from an origin after that transient,"
        " warm the learning rate up, or set a floor in steps (min_step)"
    ),
}


@dataclass(frozen=True)
class Match:
    """Where a run stands against one target.

    step: the update at which it matched; otherwise the last one seen (0: none).
    distance: the fitted level at the last decision, NaN before the first full window; target: in its unit.
    standard_error: of log distance. crossing: the step where the line meets the target, with `interval` at
    2 SE, in which the target's own standard error counts; both None unless matched.
    sentence: the same in words.
    """

    status: Status
    step: int
    distance: float
    target: float
    standard_error: float
    crossing: float | None
    interval: tuple[float, float] | None
    sentence: str

    def __str__(self) -> str:
        return f"{self.status}: {self.sentence}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; a number that does not exist yet is None."""
        fields = asdict(self) | {"status": str(self.status)}
        return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in fields.items()}


@dataclass
class _State:
    """What a matcher remembers beside its window."""

    passed: list[Match] = field(default_factory=list)  # one for each target matched so far
    status: Status = Status.WAITING
    above: int = 0  # levels above the target, running
    t: int = 0
    z: float = nan
    error: float = nan
    left: float | None = None  # the level before a jump, until a level below the target is seen again
    rate: float | None = None  # the learning rate when the window began
    fault: str = ""


class DistanceMatcher:
    """Watches a stream of distances until it reaches a target. Constant memory, one decision every W/8.

    targets: distance to reach, or several to reach in turn, in the stream's unit.
    target_errors: standard errors of log target. They widen the reported interval and delay nothing.
    origin: the update t_w that the distances are measured from, ‖w_t − w_{t_w}‖. Those up to it are passed over
        and the window lies in log(t − t_w); every t given and reported counts from w_0 all the same.
    window: W in log t; None chooses .05, or .1 where the distances are noisy.
    min_step: updates before it do not count; a run above its target by then is `already_above`.
    budget: the number of updates after which an unmatched target is `never_reached`.

    Steps must increase; those at or before the last one seen (replayed after a resume) are passed over.
    Raises MatchError if a target, the window or the budget is out of range.
    """

    def __init__(
        self,
        targets: float | Iterable[float],
        *,
        target_errors: float | Iterable[float] = 0.0,
        origin: int = 0,
        window: float | None = None,
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
        if window is not None and not 0 < window < 1:
            raise MatchError(f"window {window:g}: expected a width in log t between 0 and 1, such as 0.05")
        self.origin, self.min_step, self.budget = origin, min_step, budget
        self._window = LevelWindow(window)
        self._state = _State()

    @property
    def status(self) -> Status:
        """The status against the target watched now, or the last one."""
        return self._state.status

    @property
    def target(self) -> float:
        """The target watched now, or the last one."""
        return self.targets[self._index]

    @property
    def matches(self) -> tuple[Match, ...]:
        """The targets matched so far."""
        return tuple(self._state.passed)

    @property
    def match(self) -> Match:
        """Where the run stands against the target watched now, or the last one."""
        state = self._state
        if state.status is Status.MATCHED:
            return state.passed[-1]
        sentence = self._sentence()
        return Match(state.status, state.t, exp(state.z), self.target, state.error, None, None, sentence)

    def update(self, t: ArrayLike, distance: ArrayLike, learning_rate: ArrayLike | None = None) -> Status:
        """Takes ‖w_t − w_origin‖ after t updates, or arrays of both in order, and returns the status.

        learning_rate: of those updates. The window restarts when it moves by more than 10 %; after a rise, the run
            must also be seen below the target again.
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
        """Forgets the window and that the run was seen below, as after a change of the learning rate."""
        self._window.clear()
        self._state.above, self._state.left = 0, None
        if not self.status.final:
            self._state.status = Status.WAITING

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly, in plain types."""
        state = asdict(self._state) | {"status": str(self.status)}
        passed = [asdict(match) | {"status": str(match.status)} for match in self.matches]
        return state | {"targets": self.targets, "passed": passed, "window": self._window.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict()`. Raises MatchError if that one watched for other targets."""
        fields = dict(state)
        targets = tuple(fields.pop("targets"))
        if targets != self.targets:
            raise MatchError(f"saved state for targets {targets}, expected {self.targets}; use the same reference")
        self._window.load_state_dict(fields.pop("window"))
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
            level = self._window.add(t - self.origin, log(distance))
            if level:
                self._judge(level)
        if self.budget is not None and t >= self.budget and state.status in (Status.WAITING, Status.ARMED):
            state.status = Status.NEVER_REACHED

    def _watch_rate(self, rate: float) -> None:
        if self._state.rate is None:
            self._state.rate = rate
        elif abs(rate - self._state.rate) > RATE_CHANGE * self._state.rate:
            if rate > self._state.rate:
                self.restart()
            else:  # a lower rate throws nothing: a run seen below stays so
                self._window.clear()
                self._state.above = 0
            self._state.rate = rate

    def _next_target(self) -> bool:
        """Goes on to the target after a match, if there is one."""
        if self.status is not Status.MATCHED or len(self.matches) == len(self.targets):
            return False
        self._state.status, self._state.above = Status.WAITING, 0
        return True

    def _judge(self, level: Level) -> None:
        state = self._state
        if level.jumped:
            self._leave()
            return
        state.z, state.error = level.z, level.error
        if state.t < self.min_step:
            return
        gap, margin = level.z - log(self.target), TWO * level.error
        state.above = state.above + 1 if gap > margin else 0
        if gap < -margin:
            state.status, state.left = Status.ARMED, None
        elif state.above >= 2:
            self._cross(level)

    def _fire(self, level: Level) -> None:
        state, target = self._state, self.target
        crossing = interval = None
        if level.slope > 0:
            middle = level.u - (level.z - log(target)) / level.slope
            half = TWO * hypot(level.error, self.target_errors[self._index]) / level.slope
            crossing = self.origin + exp(middle)
            interval = (self.origin + exp(middle - half), self.origin + exp(min(middle + half, _LARGEST_LOG)))
        distance, percent = exp(level.z), 100 * level.error
        sentence = f"reached {target:.4g} after {state.t} updates, at {distance:.4g} ± {percent:.2g} %"
        state.status = Status.MATCHED
        state.passed.append(Match(state.status, state.t, distance, target, level.error, crossing, interval, sentence))

    def _leave(self) -> None:
        """A jump off the line: a new window tells whether it led across the target."""
        left = self._state.z if self.status is Status.ARMED else self._state.left
        self.restart()
        self._state.left = left

    def _cross(self, level: Level) -> None:
        """Above the target twice running: travelled there, jumped there, or never seen below."""
        state = self._state
        if state.status is Status.ARMED:
            self._fire(level)
        elif state.left is not None:
            before, after = exp(state.left), exp(level.z)
            self._diverge(f"the distance jumped across the target {self.target:.4g}, {before:.4g} to {after:.4g}")
        else:
            state.status = Status.ALREADY_ABOVE

    def _diverge(self, fault: str) -> None:
        self._state.status, self._state.fault = Status.DIVERGED, fault

    def _sentence(self) -> str:
        state = self._state
        far = f"{exp(state.z):.4g} of {self.target:.4g}" if isfinite(state.z) else "no full window of distances"
        return state.fault or _SENTENCES[state.status].format(t=state.t, far=far, floor=self.min_step)
