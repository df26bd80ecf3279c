"""The version counters of tensors: how often each was written to."""

from collections.abc import Iterable

from torch import Tensor


def versions(tensors: Iterable[Tensor]) -> list[int]:
    """Return how often each tensor was written to; 0 for one that does not count that.

    Args:
        tensors: The tensors.
    """
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]
