"""Moves of the weights between two updates, which nothing has counted.

After 1, 2, 4, ... and every 64 updates, before the next one, the tensors' version counters tell whether the weights
were written to since; then, and in the end, they are measured once more: equal weights give equal numbers.
"""

from collections.abc import Sequence

from trajectory.measure.host_copy import HostCopy
from trajectory.measure.tracked_parameters import TrackedParameters
from trajectory.recording.measured_model import MeasuredModel
from trajectory.recording.rows import BLOCK
from trajectory.recording.versions import versions


class WeightMoves:
    """Compares the weights before an update with those after the one before it.

    Args:
        tracked: The model's parameters.
        measured: Measures them.
    """

    def __init__(self, tracked: TrackedParameters, measured: MeasuredModel):
        self._tracked, self._measured = tracked, measured
        self._versions: list[int] = []  # after the last update, if the next one is to be looked at
        self._checks: list[tuple[int, HostCopy]] = []

    @property
    def looks_before(self) -> bool:
        """Whether there is something to look at before the next update."""
        return bool(self._versions)

    def before_update(self, step: int) -> None:
        """Look whether the weights are those of the last update.

        Args:
            step: The number of updates made.
        """
        if self._versions and self._versions != versions(self._tracked.measured.values()):
            changed = self._measured.changed(step)
            if changed is not None:
                self._checks.append((step, HostCopy(changed)))
        self._versions = []

    def after_update(self, step: int) -> None:
        """Have the next update looked at, if it is one of those.

        Args:
            step: The number of updates made.
        """
        if step % BLOCK == 0 or step & (step - 1) == 0:
            self._versions = versions(self._tracked.measured.values())

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
