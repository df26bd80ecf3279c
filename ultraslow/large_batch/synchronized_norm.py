"""Batch normalization whose batches are those of the whole update, however many processes share it.

DistributedDataParallel gives each of W processes a share of every batch, and batch norm would be over the share: with
two processes a batch of 16 would be normalized as ghost batches of 8, another experiment. Here mean and variance of
each ghost batch (of the whole batch, where there are none) are summed over the processes, in the forward pass and,
for their gradients, in the backward pass. Statistics, gradients and running statistics are then those of one process,
up to the order of summation. torch's SyncBatchNorm knows no ghost batches, and no CPU.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ultraslow.large_batch.errors import GhostBatchNormError
from ultraslow.large_batch.ghost_batch_norm import GhostBatchNorm, ghost_batch_sizes


class SynchronizedNorm(GhostBatchNorm):
    """Ghost batch norm over a batch that processes share: rank r of W holds the samples r, r + W, r + 2W, ….

    Made by `synchronize_batch_norm`, out of layers that are there.
    """

    group: "dist.ProcessGroup | None"

    def forward(self, x: Tensor) -> Tensor:
        """Normalize this rank's share of a batch while training, by the running statistics when evaluating.

        Args:
            x: the share, (B/W, C, …); as many samples on each rank.

        Returns:
            The normalized share.
        """
        if not self.training and self.running_mean is not None:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        rank, size = dist.get_rank(self.group), dist.get_world_size(self.group)
        sizes = ghost_batch_sizes(len(x) * size, self.ghost_batch_size)
        ghost = ghost_of(torch.arange(len(x), device=x.device) * size + rank, sizes)
        wide = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
        values = wide.flatten(2).movedim(1, 2).flatten(1, -2) if x.dim() > 2 else wide[:, None]  # (b, pixels, C)
        numbers = torch.tensor(sizes, dtype=wide.dtype, device=x.device)[:, None] * values.shape[1]
        mean = self._summed(values, ghost, len(sizes)) / numbers
        away = values - mean[ghost, None]
        variance = self._summed(away.square(), ghost, len(sizes)) / numbers
        y = away * torch.rsqrt(variance + self.eps)[ghost, None]
        if self.weight is not None:
            y = y * self.weight + self.bias
        if self.training and self.running_mean is not None:
            self.update_running(mean.detach(), (variance * numbers / (numbers - 1)).detach())
        return (y.movedim(2, 1) if x.dim() > 2 else y).reshape(x.shape).to(x.dtype)

    def _summed(self, values: Tensor, ghost: Tensor, n: int) -> Tensor:
        """Sum (b, pixels, C) by ghost batch over all processes: (n, C)."""
        own = values.new_zeros(n, values.shape[-1]).index_add(0, ghost, values.sum(1))
        return _SumOverRanks.apply(own, self.group)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept what either of the layers that this was made of takes."""


class _SumOverRanks(torch.autograd.Function):
    """Sums a tensor over the processes; its gradient is summed likewise, as each one's loss depends on the sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: "dist.ProcessGroup | None") -> Tensor:
        ctx.group = group
        total = values.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def ghost_of(samples: Tensor, sizes: list[int]) -> Tensor:
    """Return the ghost batch of each sample, as ghost batch norm in one process splits a batch.

    Args:
        samples: numbers of samples in the whole batch, from 0.
        sizes: `ghost_batch_sizes` of the batch.

    Returns:
        The ghost batches' numbers, from 0.

    Examples:
        >>> import torch
        >>> from ultraslow.large_batch.synchronized_norm import ghost_of
        >>> ghost_of(torch.arange(5), [3, 2]).tolist(), ghost_of(torch.arange(4), [2, 2]).tolist()
        ([0, 0, 0, 1, 1], [0, 1, 0, 1])
    """
    larger = sizes.count(sizes[0])
    cut, smaller = larger * sizes[0], max(len(sizes) - larger, 1)
    return torch.where(samples < cut, samples % larger, larger + (samples - cut) % smaller)


def synchronize_batch_norm(model: nn.Module, group: "dist.ProcessGroup | None" = None) -> nn.Module:
    """Let every batch norm of a model, ghost or not, be over the whole batch that processes share, in place.

    Weights, buffers and hooks stay; the layers keep their identity and only their class changes.

    Args:
        model: the network, the same on all ranks. Rank r of W is to get the samples r, r + W, r + 2W, … of a batch.
        group: the processes; None for all of torch.distributed's.

    Returns:
        The model itself.

    Raises:
        GhostBatchNormError: for a kind of batch norm that is not known to be synchronized (3-d, lazy, or your own).
    """
    for name, layer in model.named_modules():
        if not isinstance(layer, _BatchNorm) or isinstance(layer, nn.SyncBatchNorm):
            continue
        if not (isinstance(layer, GhostBatchNorm) or type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d)):
            raise GhostBatchNormError(
                f"layer {name or 'itself'} is a {type(layer).__name__}, whose statistics cannot be taken over several"
                " processes; expected BatchNorm1d, BatchNorm2d or their ghost twins: train in one process"
            )
        if not isinstance(layer, GhostBatchNorm):
            layer.ghost_batch_size = 2**62  # type: ignore[assignment]  # one ghost batch, whatever the batch
        layer.__class__ = SynchronizedNorm
        layer.group = group  # type: ignore[assignment]
    return model
