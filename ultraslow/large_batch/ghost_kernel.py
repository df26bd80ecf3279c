"""Ghost batch normalization on a CPU of images with the channels last in memory, without a copy.

There (ghost batch, channel) is no axis of any view, so that torch's batch norm would need copies of the batch. Here
each ghost batch is normalized where it lies, with its own

    μ = Σ x / N,   σ² = Σ (x − μ)² / N,   y = (x − μ) γ / √(σ² + ε) + β,   N = G · pixels

and, for a gradient d of y, s_1 = Σ d and s_2 = Σ d (x − μ) give

    ∂β = s_1,   ∂γ = s_2 / √(σ² + ε),   ∂x = γ / √(σ² + ε) · (d − s_1 / N − (x − μ) s_2 / (N (σ² + ε))).

Threads take ghost batches, each of which tends to stay in a core's cache between its passes. Sums are float64 over
float32 sums of at most 64 rows; equal batches give equal numbers on any number of threads.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import cfunc, njit
from torch import Tensor, nn

from trajectory.measure.openmp import compiled, run, take, view
from ultraslow.large_batch import fused_ghost_norm

_ROWS = 64  # summed in the batch's own type, before they are added in float64
_WIDTH = 512  # elements of a row, at most: neighbouring pixels are taken as one row, which makes loops long
# the entries of a job: the next ghost batch, their number, samples in each, rows of a sample, elements of a row,
# channels, whether float64, and pointers to the batch (ghost batches innermost of the samples), to what is read and
# written beside it, and to float64 tables: of each ghost batch (ghost batch, channel), and of the channels
_NEXT, _N, _G, _R, _V, _C, _DOUBLE, _X, _D, _Y, _MEAN, _RSTD, _FIRST, _SECOND, _WEIGHT, _BIAS = range(16)
_FAST = {"reassoc", "contract", "nsz"}


@njit
def _fold(wide, sums):
    """Add up the pixels of a row: (pixels · C) → (C)."""
    sums[:] = 0.0
    for v in range(len(wide)):
        sums[v % len(sums)] += wide[v]


@njit
def _tiled(values, out):
    """Repeat a number of each channel for each pixel of a row."""
    for v in range(len(out)):
        out[v] = values[v % len(values)]


@njit(fastmath=_FAST)
def _sum(job, i, address, sums, like):
    """Sum a ghost batch over samples and pixels."""
    total, part = np.zeros(job[_V]), np.zeros(job[_V], like.dtype)
    taken = 0
    for g in range(job[_G]):
        for r in range(job[_R]):
            row = view(address, ((g * job[_N] + i) * job[_R] + r) * job[_V], job[_V], like)
            for v in range(len(part)):
                part[v] += row[v]
            taken += 1
            if taken % _ROWS == 0:
                total += part
                part[:] = 0
    total += part
    _fold(total, sums)


@njit(fastmath=_FAST)
def _sum_of_products(job, i, address, mean, sums, like):
    """Sum (x − μ) d of a ghost batch, or (x − μ)² where there is no d, whose address is 0 then."""
    total, part = np.zeros(job[_V]), np.zeros(job[_V], like.dtype)
    taken = 0
    for g in range(job[_G]):
        for r in range(job[_R]):
            first = ((g * job[_N] + i) * job[_R] + r) * job[_V]
            row = view(job[_X], first, job[_V], like)
            if address == 0:
                for v in range(len(part)):
                    away = row[v] - mean[v]
                    part[v] += away * away
            else:
                other = view(address, first, job[_V], like)
                for v in range(len(part)):
                    part[v] += (row[v] - mean[v]) * other[v]
            taken += 1
            if taken % _ROWS == 0:
                total += part
                part[:] = 0
    total += part
    _fold(total, sums)


@njit
def _table(job, entry, i):
    """Return the numbers of ghost batch i in a float64 table (ghost batch, channel)."""
    return view(job[entry], i * job[_C], job[_C], np.empty(0))


@njit(fastmath=_FAST)
def _normalize(job, i, eps, like):
    numbers = job[_G] * job[_R] * (job[_V] // job[_C])
    mean, variance, rstd = _table(job, _MEAN, i), _table(job, _FIRST, i), _table(job, _RSTD, i)
    weight, bias = _table(job, _WEIGHT, 0), _table(job, _BIAS, 0)
    m, s, b = np.empty((3, job[_V]), like.dtype)
    _sum(job, i, job[_X], mean, like)
    mean /= numbers
    _tiled(mean, m)
    _sum_of_products(job, i, 0, m, variance, like)
    variance /= numbers
    for c in range(job[_C]):
        rstd[c] = 1 / math.sqrt(variance[c] + eps)
    _tiled(weight * rstd, s)
    _tiled(bias, b)
    for g in range(job[_G]):
        for r in range(job[_R]):
            first = ((g * job[_N] + i) * job[_R] + r) * job[_V]
            x, y = view(job[_X], first, job[_V], like), view(job[_Y], first, job[_V], like)
            for v in range(len(m)):
                y[v] = (x[v] - m[v]) * s[v] + b[v]


@njit(fastmath=_FAST)
def _differentiate(job, i, like):
    numbers = job[_G] * job[_R] * (job[_V] // job[_C])
    mean, rstd, weight = _table(job, _MEAN, i), _table(job, _RSTD, i), _table(job, _WEIGHT, 0)
    first_sum, second_sum = _table(job, _FIRST, i), _table(job, _SECOND, i)
    m, a, b, c = np.empty((4, job[_V]), like.dtype)
    _tiled(mean, m)
    _sum(job, i, job[_D], first_sum, like)
    _sum_of_products(job, i, job[_D], m, second_sum, like)
    _tiled(weight * rstd, a)
    _tiled(first_sum / numbers, b)
    _tiled(second_sum * rstd * rstd / numbers, c)
    for g in range(job[_G]):
        for r in range(job[_R]):
            first = ((g * job[_N] + i) * job[_R] + r) * job[_V]
            x, d = view(job[_X], first, job[_V], like), view(job[_D], first, job[_V], like)
            y = view(job[_Y], first, job[_V], like)
            for v in range(len(m)):
                y[v] = a[v] * (d[v] - b[v] - (x[v] - m[v]) * c[v])


def _forward(address):
    """Take ghost batches until there are none left, and normalize them."""
    job = view(address, 0, 16, np.empty(0, np.int64))
    eps = view(job[_SECOND], 0, 1, np.empty(0))[0]
    i = take(job)
    while i < job[_N]:
        if job[_DOUBLE]:
            _normalize(job, i, eps, np.empty(0, np.float64))
        else:
            _normalize(job, i, eps, np.empty(0, np.float32))
        i = take(job)


def _backward(address):
    """Take ghost batches until there are none left, and differentiate them."""
    job = view(address, 0, 16, np.empty(0, np.int64))
    i = take(job)
    while i < job[_N]:
        if job[_DOUBLE]:
            _differentiate(job, i, np.empty(0, np.float64))
        else:
            _differentiate(job, i, np.empty(0, np.float32))
        i = take(job)


@cache
def _kernels() -> tuple[Any, Any]:
    """Return `_forward` and `_backward` as C functions."""
    return compiled(cfunc, "void(int64)", _forward), compiled(cfunc, "void(int64)", _backward)


def takes(x: Tensor, weight: Tensor | None) -> bool:
    """Return whether `normalize` takes a batch; it takes none that `torch.func` transforms.

    Args:
        x: the batch.
        weight: the scale of the channels, if there is one.
    """
    return (
        type(x) in (Tensor, nn.Parameter)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and (weight is None or weight.dtype == x.dtype)
        and not torch._C._are_functorch_transforms_active()
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


def normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize a batch in n ghost batches, as `fused_ghost_norm.normalize` does.

    Args:
        x: the batch, (n·G, C, H, W), float32 or float64, channels last in memory.
        weight: a scale for each channel; None for 1.
        bias: a shift for each channel; None for 0.
        n: number of ghost batches.
        eps: added to the variance, for stability.

    Returns:
        The normalized batch in the memory format of x, and the ghost batches' means and unbiased variances, (n, C).
    """
    return _Normalize.apply(x, weight, bias, n, eps)


