"""Weights and buffers on their way to the store: device → pinned memory → file, off the training thread."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trajectory.measure.host_copy import HostCopy
from trajectory.measure.observables import plain_name, trainable
from trajectory.measure.ranks import whole
from trajectory.schema.layout import TensorSpec

_IN_FLIGHT = 2  # snapshots waiting for the disk; one more makes the training thread wait


def weight_specs(parameters: Mapping[str, Tensor]) -> list[TensorSpec]:
    """Where each parameter lies in the flat array of a snapshot, counted in elements."""
    specs, offset = [], 0
    for name, tensor in parameters.items():
        specs.append(TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), offset))
        offset += tensor.numel()
    return specs


def parameter_specs(model: nn.Module, measured: Collection[str] | None = None) -> dict[str, Any]:
    """Names, shapes and types of the measured parameters (default all), as `Run.parameter_specs` gives them back."""
    specs = [spec for spec in weight_specs(trainable(model)) if measured is None or spec.name in measured]
    return {"parameters": [[spec.name, list(spec.shape), spec.dtype] for spec in specs]}


def buffer_specs(buffers: Mapping[str, Tensor]) -> list[TensorSpec]:
    """Where each buffer lies among the bytes of a snapshot."""
    specs, offset = [], 0
    for name, tensor in buffers.items():
        specs.append(TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), offset))
        offset += tensor.numel() * tensor.element_size()
    return specs


def buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers of the model's state dict, such as batch-norm statistics, by plain name."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = model.state_dict(keep_vars=True)
    return {
        plain_name(name): whole(value)
        for name, value in state.items()
        if name not in parameters and isinstance(value, Tensor)
    }


def tied_names(model: nn.Module) -> dict[str, str]:
    """Further names of tied trainable parameters, and the name each is recorded under."""
    names = {id(parameter): name for name, parameter in trainable(model).items()}
    return {
        plain_name(name): names[id(parameter)]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in names and names[id(parameter)] != plain_name(name)
    }


class SnapshotWriter:
    """Takes snapshots of `parameters` and `model`'s buffers and hands them to `write` on a thread of its own.

    dtype, snapshot_dtype: what `keep` and `take` turn weights into; bfloat16 is delivered as its bits, in uint16.
    write: called with (step, flat weights, bytes of the buffers), one snapshot at a time, in order.

    At most two snapshots are on their way; a disk that falls behind makes `take` wait, and nothing else. The
    pinned memory they travel to on CUDA is torch's, which hands out again what is no longer in use.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[Tensor],
        dtype: torch.dtype,
        snapshot_dtype: torch.dtype,
        write: Callable[[int, np.ndarray, np.ndarray], None],
    ):
        self._model, self._parameters, self._dtype = model, parameters, dtype
        self._snapshot_dtype, self._write = snapshot_dtype, write
        self._slots = threading.BoundedSemaphore(_IN_FLIGHT)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshots")

    @torch.no_grad()
    def take(self, step: int) -> Future[None]:
        """Copies the weights and buffers as they are now; the next update cannot change the copy.

        Waits only if earlier copies still wait for the disk.
        """
        with self._slot():
            weights = self._flat_weights(self._snapshot_dtype)
            weights = weights.view(torch.int16) if weights.dtype == torch.bfloat16 else weights
            raw = [b.detach().contiguous().reshape(-1).view(torch.uint8) for b in buffers(self._model).values()]
            nothing = torch.empty(0, dtype=torch.uint8, device=weights.device)
            state = torch.cat([nothing, *(piece.to(weights.device) for piece in raw)])
            return self._thread.submit(self._deliver, self._write, step, HostCopy(weights), HostCopy(state))

    @torch.no_grad()
    def keep(self, step: int, write: Callable[[int, np.ndarray], None]) -> Future[None]:
        """Likewise copies the weights alone and hands them to `write`, in turn with the snapshots."""
        with self._slot():
            return self._thread.submit(self._deliver, write, step, HostCopy(self._flat_weights(self._dtype)))

    def close(self) -> None:
        """Waits until everything taken is written."""
        self._thread.shutdown(wait=True)

    def _flat_weights(self, dtype: torch.dtype) -> Tensor:
        return torch.cat([p.detach().reshape(-1).to(dtype) for p in self._parameters])

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Room for one more copy, which `_deliver` gives back."""
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
