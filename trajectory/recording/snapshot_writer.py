"""Weights and buffers on their way to the store: device → pinned memory → file, off the training thread."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from trajectory.measure.host_copy import HostCopy
from trajectory.recording.buffer_layout import BufferLayout, Changes, describe_changes
from trajectory.recording.session import Session
from trajectory.recording.warned import Warned
from trajectory.recording.worker import Call, Worker
from trajectory.schema.layout import BUFFERS_CHANGED, Event

_IN_FLIGHT = 2  # snapshots waiting for the disk; one more makes the training thread wait


class SnapshotWriter:
    """Copies a model's weights and buffers and gives them to the store on a thread of its own.

    At most two copies are on their way; a disk that falls behind makes the next one wait, and nothing else. The
    pinned memory that they travel to on CUDA is torch's, which reuses what is free again.

    Args:
        session: The recording.
        model: The model whose buffers are saved.
        failed: Is called with the error of a copy that could not be written, in the thread.
    """

    def __init__(self, session: Session, model: nn.Module, failed: Callable[[Exception], object]):
        self._session, self._store = session, session.store
        self._buffers, self._warned = BufferLayout(model, session.tracked), Warned()
        self._write, self._write_origin = session.store.append_snapshot, session.store.append_origin
        self._in_flight: list[Call] = []
        self._worker = Worker("snapshots", failed)

    @torch.no_grad()
    def snapshot(self, step: int) -> Call:
        """Copy the weights and buffers as they are now; the next update cannot change the copy.

        Waits only if earlier copies still wait for the disk.

        Args:
            step: The number of updates made so far.

        Returns:
            The call that writes them. Weights in bfloat16 are written as their bits, in uint16.
        """
        self._wait_for_room()
        weights = self._flat_weights(self._session.snapshot_dtype)
        weights = weights.view(torch.int16) if weights.dtype == torch.bfloat16 else weights
        state, changes = self._buffers.now(weights.device)
        if changes and self._session.ranks.is_first:
            self._warned.warn(
                changes, f"{self._session.path}: from update {step} on, snapshots {describe_changes(changes)}", 7
            )
        return Call(self._deliver_snapshot, step, changes, HostCopy(weights), HostCopy(state))

    @torch.no_grad()
    def origin(self, step: int) -> Call:
        """Likewise copy the weights alone, which distances are measured from when the run is resumed.

        Args:
            step: The number of updates made so far.

        Returns:
            The call that writes them.
        """
        self._wait_for_room()
        return Call(_deliver, self._write_origin, step, HostCopy(self._flat_weights(self._session.tracked.dtype)))

    def put(self, call: Call) -> None:
        """Have a copy written, in its turn, once however often this is called.

        Args:
            call: What `snapshot` or `origin` has returned.
        """
        self._worker.put(call)
        self._in_flight.append(call)

    def wait(self) -> None:
        """Wait until every copy is written."""
        self._worker.wait()

    def close(self) -> None:
        """Wait until every copy is written, and end the thread."""
        self._worker.close()

    def _wait_for_room(self) -> None:
        self._in_flight = [call for call in self._in_flight if not call.done]
        if len(self._in_flight) >= _IN_FLIGHT:
            self._worker.wait(self._in_flight[-_IN_FLIGHT])

    def _flat_weights(self, dtype: torch.dtype) -> Tensor:
        return torch.cat([p.detach().reshape(-1).to(dtype) for p in self._session.weights])

    def _deliver_snapshot(self, step: int, changes: Changes, *copies: HostCopy) -> None:
        """Write a snapshot, and before it what it holds otherwise than the one before."""
        filed = [event.details for event in self._store.events if event.name == BUFFERS_CHANGED]
        if changes != (filed[-1] if filed else {}):
            self._store.append_event(Event(step, BUFFERS_CHANGED, dict(changes)))
        _deliver(self._write, step, *copies)


def _deliver(write: Callable[..., None], step: int, *copies: HostCopy) -> None:
    arrays = [copy.wait().numpy() for copy in copies]
    write(step, *(array.view("uint16") if array.dtype == np.int16 else array for array in arrays))
