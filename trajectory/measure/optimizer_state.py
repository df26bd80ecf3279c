"""The momentum that optimizers keep of parameters."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

_BUFFERS = ("momentum_buffer", "exp_avg")  # SGD, RMSprop, Muon; Adam and its kin, Lion


class Momentum:
    """Finds the momentum buffers of parameters, as they lie at the moment of asking.

    Args:
        optimizers: The optimizers that keep them, which this object does not keep alive: their hooks hold a recorder,
            and the end of a recorder that is collected holds what it measures.

    Examples:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        >>> Momentum([optimizer]).of([weight])
        [None]
        >>> weight.grad = torch.full((3,), 2.0)
        >>> optimizer.step()
        >>> Momentum([optimizer]).of([weight])
        [tensor([2., 2., 2.])]
    """

    def __init__(self, optimizers: Sequence[Optimizer]):
        self._optimizers = list(map(weakref.ref, optimizers))

    def of(self, parameters: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the momentum buffers of parameters.

        Of a parameter that is a part of what an optimizer holds, such as one of several stacked ones, it is the same
        part of the buffer.

        Args:
            parameters: The parameters.

        Returns:
            A buffer for each; None for one of which no optimizer keeps a buffer of its shape.
        """
        alive = [optimizer for reference in self._optimizers if (optimizer := reference()) is not None]
        held = [(q, optimizer.state) for optimizer in alive for q in _held(optimizer)]
        own = {id(q): state for q, state in held}
        around: dict[int, list[tuple[Tensor, Any]]] = {}
        if any(id(p) not in own for p in parameters):
            for q, state in held:
                around.setdefault(memory_address(q), []).append((q, state))
        return [
            _buffer(own[id(p)], p) if id(p) in own else _part(around.get(memory_address(p), ()), p)
            for p in parameters
        ]


def memory_address(tensor: Tensor) -> int:
    """Return the address of the memory that a tensor is a view of.

    Args:
        tensor: The tensor.

    Returns:
        The address; 0 if it has none.
    """
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError, ValueError):  # not initialized yet, sparse, on no device
        return 0


def _held(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _buffer(state: Mapping[Tensor, Mapping[str, Any]], parameter: Tensor) -> Tensor | None:
    of_parameter = state.get(parameter, {})
    for name in _BUFFERS:
        buffer = of_parameter.get(name)
        if isinstance(buffer, Tensor) and buffer.shape == parameter.shape:
            return buffer
    return None


def _part(around: Sequence[tuple[Tensor, Mapping[Tensor, Mapping[str, Any]]]], parameter: Tensor) -> Tensor | None:
    """Return the part of a buffer that belongs to a part of what an optimizer holds."""
    for whole, state in around:
        buffer, first = _buffer(state, whole), parameter.storage_offset() - whole.storage_offset()
        inside = parameter.numel() and first >= 0 and first + parameter.numel() <= whole.numel()
        if buffer is not None and inside and buffer.stride() == whole.stride() and buffer.is_contiguous():
            return buffer.as_strided(parameter.shape, parameter.stride(), buffer.storage_offset() + first)
    return None
