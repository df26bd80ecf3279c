"""The processes that train one model together, as torch.distributed knows them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

import torch.distributed as dist
from torch import Tensor

from trajectory.errors import UltraslowError

T = TypeVar("T")


def is_distributed() -> bool:
    """Return whether torch.distributed has a process group."""
    return dist.is_available() and dist.is_initialized()


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together, and this one's place among them.

    Attributes:
        rank: This process's number, from 0. It is -1 in a process outside the group.
        size: The number of processes.
        group: The torch.distributed group that they communicate in; None for the group of all processes.
    """

    rank: int = 0
    size: int = 1
    group: "dist.ProcessGroup | None" = None

    @classmethod
    def current(cls, group: "dist.ProcessGroup | None" = None) -> Self:
        """Find this process's place in a group.

        Args:
            group: A group of torch.distributed; None for all processes.

        Returns:
            The ranks of the group; this process alone where torch.distributed is not initialized.
        """
        return cls(dist.get_rank(group), dist.get_world_size(group), group) if is_distributed() else cls()

    @property
    def is_first(self) -> bool:
        """Whether this process records, evaluates and prints for all of them."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Collect a value from every rank; each of them must call this.

        Args:
            value: This rank's, which pickle can hold.

        Returns:
            The values of all ranks, in the order of their numbers.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def add_up(self, values: Tensor) -> None:
        """Replace a tensor by its sum over the ranks; each of them must call this.

        Args:
            values: This rank's summands, of one shape on all ranks.
        """
        if self.size > 1:
            dist.all_reduce(values, group=self.group)

    def raise_on_all_ranks(self, make: Callable[[], T]) -> T:
        """Call a function on every rank, and let all of them raise the error of the first one that fails.

        Args:
            make: Is called without arguments.

        Returns:
            This rank's result.

        Raises:
            UltraslowError: `make` raised it here or on another rank. Other errors stay with the rank that they
                occur on.
        """
        made, failure = None, None
        try:
            made = make()
        except UltraslowError as error:
            failure = error
        failures = [error for error in self.gather(failure) if error]
        if failures:
            raise failures[0]
        return cast(T, made)
