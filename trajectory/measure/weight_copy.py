"""Copies of the weights, as differences from them are taken."""

from collections.abc import Sequence

import torch
from torch import Tensor


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """Return the type that differences of weights are taken and summed in.

    Args:
        dtype: The weights' type.
    """
    return torch.float64 if dtype == torch.float64 else torch.float32


def has_memory(tensor: Tensor) -> bool:
    """Return whether the numbers of a tensor lie in memory of its own.

    They do not if it stands for other tensors, as a quantized one does, or if its memory was given back.

    Args:
        tensor: The tensor.
    """
    if tensor.device.type not in ("cpu", "cuda"):  # other devices need not give addresses
        return not tensor.is_meta
    try:
        return tensor.data_ptr() != 0 or tensor.numel() == 0
    except RuntimeError:  # of tensors that have no data at all
        return False


class Copy:
    """The weights at one moment, in float32 or wider, each with its parameter's shape and order in memory.

    Args:
        parameters: The parameters, whose weights are copied at once.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        self.tensors = [torch.empty_like(p.detach(), dtype=accumulator(p.dtype)) for p in parameters]
        self.refresh(parameters)

    @torch.no_grad()
    def refresh(self, parameters: Sequence[Tensor]) -> None:
        """Copy the weights as they are now.

        Args:
            parameters: The parameters.
        """
        if self.tensors:
            torch._foreach_copy_(self.tensors, [p.detach() for p in parameters])

    def extended(self, parameters: Sequence[Tensor]) -> "Copy":
        """Return these weights, and behind them those of more parameters as they are now.

        Args:
            parameters: The further parameters.
        """
        longer = Copy(parameters)
        longer.tensors = [*self.tensors, *longer.tensors]
        return longer

    def laid_out_as(self, parameters: Sequence[Tensor]) -> "Copy":
        """Return the same weights with the device, the type and the order in memory that parameters have now.

        Args:
            parameters: The parameters, in the order of those that were copied.

        Returns:
            This copy, if it lies so.
        """
        if all(map(_lies_as, self.tensors, parameters)):
            return self
        moved = [w.to(p.device, accumulator(p.dtype)) for w, p in zip(self.tensors, parameters, strict=True)]
        copy = Copy([torch.empty_like(p, dtype=w.dtype) for w, p in zip(moved, parameters, strict=True)])
        copy.refresh(moved)
        return copy


def _lies_as(weights: Tensor, parameter: Tensor) -> bool:
    """Return whether copied weights have the device, the type and the order in memory that a copy would have now."""
    fresh = torch.empty_like(parameter, dtype=accumulator(parameter.dtype), device="meta")
    return (weights.device, weights.dtype, weights.stride()) == (parameter.device, fresh.dtype, fresh.stride())
