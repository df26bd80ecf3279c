"""Drops of the learning rate that are seen in the optimizer, since nobody has filed them."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from trajectory.schema.layout import Event

LR_DROP = "lr_drop"  # the event of a learning rate that falls at once
_SHARP = 1.5  # a rate that falls by this factor between two updates is a drop, not a smooth decay


class LRWatcher:
    """Compares the learning rates of successive updates.

    Attributes:
        rate: The last update's learning rate; None before the first one, or if it is unknown.
    """

    rate: float | None = None

    def __init__(self) -> None:
        self._filed_at = -1

    def resume(self, rate: float | None, events: Iterable[Event]) -> None:
        """Continue after an interruption.

        Args:
            rate: The learning rate of the update before it.
            events: What had been filed until then.
        """
        self.rate = rate
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
                device.
            step: The number of updates before this one.

        Returns:
            The details of a drop that nobody has filed; empty if there was none.
        """
        if isinstance(rate, Tensor):
            return {}
        before, self.rate = self.rate, rate
        if before and rate * _SHARP <= before and self._filed_at != step:
            return {"lr_from": before, "lr_to": rate, "reason": "seen in the optimizer"}
        return {}
