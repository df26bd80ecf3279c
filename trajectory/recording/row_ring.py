"""The rows of the last updates, as they are measured on the parameters' device."""

import torch
from torch import Tensor

from trajectory.measure.observables import Observables
from trajectory.recording.rows import BLOCK
from trajectory.recording.session import Session

_ROUNDING = 1e-4  # of a sum of squares in float32, in another order


class RowRing:
    """Sums of squares (row, measurement, parameter) of at most `BLOCK` updates.

    Args:
        session: The recording.
        capturable: Whether rows are written at a place that is itself on the device, so that a CUDA graph can hold
            the writing. They go round the ring then; otherwise each block of them begins with its first row.

    Attributes:
        newest: The step of the row measured last, and its place in the ring; None if there is none to compare with.
    """

    def __init__(self, session: Session, *, capturable: bool):
        self._columns = session.columns
        device = session.weights[0].device
        shape = (BLOCK, self._columns.measurements, len(session.tracked.measured))  # `fit` adds parameters
        dtype = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self._held = _held(torch.zeros(shape, dtype=dtype, device=device))
        self._slot = torch.zeros(1, dtype=torch.int64, device=device) if capturable else None
        self.newest: tuple[int, int] | None = None

    @property
    def sums(self) -> Tensor:
        """The rows."""
        return self._held[0]

    def measure(self, observables: Observables, row: int, *, keep: bool, again: bool) -> None:
        """Write a row of the weights as they are now.

        Args:
            observables: Measures the weights.
            row: Its place in the ring, which a graph counts by itself.
            keep: Whether the next update's row is wanted as well.
            again: Whether an interrupt may have ended a first attempt.
        """
        _, rows, width = self._held
        if width != len(observables.parameters):  # an interrupt has ended what adds parameters
            self.fit(observables)
            rows = self._held[1]
        if self._slot is None:
            observables.write(rows[row], keep=keep)
            return
        if again:
            self._slot.fill_(row)
        one = torch.empty_like(rows[0])
        observables.write(one, keep=True)
        self.sums.index_copy_(0, self._slot, one[None])
        self._slot.add_(1).remainder_(BLOCK)

    def forget(self, row: int, quantity: str) -> None:
        """Write NaN for a quantity of a row.

        Args:
            row: Its place in the ring.
            quantity: The quantity's name.
        """
        after_distances = len(self._columns.origins) + self._columns.quantities.index(quantity)
        self.sums[row, after_distances] = torch.nan

    def from_row(self, first: int) -> Tensor:
        """Return all rows, beginning with one of them.

        Args:
            first: Its place in the ring.
        """
        return self.sums.roll(-first, 0) if first else self.sums

    def row_after(self, first: int, count: int) -> int:
        """Return where the next block of rows begins.

        Args:
            first: Where this one does.
            count: Its rows.
        """
        return (first + count) % BLOCK if self._slot is not None else 0

    def fit(self, observables: Observables) -> None:
        """Give the ring, which is empty, a column for each parameter that is measured.

        Args:
            observables: Measures the weights.
        """
        self.newest = None
        if self.sums.shape[2] != len(observables.parameters):
            self._held = _held(self.sums.new_zeros(*self.sums.shape[:2], len(observables.parameters)))

    def changed_since(self, observables: Observables, step: int) -> Tensor | None:
        """Measure the weights again, and compare them with the row of the last update.

        Args:
            observables: Measures the weights.
            step: The number of updates made.

        Returns:
            Whether each parameter lies elsewhere than in that row; None if the update had no row.
        """
        if self.sums.shape[2] != len(observables.parameters):
            self.fit(observables)
        if step and (self.newest is None or self.newest[0] != step):
            return None
        # equal weights give equal numbers, unless they are summed in another order of memory
        tolerance = _ROUNDING if observables.have_moved() else 0.0
        again = torch.empty_like(self.sums[0])
        observables.write(again)
        before = self.sums[self.newest[1]] if step and self.newest else torch.zeros_like(again)
        return (again[0] - before[0]).abs() > tolerance * before[0]  # not so where both are NaN


def _held(sums: Tensor) -> tuple[Tensor, list[Tensor], int]:
    """Return the rows, each by itself, and the number of parameters, which an interrupt cannot part."""
    return sums, list(sums.unbind()), sums.shape[2]
