"""Where the time of a recorded update goes that it takes whatever the weights' number.

Every update is timed by itself, by the clock: medians leave out what other processes take. What is done once in 64
updates is spread over them. A part's time leaves out that of the parts within it, and what timing takes, which is
measured first.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial, wraps
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

from recording.fixed_cost import small_network
from recording.report import Report, Turn, record, rounds_of, scratch

from trajectory.measure.kernel_cpu import SumsOfSquares
from trajectory.measure.observables import Observables
from trajectory.recording.delivery import Delivery
from trajectory.recording.model_watcher import ModelWatcher
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.reports import Reports
from trajectory.recording.rows import BLOCK
from trajectory.recording.update_counter import UpdateCounter

_PARTS: dict[str, tuple[type, str]] = {
    "before the step: is anything left to be done by an interrupt?": (UpdateCounter, "_before_step"),
    "after it: which update it was, and what is to be looked at": (UpdateCounter, "_after_round"),
    "its number, rate and row": (Pipeline, "update"),
    "where the tensors lie": (Observables, "have_moved"),
    "the pass over the weights": (SumsOfSquares, "write"),
    "a number logged": (Reports, "log"),
    "once in 64: rows and numbers given to the thread that writes": (Delivery, "send"),
    "once in 64: have the weights moved between updates?": (ModelWatcher, "before_update"),
    "once in 64: is the model that of the start?": (ModelWatcher, "_look"),
}
_REST = "the rest, in and around the step"


class _Clock:
    """Adds up the time that is spent in parts, which may lie within each other, without what timing takes."""

    def __init__(self) -> None:
        self.spent, self._within = dict.fromkeys(["", *_PARTS], 0.0), 0.0  # `_within` others, of the part under way
        self._inside = self._outside = 0.0  # what timing adds to a part, and to the one around it
        empty, times = self.timed("", lambda: None), []
        for _ in range(5000):
            around, inside = _seconds(1, empty), self.spent[""]
            times.append((inside, around - inside))
            self.spent[""] = 0.0
        self._inside, self._outside = (median(each) for each in zip(*times, strict=True))
        self.read()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose time is that part's."""

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            around, self._within = self._within, 0.0
            began = perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                whole = perf_counter() - began
                self.spent[part] += whole - self._within - self._inside
                self._within = around + whole + self._outside

        return call

    def read(self) -> tuple[dict[str, float], float]:
        """The time by part since the last call, and that of all with their timing."""
        found = self.spent, self._within
        self.spent, self._within = dict.fromkeys(_PARTS, 0.0), 0.0
        return found


def measure_fixed_parts(report: Report, scale: float) -> None:
    """The parts of what recording adds to a step of 20 tensors of 8×8, with a number logged after each."""
    clock = _Clock()
    with scratch() as folder, ExitStack() as patches:
        for part, (owner, name) in _PARTS.items():
            patches.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        alone, (model, optimizer) = small_network()[1], small_network()
        recorder = record(folder / "run.zarr", model, optimizer)
        steps: list[float] = []
        updates: list[dict[str, float]] = []
        for _ in range(rounds_of(100, scale)):
            steps += [_seconds(1, alone.step) for _ in range(BLOCK)]
            for _ in range(BLOCK):
                clock.read()
                recorded = _seconds(1, optimizer.step, partial(recorder.log, loss=0.5))
                spent, whole = clock.read()
                updates.append({**spent, _REST: recorded - whole})
        recorder.close()
    step = 1e6 * median(steps)
    figures = {part: 1e6 * _typical([update[part] for update in updates[BLOCK:]]) for part in updates[0]}
    figures = {"the step alone": step, **figures, _REST: figures[_REST] - step}
    added = sum(figures.values()) - figures["the step alone"]
    rows = [[part, f"{figure:.1f}", f"{figure / added:.2f}"] for part, figure in figures.items()]
    rows[0][2] = ""
    rows.append(["recording adds", f"{added:.1f}", ""])
    report.table("A step of 20 tensors of 8×8, CPU", ["", "µs per update", "share"], rows)


def _typical(times: list[float]) -> float:
    """The median of an update's times; of what few updates do, spread over a block."""
    done = [time for time in times if time]
    return median(done) / (1 if 2 * len(done) > len(times) else BLOCK)


def _seconds(count: int, *turns: Turn) -> float:
    """Seconds that turns take, so many times."""
    began = perf_counter()
    for _ in range(count):
        for turn in turns:
            turn()
    return perf_counter() - began
