"""One run in several processes, as `torchrun` starts them: each takes its share of every batch.

Rank r of W takes the samples r, r + W, r + 2W, … of a batch of B, and gradients are averaged over the ranks: the
update is that of one process on the whole batch, up to the order of summation, since whatever is random (order,
crops, noise) is drawn on every rank for the whole batch. Two things are each rank's own. Dropout's masks; and batch
normalization, which is over the rank's share, or over ghost batches within it: a ghost batch is never spread over
ranks. Where W divides the number of ghost batches and ghost_batch_size divides B, the ranks' ghost batches are those
of one process. The running statistics, and so the evaluation, are the first rank's.
"""

import atexit
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from train.errors import ConfigError
from trajectory.measure.ranks import all_or_none

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes that train one model together, and this one's place among them."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one records, evaluates, and writes checkpoints."""
        return self.rank == 0

    def check(self, batch_size: int) -> None:
        """Raises ConfigError if a batch cannot be shared out evenly."""
        if batch_size % self.size:
            raise ConfigError(f"batch_size is {batch_size}; expected a multiple of {self.size}, the processes")

    def share(self, samples: Tensor) -> Tensor:
        """This rank's of the batch's samples (B, ...): (B/W, ...)."""
        return samples[self.rank :: self.size] if self.size > 1 else samples

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with gradients averaged over the ranks; buffers are each rank's own."""
        if self.size == 1:
            return model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch 2.13's other name, which earlier ones lack
            return DistributedDataParallel(model, broadcast_buffers=False)

    def of_whole_batch(self, loss: Tensor, wrong: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and misclassified samples of the batch, from those of each rank's share."""
        if self.size == 1:
            return loss, wrong
        sums = torch.stack([loss.double(), wrong.double()])
        dist.all_reduce(sums)
        return (sums[0] / self.size).to(loss.dtype), sums[1].to(wrong.dtype)

    def gather(self, fact: T) -> list[T]:
        """Every rank's `fact`."""
        if self.size == 1:
            return [fact]
        facts: list[Any] = [None] * self.size
        dist.all_gather_object(facts, fact)
        return facts

    def all_or_none(self, make: Callable[[], T]) -> T:
        """What `make` returns on this rank; an error of one rank is raised on every one."""
        return all_or_none(make, self.gather)


ALONE = Processes()


def processes(device: torch.device) -> Processes:
    """Those of torch.distributed where it is initialized, those that torchrun has started, or this one alone."""
    if is_by_torchrun() and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)  # not before: what torchrun's ranks met by serves once
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return ALONE


def device_of_rank(device: torch.device) -> torch.device:
    """`cuda` is, under torchrun, the GPU of this rank's number on its machine."""
    if device.type == "cuda" and device.index is None and is_by_torchrun():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


def is_first() -> bool:
    """Whether this process is the one that prints."""
    return not is_by_torchrun() or os.environ["RANK"] == "0"


def is_by_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return dist.is_available() and dist.is_torchelastic_launched()
