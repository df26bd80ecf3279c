"""Moves of the weights between two updates, which nothing has counted.

The weights are measured once more before some updates and in the end: equal weights give equal numbers. All of the
first updates are among these, so that what moves the weights every few updates, as Lookahead does, is seen in them.
"""

from collections.abc import Sequence

from trajectory.measure.host_copy import HostCopy
from trajectory.recording.measured_model import MeasuredModel
from trajectory.recording.rows import BLOCK, EARLY

_FIRST = 16  # updates


class WeightMoves:
    """Compares the weights before an update with those after the one before it.

    Args:
        measured: Measures them.

    Attributes:
        looks_before: Whether there is something to look at before the next update.
    """

    def __init__(self, measured: MeasuredModel):
        self.looks_before = False
        self._measured = measured
        self._checks: list[tuple[int, HostCopy]] = []

    def before_update(self, step: int) -> None:
        """Look whether the weights are those of the last update.

        Args:
            step: The number of updates made.
        """
        if self.looks_before and (changed := self._measured.changed(step)) is not None:
            self._checks.append((step, HostCopy(changed)))
        self.looks_before = False

    def after_update(self, step: int) -> None:
        """Have the next update looked at, if it is one of those.

        Args:
            step: The number of updates made.
        """
        self.looks_before = step <= _FIRST or step in EARLY or step % BLOCK == 0

    def found(self) -> tuple[int, list[bool]] | None:
        """Return the first comparison that has reached the host, until `forget` is called.

        Returns:
            The update after which it was made, and whether each measured parameter had moved; None if there is none.
        """
        if not (self._checks and self._checks[0][1].ready()):
            return None
        step, copy = self._checks[0]
        return step, copy.wait().tolist()

    def forget(self) -> None:
        """Go on to the next comparison."""
        del self._checks[0]

    def in_the_end(self, step: int) -> Sequence[bool]:
        """Compare the weights as they are now with those of the last update.

        Args:
            step: The number of updates made.

        Returns:
            Whether each measured parameter has moved; nothing if that cannot be told.
        """
        changed = self._measured.changed(step)
        return [] if changed is None else changed.tolist()
