"""Rows and scalars on their way from the device to the store and to subscribers, a block at a time."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajectory.errors import RecordingError
from trajectory.measure.host_copy import HostCopy
from trajectory.measure.observables import Observables
from trajectory.measure.ranks import Ranks
from trajectory.recording.writer_thread import Background
from trajectory.schema.layout import Event, RowColumns, metric_array
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.run_writer import RunWriter

BLOCK = 64  # updates between two drains, and so the rows the ring holds: what a killed process can lose
RATE = "learning_rate"  # the metric of the rate that each recorded update was made with
NON_FINITE = "non_finite_weights"  # the event of the first row that is not finite
_SKIPPED = "skipped_update"  # the event of an update that changed nothing


class Rows(NamedTuple):
    """Recorded steps in order, as handed to subscribers."""

    step: np.ndarray  # int64 (n,)
    distance: np.ndarray  # float64 (n,): ‖w_t − w_0‖
    layers: np.ndarray  # float64 (n, parameters): the same by parameter, or group of them
    displacement: Mapping[int, np.ndarray]  # {t_w: float64 (n,)}, each ‖w_t − w_{t_w}‖, 0 first; NaN up to t_w
    totals: Mapping[str, np.ndarray]  # {quantity: float64 (n,)}, as chosen
    learning_rate: np.ndarray  # float64 (n,): the first parameter group's, which each update was made with


class _Block(NamedTuple):
    """Recorded steps and scalars on their way from the device."""

    steps: list[int]
    metrics: dict[int, dict[str, float]]  # logged from the host
    scalars: list[tuple[int, str]]  # logged from the device
    values: HostCopy  # sums of squares by parameter, row by row; the device's scalars; where the ranks are


class Stream:
    """A ring of rows on the device of `weight`, and what was logged beside them.

    measured: the parameters' names, in the order that `Observables` writes them; columns: of the rows stored.
    capturable: rows are written at a place that is itself on the device, so that a CUDA graph can hold the writing.
    """

    def __init__(
        self,
        store: RunWriter,
        background: Background,
        ranks: Ranks,
        groups: Groups,
        measured: Sequence[str],
        columns: RowColumns,
        weight: Tensor,
        *,
        capturable: bool,
    ):
        self._store, self._background, self._ranks = store, background, ranks
        self._groups, self._measured, self._columns = groups, measured, columns
        shape = (BLOCK, columns.measurements, len(measured))
        self._ring = torch.zeros(shape, dtype=_ring_dtype(weight), device=weight.device)
        self._slot = torch.zeros(1, dtype=torch.int64, device=weight.device) if capturable else None
        self._first = 0  # the ring's row that the next block begins with
        self._steps: list[int] = []
        self._scalars: list[tuple[int, str, Tensor]] = []
        self._metrics: dict[int, dict[str, float]] = {}
        self._blocks: list[_Block] = []
        self._names: set[str] = set()
        self.subscribers: list[Callable[[Rows], None]] = []
        self.finite = True  # no row was otherwise so far

    @property
    def silent(self) -> bool:
        """Whether this process writes no rows: another one does, or it has given up."""
        return self._background.given_up or not self._ranks.writes

    def measure(self, observables: Observables, *, keep: bool) -> None:
        """Writes the row of the update just made into the ring; keep: the next update's is wanted as well."""
        if self._slot is None:
            observables.write(self._ring[len(self._steps)], keep=keep)
            return
        row = torch.empty_like(self._ring[0])
        observables.write(row, keep=True)
        self._ring.index_copy_(0, self._slot, row[None])
        self._slot.add_(1).remainder_(BLOCK)

    def add_step(self, step: int) -> None:
        """Counts the row measured last as that of `step`."""
        self._steps.append(step)

    def log(self, step: int, name: str, value: float | Tensor) -> None:
        """Files a scalar; a tensor on a device stays there until the block is sent."""
        if name not in self._names:
            metric_array(name)  # refuses a name no array can have
            self._names.add(name)
        if not isinstance(value, Tensor):
            self._metrics.setdefault(step, {})[name] = float(value)
        elif value.numel() != 1:
            raise RecordingError(f"log({name}=...): got shape {tuple(value.shape)}, expected a single number")
        elif value.device.type == "cpu":
            self._metrics.setdefault(step, {})[name] = value.item()
        else:
            self._keep_on_device(step, name, value)

    def skipped(self, step: int, found_inf: Tensor) -> None:
        """Files that the update `step` changed nothing, if `found_inf` turns out not to be 0."""
        self._keep_on_device(step, _SKIPPED, found_inf)

    def _keep_on_device(self, step: int, name: str, value: Tensor) -> None:
        self._scalars.append((step, name, value.detach().to(self._ring, copy=True).reshape(())))

    def send(self, *, together: bool = True) -> None:
        """Starts what was recorded since the last call on its way to the host.

        together: every rank calls this now. Where a model is sharded, the rows are left out otherwise.
        """
        steps, self._steps = self._steps, []
        ring = self._ring.roll(-self._first, 0) if self._first else self._ring
        if self._slot is not None:
            self._first = (self._first + len(steps)) % BLOCK
        if self._ranks.sharded and not together:
            steps = []
        rows, progress = ring[: len(steps)], ring.new_empty(0)
        if self._ranks.sharded and together:
            rows, progress = self._ranks.add_up(self._ring, len(steps), self._store.written)
        if self.silent or not (steps or len(progress) or self._metrics or self._scalars):
            return
        values = HostCopy(torch.cat([rows.flatten(), *(value.reshape(1) for _, _, value in self._scalars), progress]))
        scalars = [(step, name) for step, name, _ in self._scalars]
        self._blocks.append(_Block(steps, self._metrics, scalars, values))
        self._metrics, self._scalars = {}, []

    def receive(self, *, wait: bool) -> None:
        """Stores and hands on the blocks that have arrived, oldest first."""
        while self._blocks and (wait or self._blocks[0].values.ready()):
            block = self._blocks.pop(0)
            values = block.values.wait().double().numpy()
            n = len(block.steps) * self._ring[0].numel()
            squares, scalars, progress = np.split(values, [n, n + len(block.scalars)])
            if len(progress):
                written = self._ranks.written_by_all(progress, len(block.steps))
                self._background.call(self._store.commit_shards, *written)
            for (step, name), value in zip(block.scalars, scalars, strict=True):
                if name == _SKIPPED:
                    if value > 0:
                        self._background.call(self._store.append_event, Event(step, name, {}))
                    continue
                block.metrics.setdefault(step, {})[name] = float(value)
            if block.metrics:
                self._background.call(self._store.append_metrics, list(block.metrics.items()))
            if block.steps:
                rates = [block.metrics.get(step, {}).get(RATE, np.nan) for step in block.steps]
                shape = (len(block.steps), *self._ring.shape[1:])
                self._hand_on(block.steps, squares.reshape(shape), np.array(rates))

    def _hand_on(self, steps: list[int], squares: np.ndarray, rates: np.ndarray) -> None:
        """Stores and passes on rows; squares: (row, measurement, parameter)."""
        squares = self._groups.sum(squares, self._measured)
        total, layers = np.sqrt(squares.sum(axis=2)), np.sqrt(squares).reshape(len(steps), -1)
        table = np.column_stack([steps, total, layers])
        self._background.call(self._store.append_rows, table)
        columns = self._columns.split(table)
        # the distance, then those from further origins
        displacement = dict(zip([0, *self._columns.origins], total.T, strict=False))
        totals = {name: columns[name] for name in self._columns.quantities}
        rows = Rows(columns["step"], columns["distance"], columns["layer_distance"], displacement, totals, rates)
        bad = rows.step[~np.isfinite(rows.distance)]
        if self.finite and len(bad):
            self.finite = False
            self._background.call(self._store.append_event, Event(int(bad[0]), NON_FINITE, {}))
        for receive in self.subscribers:
            receive(rows)


def _ring_dtype(weight: Tensor) -> torch.dtype:
    return torch.float32 if weight.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
