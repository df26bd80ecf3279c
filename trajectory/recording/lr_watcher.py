"""Drops of the learning rate that are seen in the optimizer, since nobody has filed them."""

from collections.abc import Iterable, Mapping
from math import isfinite

from torch import Tensor

from trajectory.schema.layout import LR_DROP, Event

_SHARP = 1.5  # a rate that falls by less than this factor between two updates decays smoothly
_STEEP = (
    3  # a fall by more than this many times the last smooth one is a drop: linear and cosine schedules end in none
)


class LRWatcher:
    """Compares the learning rates of successive updates.

    A drop is a fall to 2/3 or less, and to more than three times as far as the last smooth step of the schedule. The
    last steps of a linear or cosine schedule fall by large factors too, but not farther than those before.

    Attributes:
        rate: The last update's learning rate; None before the first one, or if it is unknown.
        fall: How far the rate fell in the last smooth step since it last rose or dropped.
    """

    rate: float | None = None
    fall: float = 0.0

    def __init__(self) -> None:
        self._filed_at = -1

    def resume(self, rate: float | None, events: Iterable[Event], fall: float = 0.0) -> None:
        """Continue after an interruption.

        Args:
            rate: The learning rate of the update before it.
            events: What had been filed until then.
            fall: How far the rate had fallen in the last smooth step.
        """
        self.rate, self.fall = rate, fall
        self._filed_at = max((event.step for event in events if event.name == LR_DROP), default=-1)

    def note_filed(self, step: int) -> None:
        """Note that a drop was filed by somebody else.

        Args:
            step: The number of updates before the drop.
        """
        self._filed_at = step

    def observe(self, rate: float | Tensor, step: int) -> Mapping[str, float | str]:
        """Compare the learning rate of the update just made with the one before.

        Args:
            rate: The rate that the update was made with. A tensor is passed over: reading it would wait for the
                device. So is NaN or infinity, which no schedule falls to.
            step: The number of updates before this one.

        Returns:
            The details of a drop that nobody has filed; empty if there was none.
        """
        if isinstance(rate, Tensor) or not isfinite(rate):
            return {}
        before, self.rate = self.rate, rate
        if before is None or rate == before:
            return {}
        fall = before - rate
        if rate * _SHARP > before or fall <= _STEEP * self.fall:
            self.fall = max(fall, 0.0)
            return {}
        self.fall = 0.0
        if self._filed_at == step:
            return {}
        return {"lr_from": before, "lr_to": rate, "reason": "seen in the optimizer"}
