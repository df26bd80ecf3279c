"""Rows and scalars on their way from the device to the store and to subscribers, a block at a time.

An interrupt may end any of these functions anywhere, and the next flush goes on from there: what is recorded moves on
by one assignment or one call into C at a time, and what may be done twice is done once.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from torch import Tensor

from trajectory.errors import RecordingError
from trajectory.measure.host_copy import HostCopy
from trajectory.measure.observables import Observables
from trajectory.recording.row_ring import RowRing
from trajectory.recording.rows import BLOCK, NON_FINITE, RowLayout
from trajectory.recording.scalars import read_if_on_host
from trajectory.recording.session import Session
from trajectory.recording.subscribers import Receivers, Subscribers
from trajectory.recording.worker import Call
from trajectory.recording.writer_thread import OnError, WriterThread
from trajectory.schema.layout import Event, metric_array

_SKIPPED = "skipped_update"  # the event of an update that changed nothing


@dataclass(eq=False)
class _Block:
    """Recorded steps and scalars: collected until the next flush, then on their way from the device."""

    first: int = 0  # the ring's row that the block begins with
    steps: list[int] = field(default_factory=list)
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)  # logged from the host
    scalars: list[tuple[int, str, Tensor]] = field(default_factory=list)  # logged from the device
    names: list[tuple[int, str]] = field(default_factory=list)  # those of `scalars`, when they are on their way
    shape: tuple[int, ...] = ()  # of its rows then: (measurement, parameter)
    values: HostCopy | None = None  # sums of squares, row by row; the device's scalars; the ranks' progress
    writing: Call | None = None  # once it has arrived on the host
    receivers: Receivers = field(default_factory=deque)  # not told yet


class RowBuffer:
    """Collects rows, which a ring on the parameters' device holds, and the scalars that are logged beside them.

    Attributes:
        ring: Holds the rows until the next flush.
        subscribers: Those who are told of rows.
        metric_arrays: The arrays of the metrics that the run holds, by the metric's name.
        finite: Whether all rows so far are.

    Args:
        session: The recording.
        thread: Writes what has arrived on the host.
        capturable: Whether rows are written at a place that is itself on the device, so that a CUDA graph can hold
            the writing.
        on_error: Whether a subscriber that fails raises its error, or brings a warning.
    """

    def __init__(self, session: Session, thread: WriterThread, *, capturable: bool, on_error: OnError):
        self._store, self._ranks, self._thread = session.store, session.ranks, thread
        self._layout = RowLayout(session.columns, session.tracked.groups, list(session.tracked.measured))
        self.ring = RowRing(session, capturable=capturable)
        self._blocks = [_Block()]  # oldest first; the last one collects
        self._logged_at, self._logged = -1, dict[str, int]()  # how often each scalar was filed under the last step
        self.subscribers = Subscribers(session.path, on_error)
        self.metric_arrays: dict[str, str] = {}
        self.finite = True

    @property
    def silent(self) -> bool:
        """Whether this process writes no rows: another one does, or it has given up."""
        return self._thread.given_up or not self._ranks.is_first

    @property
    def _open(self) -> _Block:
        """The block that is being collected."""
        return self._blocks[-1]

    @property
    def _next_row(self) -> int:
        """The place in the ring of the row after those counted."""
        block = self._blocks[-1]
        return (block.first + len(block.steps)) % BLOCK

    def measure(self, observables: Observables, *, keep: bool, again: bool = False) -> None:
        """Write the row of the update just made into the ring.

        Args:
            observables: Measures the weights.
            keep: Whether the next update's row is wanted as well.
            again: Whether an interrupt may have ended a first attempt.
        """
        self.ring.measure(observables, self._next_row, keep=keep, again=again)

    def forget(self, quantity: str) -> None:
        """Write NaN for a quantity of the row that was measured last, and is not counted yet.

        Args:
            quantity: Its name.
        """
        self.ring.forget(self._next_row, quantity)

    def add_step(self, step: int) -> None:
        """Count the row that was measured last, unless that was done.

        Args:
            step: The number of updates it was measured after.
        """
        steps = self._blocks[-1].steps
        if not (steps and steps[-1] == step):
            self.ring.newest = (step, len(steps))
            steps.append(step)

    def extend(self, observables: Observables, parameters: Sequence[Tensor]) -> None:
        """Count more parameters in the totals, where neither a graph nor shards fix the ring.

        Args:
            observables: Measures the weights.
            parameters: The parameters, whose weights have been what they are now since w_0.
        """
        self.flush()
        observables.extend(parameters)
        self.ring.fit(observables)

    def log(self, step: int, name: str, value: float | Tensor) -> int:
        """File a scalar; a tensor on a device stays there until the next flush.

        Args:
            step: The number of updates that it belongs to.
            name: The metric's name.
            value: A number, or a tensor of one element.

        Returns:
            How often a scalar of that name was filed under that step, this time included; the last one stays.

        Raises:
            StoreError: No metric can have that name.
            RecordingError: The value is no real number, or several.
        """
        if name not in self.metric_arrays:  # refuses a name no array can have
            self.metric_arrays[name] = metric_array(name, self.metric_arrays.values())
        number = read_if_on_host(name, value)
        if isinstance(number, Tensor):
            self._keep_on_device(step, name, number)
        else:
            self.file(step, name, number)
        return self._count_log(step, name)

    def file(self, step: int, name: str, number: float) -> None:
        """File a number under a name that a metric can have.

        Args:
            step: The number of updates that it belongs to.
            name: The metric's name.
            number: The number; it replaces an earlier one.
        """
        self._blocks[-1].metrics.setdefault(step, {})[name] = number

    def _count_log(self, step: int, name: str) -> int:
        if step != self._logged_at:
            self._logged_at, self._logged = step, {}
        count = self._logged[name] = self._logged.get(name, 0) + 1
        if count % BLOCK == 0:
            self._open.scalars = list({scalar[:2]: scalar for scalar in self._open.scalars}.values())
        return count

    def note_skipped(self, step: int, found_inf: Tensor) -> None:
        """File that an update changed nothing, if that turns out to be so.

        Args:
            step: The number of updates, this one included.
            found_inf: A number on the device, other than 0 if the update was skipped.
        """
        self._keep_on_device(step, _SKIPPED, found_inf)

    def _keep_on_device(self, step: int, name: str, value: Tensor) -> None:
        self._open.scalars.append((step, name, value.detach().to(self.ring.sums, copy=True).reshape(())))

    def flush(self, *, collective: bool = True) -> None:
        """Start copying what was recorded since the last call to the host.

        Args:
            collective: Whether every rank calls this now. Where a model is sharded, the rows are left out otherwise.

        Raises:
            RecordingError: Another rank of a sharded model has ended, or did not call this.
        """
        block = self._open
        if self._ranks.sharded and not collective:
            block.steps = []
        ring = self.ring.from_row(block.first)
        rows, progress = ring[: len(block.steps)], ring.new_empty(0)
        if self._ranks.sharded and collective:
            rows, progress = self._ranks.add_up_block(ring, len(block.steps), self._store.written)
        fresh = _Block(self.ring.row_after(block.first, len(block.steps)))
        if self.silent or not (block.steps or len(progress) or block.metrics or block.scalars):
            self._blocks[-1] = fresh
            return
        block.shape = tuple(ring.shape[1:])
        block.names = [(step, name) for step, name, _ in block.scalars]
        scalars = [value.reshape(1) for _, _, value in block.scalars]
        block.values = HostCopy(torch.cat([rows.flatten(), *scalars, progress]))
        self._blocks.append(fresh)

    def dispatch(self, *, wait: bool) -> None:
        """Give the blocks that have arrived on the host to the store and to subscribers, oldest first.

        Args:
            wait: Whether to wait for the blocks that are still on their way.

        Raises:
            RecordingError: The ranks of a sharded model recorded different steps.
        """
        for block in self._blocks[:-1]:
            assert block.values is not None
            if not (wait or block.values.ready()):
                break
            if block.writing is None:
                try:
                    block.writing = self._prepare(block, block.values.wait().double().numpy())
                except RecordingError:  # the other ranks' sums are not of these rows
                    self._blocks.remove(block)
                    raise
            self._thread.put(block.writing)
        while (block := self._blocks[0]).writing:
            self.subscribers.tell(block.receivers)
            if self._blocks[0] is block:  # otherwise a subscriber has flushed
                del self._blocks[0]

    def _prepare(self, block: _Block, values: np.ndarray) -> Call:
        """List a block's subscribers, and return the call that writes it."""
        n = len(block.steps) * prod(block.shape)
        m = n + len(block.names)
        squares, scalars, progress = values[:n], values[n:m], values[m:]
        written = self._ranks.written_by_all(progress, len(block.steps)) if len(progress) else None
        skipped = []
        for (step, name), value in zip(block.names, scalars, strict=True):
            if name != _SKIPPED:
                block.metrics.setdefault(step, {})[name] = float(value)
            elif value > 0 and step not in skipped:
                skipped.append(step)
        table = None
        if block.steps:
            squares = squares.reshape(len(block.steps), *block.shape)
            table = self._layout.table(block.steps, squares)
            if self.subscribers:
                block.receivers = self.subscribers.receivers(self._layout.rows(table, block.metrics))
        return Call(self._write, written, skipped, block.metrics, table)

    def _write(
        self,
        shards: tuple[int, int] | None,
        skipped: list[int],
        metrics: dict[int, dict[str, float]],
        table: np.ndarray | None,
    ) -> None:
        """Write a block, in the thread that writes."""
        if shards:
            self._store.commit_shards(*shards)
        for step in skipped:
            self._store.append_event(Event(step, _SKIPPED, {}))
        if metrics:
            self._store.append_metrics(list(metrics.items()))
        if table is not None:
            self._store.append_rows(table)
            bad = table[~np.isfinite(table[:, 1]), 0]
            if self.finite and len(bad):
                self.finite = False
                self._store.append_event(Event(int(bad[0]), NON_FINITE, {}))
