"""One run in several processes, as `torchrun` starts them: each takes its share of every batch.

Rank r of W takes the samples r, r + W, r + 2W, … of a batch of B, and gradients are averaged over the ranks: the
update is that of one process on the whole batch, up to the order of summation. Whatever is random (order, crops,
noise) is drawn on every rank for the whole batch; batch norm is over the whole batch, or its ghost batches, and has
the same running statistics on every rank (`ultraslow.large_batch.synchronized_norm`). Dropout's masks alone are each
rank's own.
"""

import atexit
import os
import warnings
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from train.errors import ConfigError
from trajectory.measure.ranks import Ranks
from ultraslow.large_batch.synchronized_norm import synchronize_batch_norm


@dataclass(frozen=True)
class DataParallel(Ranks):
    """The processes that train one model together on shares of every batch, and this one's place among them.

    Attributes:
        rank: This process's number, from 0. The first one records, evaluates and writes checkpoints.
        size: The number of processes.
        group: The torch.distributed group that they communicate in; None for the group of all processes.
    """

    def check(self, batch_size: int) -> None:
        """Check that every process gets as many samples of a batch.

        Args:
            batch_size: The samples B in a whole batch.

        Raises:
            ConfigError: B is not a multiple of the number of processes.
        """
        if batch_size % self.size:
            raise ConfigError(f"batch_size is {batch_size}; expected a multiple of {self.size}, the processes")

    def share(self, samples: Tensor) -> Tensor:
        """Return this rank's share of a batch.

        Args:
            samples: The whole batch (B, ...).

        Returns:
            The samples r, r + W, r + 2W, … (B/W, ...).
        """
        return samples[self.rank :: self.size] if self.size > 1 else samples

    def wrap(self, model: nn.Module) -> nn.Module:
        """Let a model's gradients be averaged over the ranks, and its batch norms be over whole batches.

        Args:
            model: The model, which must have the same weights on all ranks.

        Returns:
            The model in DistributedDataParallel; the model itself in a single process.

        Raises:
            GhostBatchNormError: The model has a batch norm that cannot be taken over several processes.
        """
        if self.size == 1:
            return model
        synchronize_batch_norm(model, self.group)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch 2.13's other name, which earlier ones lack
            return DistributedDataParallel(model, broadcast_buffers=False)

    def of_whole_batch(self, loss: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
        """Combine what the ranks have computed on their shares of a batch.

        Args:
            loss: The mean loss of this rank's share, in nats (a scalar).
            wrong: The number of its misclassified samples (a scalar).

        Returns:
            The mean loss and the number of misclassified samples of the whole batch.
        """
        if self.size == 1:
            return loss, wrong
        sums = torch.stack([loss.double(), wrong.double()])
        self.add_up(sums)
        return (sums[0] / self.size).to(loss.dtype), sums[1].to(wrong.dtype)


ALONE = DataParallel()


def data_parallel(device: torch.device) -> DataParallel:
    """Find the processes that train together.

    Args:
        device: Where this process trains; it decides how torchrun's processes communicate.

    Returns:
        Those of torch.distributed where it is initialized, those that torchrun has started, or this one alone.
    """
    if is_by_torchrun() and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)  # not before: what torchrun's ranks met by serves once
    return DataParallel.current()


def device_of_rank(device: torch.device) -> torch.device:
    """Choose this process's device: under torchrun, `cuda` is the GPU of this rank's number on its machine.

    Args:
        device: The device that the user has named.

    Returns:
        The device with its number, which is made the current one; any other device as it is.
    """
    if device.type == "cuda" and device.index is None and is_by_torchrun():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


def is_first() -> bool:
    """Return whether this process is the one that prints."""
    return not is_by_torchrun() or os.environ["RANK"] == "0"


def is_by_torchrun() -> bool:
    """Return whether torchrun has started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()
