"""What lets a gradient be differentiated once more, and cheaply: norms and attention in elementary operations.

Batch norm is

    y = γ (x − m) / √(v + ε) + β,    m = mean x and v = mean (x − m)², or running statistics

The second derivative of the fused operation is some forty passes over the layer's output, with running statistics
too, although it is a scale and a shift then. Of a batch's own statistics written out it is half as many. Fused
attention has no second derivative at all, and that of fused weight norm, w = g v / ‖v‖, is wrong in torch 2.13:
`torch.autograd.gradgradcheck` refuses `torch._weight_norm`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Evaluate in operations that have a second derivative.

    Yields:
        None, for the evaluation.
    """
    with ElementaryNorm(), sdpa_kernel(SDPBackend.MATH):
        yield


class ElementaryNorm(TorchFunctionMode):
    """While it is active, weight norm, and batch norm that updates no statistics, are of elementary operations."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or what stands for it.

        Args:
            func: the function.
            types: the arguments' types.
            args: its arguments.
            kwargs: those by name.
        """
        return _ELEMENTARY.get(func, func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm`, which stays as it is where it updates running statistics."""
    if running_mean is None or running_var is None:
        others = [0, *range(2, x.dim())]
        centred = x - x.mean(others, keepdim=True)
        variance = centred.square().mean(others, keepdim=True)
    elif training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    else:
        centred, variance = x - _by_channel(running_mean, x), _by_channel(running_var, x)
    scale = (variance + eps).rsqrt()
    if weight is not None:
        scale = scale * _by_channel(weight, x)
    return centred * scale if bias is None else torch.addcmul(_by_channel(bias, x), centred, scale)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """`torch._weight_norm`."""
    return v * (g / torch.norm_except_dim(v, 2, dim))


_ELEMENTARY: dict[Callable[..., Any], Callable[..., Any]] = {
    F.batch_norm: _batch_norm,
    torch._weight_norm: _weight_norm,
}


def _by_channel(vector: Tensor, x: Tensor) -> Tensor:
    return vector.view(1, -1, *[1] * (x.dim() - 2))
