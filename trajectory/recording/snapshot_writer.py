"""Weights and buffers on their way to the store: device → pinned memory → file, off the training thread."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from trajectory.measure.host_copy import HostCopy
from trajectory.measure.tracked_parameters import buffers
from trajectory.recording.session import Session

_IN_FLIGHT = 2  # snapshots waiting for the disk; one more makes the training thread wait


class SnapshotWriter:
    """Copies a model's weights and buffers and gives them to the store on a thread of its own.

    At most two copies are on their way; a disk that falls behind makes the next one wait, and nothing else. The
    pinned memory that they travel to on CUDA is torch's, which reuses what is free again.

    Args:
        session: The recording.
        model: The model whose buffers are saved.
    """

    def __init__(self, session: Session, model: nn.Module):
        self._session, self._model = session, model
        self._write, self._write_origin = session.store.append_snapshot, session.store.append_origin
        self._slots = threading.BoundedSemaphore(_IN_FLIGHT)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")

    @torch.no_grad()
    def take(self, step: int) -> Future[None]:
        """Copy the weights and buffers as they are now; the next update cannot change the copy.

        Waits only if earlier copies still wait for the disk.

        Args:
            step: The number of updates made so far.

        Returns:
            The future of the writing. Weights in bfloat16 are written as their bits, in uint16.
        """
        with self._slot():
            weights = self._flat_weights(self._session.snapshot_dtype)
            weights = weights.view(torch.int16) if weights.dtype == torch.bfloat16 else weights
            raw = [b.detach().contiguous().reshape(-1).view(torch.uint8) for b in buffers(self._model).values()]
            nothing = torch.empty(0, dtype=torch.uint8, device=weights.device)
            state = torch.cat([nothing, *(piece.to(weights.device) for piece in raw)])
            return self._thread.submit(self._deliver, self._write, step, HostCopy(weights), HostCopy(state))

    @torch.no_grad()
    def take_origin(self, step: int) -> Future[None]:
        """Likewise copy the weights alone, which distances are measured from when the run is resumed.

        Args:
            step: The number of updates made so far.

        Returns:
            The future of the writing, which takes its turn among the snapshots.
        """
        with self._slot():
            weights = HostCopy(self._flat_weights(self._session.tracked.dtype))
            return self._thread.submit(self._deliver, self._write_origin, step, weights)

    def close(self) -> None:
        """Wait until everything taken is written."""
        self._thread.shutdown(wait=True)

    def _flat_weights(self, dtype: torch.dtype) -> Tensor:
        return torch.cat([p.detach().reshape(-1).to(dtype) for p in self._session.weights])

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Wait for room for one more copy, which `_deliver` releases."""
        self._slots.acquire()
        try:
            yield
        except BaseException:
            self._slots.release()
            raise

    def _deliver(self, write: Callable[..., None], step: int, *copies: HostCopy) -> None:
        try:
            arrays = [copy.wait().numpy() for copy in copies]
            write(step, *(array.view("uint16") if array.dtype == np.int16 else array for array in arrays))
        finally:
            self._slots.release()
