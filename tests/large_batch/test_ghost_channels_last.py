"""Ghost batch norm of images whose channels come last: the numbers of the usual layout."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from ultraslow.large_batch.ghost_batch_norm import (
    GhostBatchNorm2d,
)


def _both_layouts(shape: tuple[int, ...], dtype: torch.dtype, ghost: int = 8) -> list[tuple[nn.Module, Tensor]]:
    """The same layer and batch twice: as usual, and with the channels last."""
    torch.manual_seed(0)
    layer = GhostBatchNorm2d(shape[1], ghost, eps=0.1, dtype=dtype)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = 3 + 2 * torch.randn(shape, dtype=dtype)
    last = x.to(memory_format=torch.channels_last)
    return [(copy.deepcopy(layer), each.detach().requires_grad_()) for each in (x, last)]


@pytest.mark.parametrize("batch", [32, 17])
@pytest.mark.parametrize("pixels", [(4, 3), (32, 64), (1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_last_gives_the_same_numbers_and_stays_channels_last(batch, pixels, dtype):
    found = []
    for layer, x in _both_layouts((batch, 7, *pixels), dtype):
        y = layer(x)
        y.backward(torch.cos(torch.arange(x.numel(), dtype=dtype)).view(x.shape))  # in the usual order for both
        assert y.stride() == x.stride()
        found.append([y.detach(), x.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()])
    rounding = 4 * math.sqrt(x.numel()) * torch.finfo(dtype).eps  # of sums over the batch, of numbers of size one
    for usual, last in zip(*found, strict=True):
        torch.testing.assert_close(last, usual, rtol=rounding, atol=rounding)


def test_channels_last_loses_no_digits_where_the_mean_is_far_from_zero():
    torch.manual_seed(0)
    x = (1e4 + torch.randn(128, 128, 8, 8)).to(memory_format=torch.channels_last)  # 1024 rows of sums a ghost batch
    y, exact = GhostBatchNorm2d(128, 64)(x), GhostBatchNorm2d(128, 64, dtype=torch.float64)(x.double())
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=2e-3)  # the mean's rounding, and that of 64 rows' sum


@pytest.mark.parametrize("affine", [True, False])
def test_channels_last_can_be_differentiated_twice(affine):
    x = torch.randn(4, 2, 2, 3, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    layer = GhostBatchNorm2d(2, 2, dtype=torch.float64, affine=affine)
    names, parameters = zip(*layer.named_parameters(), strict=True) if affine else ((), ())

    def of_all(x: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, given, strict=True)), x)

    assert torch.autograd.gradcheck(of_all, (x, *parameters))
    assert torch.autograd.gradgradcheck(of_all, (x, *parameters))
    once, graph = (
        torch.autograd.grad(of_all(x, *parameters).pow(3).sum(), (x, *parameters), create_graph=create_graph)
        for create_graph in (False, True)
    )
    torch.testing.assert_close(once, graph)  # a graph of the gradient has another way, through torch's own


def test_torch_func_differentiates_channels_last():
    layer, x = _both_layouts((32, 3, 2, 2), torch.float64)[1]

    def energy(x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(layer.named_parameters()), x).pow(3).sum()

    layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None  # it cannot write to these
    (expected,) = torch.autograd.grad(energy(x), x)
    torch.testing.assert_close(torch.func.grad(energy)(x.detach()), expected)


def test_channels_last_is_the_same_on_any_number_of_threads():
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            layer, x = _both_layouts((64, 5, 9, 7), torch.float32)[1]
            y = layer(x)
            y.square().sum().backward()
            found.append([y, x.grad, layer.weight.grad, layer.running_var])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
