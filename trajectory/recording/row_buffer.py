"""Rows and scalars on their way from the device to the store and to subscribers, a block at a time."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajectory.errors import RecordingError, first_line
from trajectory.measure.host_copy import HostCopy
from trajectory.measure.observables import Observables
from trajectory.recording.session import Session
from trajectory.recording.writer_thread import WriterThread
from trajectory.schema.layout import Event, metric_array

BLOCK = 64  # updates between two flushes, and so the rows the ring holds: what a killed process can lose
RATE = "learning_rate"  # the metric of the rate that each recorded update was made with
NON_FINITE = "non_finite_weights"  # the event of the first row that is not finite
_SKIPPED = "skipped_update"  # the event of an update that changed nothing


class Rows(NamedTuple):
    """Recorded steps in order, as subscribers receive them.

    Attributes:
        step: The steps, in updates since w_0 (int64, shape (n,)).
        distance: ‖w_t − w_0‖ (float64, shape (n,)).
        layers: The same by parameter, or by group of parameters (float64, shape (n, groups)).
        displacement: By origin t_w, 0 first: ‖w_t − w_{t_w}‖, NaN for t ≤ t_w > 0 (float64, shape (n,) each).
        totals: The chosen quantities by name (float64, shape (n,) each).
        learning_rate: The first parameter group's rate that each update was made with (float64, shape (n,)).
    """

    step: np.ndarray
    distance: np.ndarray
    layers: np.ndarray
    displacement: Mapping[int, np.ndarray]
    totals: Mapping[str, np.ndarray]
    learning_rate: np.ndarray


class _Block(NamedTuple):
    """Recorded steps and scalars on their way from the device."""

    steps: list[int]
    metrics: dict[int, dict[str, float]]  # logged from the host
    scalars: list[tuple[int, str]]  # logged from the device
    values: HostCopy  # sums of squares by parameter, row by row; the device's scalars; the ranks' progress


def _number(name: str, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise RecordingError(
            f"log({name}=...): got a {type(value).__name__} ({first_line(error)[:60]}); expected a number that"
            " float64 can hold"
        ) from error


class RowBuffer:
    """A ring of rows on the parameters' device, and the scalars that were logged beside them.

    Args:
        session: The recording.
        thread: Writes what has arrived on the host.
        capturable: Whether rows are written at a place that is itself on the device, so that a CUDA graph can hold
            the writing.
    """

    def __init__(self, session: Session, thread: WriterThread, *, capturable: bool):
        self._store, self._ranks, self._thread = session.store, session.ranks, thread
        self._groups, self._measured = session.tracked.groups, list(session.tracked.measured)
        self._columns = session.columns
        device = session.weights[0].device
        shape = (BLOCK, self._columns.measurements, len(self._measured))
        dtype = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self._ring = torch.zeros(shape, dtype=dtype, device=device)
        self._slot = torch.zeros(1, dtype=torch.int64, device=device) if capturable else None
        self._first = 0  # the ring's row that the next block begins with
        self._steps: list[int] = []
        self._scalars: list[tuple[int, str, Tensor]] = []
        self._metrics: dict[int, dict[str, float]] = {}
        self._blocks: list[_Block] = []
        self._names: set[str] = set()
        self.subscribers: list[Callable[[Rows], None]] = []
        self.finite = True  # all rows so far

    @property
    def silent(self) -> bool:
        """Whether this process writes no rows: another one does, or it has given up."""
        return self._thread.given_up or not self._ranks.is_first

    def measure(self, observables: Observables, *, keep: bool) -> None:
        """Write the row of the update just made into the ring.

        Args:
            observables: Measures the weights.
            keep: Whether the next update's row is wanted as well.
        """
        if self._slot is None:
            observables.write(self._ring[len(self._steps)], keep=keep)
            return
        row = torch.empty_like(self._ring[0])
        observables.write(row, keep=True)
        self._ring.index_copy_(0, self._slot, row[None])
        self._slot.add_(1).remainder_(BLOCK)

    def add_step(self, step: int) -> None:
        """Count the row that was measured last.

        Args:
            step: The number of updates it was measured after.
        """
        self._steps.append(step)

    def log(self, step: int, name: str, value: float | Tensor) -> None:
        """File a scalar; a tensor on a device stays there until the next flush.

        Args:
            step: The number of updates that it belongs to.
            name: The metric's name.
            value: A number, or a tensor of one element.

        Raises:
            StoreError: No metric can have that name.
            RecordingError: The value is no real number, or several.
        """
        if name not in self._names:
            metric_array(name)  # refuses a name no array can have
            self._names.add(name)
        if not isinstance(value, Tensor):
            self._metrics.setdefault(step, {})[name] = _number(name, value)
        elif value.numel() != 1:
            raise RecordingError(f"log({name}=...): got shape {tuple(value.shape)}, expected a single number")
        elif value.is_complex():
            raise RecordingError(f"log({name}=...): got a complex number, expected a real one; log its abs()")
        elif value.device.type == "cpu":
            self._metrics.setdefault(step, {})[name] = value.item()
        else:
            self._keep_on_device(step, name, value)

    def note_skipped(self, step: int, found_inf: Tensor) -> None:
        """File that an update changed nothing, if that turns out to be so.

        Args:
            step: The number of updates, this one included.
            found_inf: A number on the device, other than 0 if the update was skipped.
        """
        self._keep_on_device(step, _SKIPPED, found_inf)

    def _keep_on_device(self, step: int, name: str, value: Tensor) -> None:
        self._scalars.append((step, name, value.detach().to(self._ring, copy=True).reshape(())))

    def flush(self, *, collective: bool = True) -> None:
        """Start copying what was recorded since the last call to the host.

        Args:
            collective: Whether every rank calls this now. Where a model is sharded, the rows are left out otherwise.

        Raises:
            RecordingError: Another rank of a sharded model has ended, or did not call this.
        """
        steps, self._steps = self._steps, []
        ring = self._ring.roll(-self._first, 0) if self._first else self._ring
        if self._slot is not None:
            self._first = (self._first + len(steps)) % BLOCK
        if self._ranks.sharded and not collective:
            steps = []
        rows, progress = ring[: len(steps)], ring.new_empty(0)
        if self._ranks.sharded and collective:
            rows, progress = self._ranks.add_up_block(self._ring, len(steps), self._store.written)
        if self.silent or not (steps or len(progress) or self._metrics or self._scalars):
            return
        values = HostCopy(torch.cat([rows.flatten(), *(value.reshape(1) for _, _, value in self._scalars), progress]))
        scalars = [(step, name) for step, name, _ in self._scalars]
        self._blocks.append(_Block(steps, self._metrics, scalars, values))
        self._metrics, self._scalars = {}, []

    def dispatch(self, *, wait: bool) -> None:
        """Give the blocks that have arrived on the host to the store and to subscribers, oldest first.

        Args:
            wait: Whether to wait for the blocks that are still on their way.

        Raises:
            RecordingError: The ranks of a sharded model recorded different steps.
        """
        while self._blocks and (wait or self._blocks[0].values.ready()):
            block = self._blocks.pop(0)
            values = block.values.wait().double().numpy()
            n = len(block.steps) * self._ring[0].numel()
            squares, scalars, progress = np.split(values, [n, n + len(block.scalars)])
            if len(progress):
                written = self._ranks.written_by_all(progress, len(block.steps))
                self._thread.call(self._store.commit_shards, *written)
            for (step, name), value in zip(block.scalars, scalars, strict=True):
                if name != _SKIPPED:
                    block.metrics.setdefault(step, {})[name] = float(value)
                elif value > 0:
                    self._thread.call(self._store.append_event, Event(step, name, {}))
            if block.metrics:
                self._thread.call(self._store.append_metrics, list(block.metrics.items()))
            if block.steps:
                rates = [block.metrics.get(step, {}).get(RATE, np.nan) for step in block.steps]
                shape = (len(block.steps), *self._ring.shape[1:])
                self._dispatch_rows(block.steps, squares.reshape(shape), np.array(rates))

    def _dispatch_rows(self, steps: list[int], squares: np.ndarray, rates: np.ndarray) -> None:
        """Take the roots of sums of squares (row, measurement, parameter), and store and pass on the rows."""
        squares = self._groups.sum(squares, self._measured)
        total, layers = np.sqrt(squares.sum(axis=2)), np.sqrt(squares).reshape(len(steps), -1)
        table = np.column_stack([steps, total, layers])
        self._thread.call(self._store.append_rows, table)
        columns = self._columns.split(table)
        # the distance, then the displacements from the other origins
        displacement = dict(zip([0, *self._columns.origins], total.T, strict=False))
        totals = {name: columns[name] for name in self._columns.quantities}
        rows = Rows(columns["step"], columns["distance"], columns["layer_distance"], displacement, totals, rates)
        bad = rows.step[~np.isfinite(rows.distance)]
        if self.finite and len(bad):
            self.finite = False
            self._thread.call(self._store.append_event, Event(int(bad[0]), NON_FINITE, {}))
        for receive in self.subscribers:
            receive(rows)