class _Normalize(torch.autograd.Function):
    """The kernels, joined to autograd."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels, numbers = x.shape[1], x.numel() // (x.shape[1] * n)
        y, (mean, variance, rstd) = torch.empty_like(x), torch.empty(3, n, channels, dtype=torch.float64)
        scale = torch.ones(channels, dtype=torch.float64) if weight is None else weight.double()
        shift = torch.zeros(channels, dtype=torch.float64) if bias is None else bias.double()
        tables = {_Y: y, _MEAN: mean, _RSTD: rstd, _FIRST: variance, _WEIGHT: scale, _BIAS: shift}
        settings = torch.tensor([eps], dtype=torch.float64)
        job = _job(x, n, tables | {_SECOND: settings})
        run(_kernels()[0], job.ctypes.data, n, x.numel())
        ctx.save_for_backward(x, weight, bias, mean, rstd, scale)
        ctx.n, ctx.eps = n, eps
        found = mean.to(x.dtype), (variance * (numbers / (numbers - 1))).to(x.dtype)
        ctx.mark_non_differentiable(*found)
        return y, *found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, rstd, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a gradient that is differentiated in its turn, torch's own
            inputs = [x, weight, bias]
            y, *_ = fused_ghost_norm.normalize(x, weight, bias, ctx.n, ctx.eps)
            wanted = [k for k in range(3) if ctx.needs_input_grad[k]]
            found = torch.autograd.grad(y, [inputs[k] for k in wanted], gradients[0], create_graph=True)
            by_input = dict(zip(wanted, found, strict=True))
            return *map(by_input.get, range(3)), None, None
        d, dx = gradients[0].contiguous(memory_format=torch.channels_last), torch.empty_like(x)
        sums, products = torch.empty(2, *mean.shape, dtype=torch.float64)
        tables = {_D: d, _Y: dx, _MEAN: mean, _RSTD: rstd, _FIRST: sums, _SECOND: products, _WEIGHT: scale}
        job = _job(x, ctx.n, tables)
        run(_kernels()[1], job.ctypes.data, ctx.n, x.numel())
        return (
            dx,
            None if weight is None else (products * rstd).sum(0).to(weight.dtype),
            None if bias is None else sums.sum(0).to(bias.dtype),
            None,
            None,
        )


def _job(x: Tensor, n: int, tables: Mapping[int, Tensor]) -> np.ndarray:
    """Make the job of n ghost batches of x; `tables` are the tensors whose addresses are its further entries."""
    channels, pixels = x.shape[1], x[0, 0].numel()
    together = math.gcd(pixels, 1 << max(0, (_WIDTH // channels).bit_length() - 1))
    job = np.zeros(16, np.int64)
    job[_N : _X + 1] = (
        *(n, len(x) // n, pixels // together, together * channels, channels, x.dtype == torch.float64),
        x.data_ptr(),
    )
    for entry, tensor in tables.items():
        job[entry] = tensor.data_ptr()
    return job
