"""What is measured of a model that changes while it is recorded."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim import Optimizer

from trajectory.measure.host_copy import is_capturing
from trajectory.measure.weight_copy import has_memory
from trajectory.recording.row_buffer import RowBuffer
from trajectory.recording.session import Session


class MeasuredModel:
    """Measures more parameters or others, and tells whether the weights have moved.

    Args:
        session: The recording.
        rows: Holds the rows.
        capturable: Whether a graph fixes what is measured.
    """

    def __init__(self, session: Session, rows: RowBuffer, *, capturable: bool):
        self._session, self._observables, self._rows = session, session.observables, rows
        self._fixed = session.ranks.sharded or capturable

    @property
    def lacks_momentum(self) -> bool:
        """Whether momentum is to be measured, and no optimizer keeps any."""
        return self._observables is not None and self._observables.lacks_momentum

    @property
    def resized(self) -> list[int]:
        """The numbers of the parameters whose tensors have got another shape, in the order in which they did."""
        return [] if self._observables is None else self._observables.resized

    def follow(self, optimizers: Sequence[Optimizer]) -> None:
        """Measure the momentum of other optimizers.

        Args:
            optimizers: The optimizers whose steps are counted.
        """
        if self._observables is not None:
            self._observables.follow(optimizers)

    def extend(self, parameters: Sequence[Tensor]) -> bool:
        """Count more parameters in the totals, unless they count already.

        Args:
            parameters: The parameters, whose weights have been what they are now since w_0.

        Returns:
            Whether they count; not so where a graph or the shards of a model fix what is measured.
        """
        if self._observables is None or self._fixed:
            return False
        own = {id(p) for p in self._observables.parameters}
        self._rows.extend(self._observables, [p for p in parameters if id(p) not in own])
        return True

    def replace(self, name: str, parameter: nn.Parameter) -> None:
        """Record another parameter under a name; the model may not be sharded.

        Args:
            name: The name.
            parameter: The parameter, of the same shape as the one before.
        """
        if self._observables is not None:
            self._rows.ring.fit(self._observables)  # before an interrupt can leave the last row of the former weights
        self._session.replace(name, parameter)

    def changed(self, step: int) -> Tensor | None:
        """Compare the weights with those of the last update.

        Args:
            step: The number of updates made.

        Returns:
            Whether each measured parameter has changed since (on its device); None if that cannot be told.
        """
        if self._observables is None or self._fixed or self._rows.silent:
            return None
        if is_capturing(self._session.weights[0].device):
            return None
        if not all(map(has_memory, self._observables.parameters)):  # a program may free it before it closes the run
            return None
        return self._rows.ring.changed_since(self._observables, step)
