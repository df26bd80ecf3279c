"""How the ranks that train one model share the work of recording it.

Copies of the whole model (DistributedDataParallel): rank 0 records; the others count steps and communicate nothing.
Shards of it (DTensor): each element is counted by one rank, which sums the squares of its own,

    ‖w‖² = Σ_ranks Σ_{i counted by the rank} w_i²,

and the sums of a whole block of steps are added up over the ranks at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isclose
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trajectory.errors import RecordingError, first_line
from trajectory.measure.ranks import Ranks, is_distributed
from trajectory.measure.sharding import LocalElements, is_dtensor, is_sharded, unbroken_runs
from trajectory.schema.shards import Shard

T = TypeVar("T")


@dataclass(frozen=True)
class RecordingRanks(Ranks):
    """The ranks of one recording, which communicate only if each of them holds shards of the model.

    Attributes:
        rank: This process's number, from 0.
        size: The number of processes.
        group: The torch.distributed group that they communicate in; None for the group of all processes.
        sharded: Whether the model's parameters are spread over the ranks.
    """

    sharded: bool = False

    @classmethod
    def of(cls, model: nn.Module, group: "dist.ProcessGroup | None" = None) -> Self:
        """Find out how a model lies on the ranks.

        Args:
            model: The model as it is trained.
            group: The processes that train it; None for all there are, or for this one alone if torch.distributed
                is not initialized.

        Returns:
            The ranks.

        Raises:
            RecordingError: This process is not in the group, or the model is in FullyShardedDataParallel.
        """
        ranks = Ranks.current(group)
        if ranks.rank < 0:
            raise RecordingError("this process is not in process_group; make a Recorder on its ranks alone")
        return cls(ranks.rank, ranks.size, group, is_distributed() and is_sharded(model))

    @property
    def is_replica(self) -> bool:
        """Whether this process holds a copy of what the first one records."""
        return not self.is_first and not self.sharded

    def gather(self, value: T) -> list[T]:
        """Collect a value from every rank of a sharded model; otherwise this one's alone.

        Args:
            value: This rank's, which pickle can hold.

        Returns:
            The values in the order of the ranks' numbers.

        Raises:
            RecordingError: Another rank has ended, or does not call this.
        """
        if not self.sharded:
            return [value]
        with self._explained():
            return super().gather(value)

    def add_up(self, values: Tensor) -> None:
        """Replace a tensor by its sum over the ranks of a sharded model.

        Args:
            values: This rank's summands, of one shape on all ranks.

        Raises:
            RecordingError: Another rank has ended, or does not call this.
        """
        if self.sharded:
            with self._explained():
                super().add_up(values)

    def check_agreement(self, settings: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> None:
        """Check that the ranks of a sharded model record one model in one way.

        Args:
            settings: Entries that must be equal on all ranks.
            parameters: The parameters by name. Those that are not sharded must have equal norms on all ranks.

        Raises:
            RecordingError: Two ranks differ; it is raised on every rank.
        """
        if not self.sharded:
            return
        norms = {f"parameter {name}": float(p.detach().norm()) for name, p in parameters.items() if not is_dtensor(p)}
        first, *others = self.gather({**settings, **norms})
        for rank, other in enumerate(others, start=1):
            differing = [key for key in first if key not in other or not _is_equal(first[key], other[key])]
            if differing:
                raise RecordingError(
                    f"ranks 0 and {rank} differ in {differing[0]}; expected shards of one model, and copies of what"
                    " is not sharded: give process_group= the ranks that train one, and make equal what should be"
                )

    def local(self, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the elements of parameters that this process counts: all of them, or those of its shards.

        Args:
            parameters: Whole parameters or DTensors.
        """
        return LocalElements(parameters, self._first) if self.sharded else parameters

    def shards(self, local: Sequence[Tensor]) -> list[Shard]:
        """Collect where every rank's elements lie in the whole parameters.

        Args:
            local: What `local` has returned.

        Returns:
            The boxes rank by rank; none if the parameters are not sharded.
        """
        own = local.shards(self.rank) if isinstance(local, LocalElements) else []
        return [shard for shards in self.gather(own) for shard in shards]

    def unbroken_runs(self, parameters: Sequence[tuple[Tensor, int]]) -> list[tuple[Tensor, int]]:
        """Cut the elements that this process counts into runs without gaps.

        Args:
            parameters: Each with the number of its first element, counting elements in row-major order.

        Returns:
            Each run's elements and the number of its first one.
        """
        if not self.sharded:
            return list(parameters)
        return [run for tensor, index in parameters for run in unbroken_runs(tensor, index, self._first)]

    def add_up_block(self, ring: Tensor, rows: int, written: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Add up a block of rows over the ranks; every rank must call this after the same update.

        The whole ring travels, so that a rank with another number of rows is found out by `written_by_all`.

        Args:
            ring: This rank's rows, and room for those that a full block would have.
            rows: The number of rows in the block.
            written: How many snapshots and origins this rank has written its shards of.

        Returns:
            The sums, `rows` of them, and the ranks' progress (1 + 2 · ranks,), for `written_by_all`.
        """
        progress = ring.new_zeros(1 + 2 * self.size)
        progress[0].fill_(rows)
        for k, count in enumerate(written):
            progress[1 + 2 * self.rank + k].fill_(count)
        sums = torch.cat([ring.flatten(), progress])
        self.add_up(sums)
        block, progress = sums.split([ring.numel(), len(progress)])
        return block.view(ring.shape)[:rows], progress

    def written_by_all(self, progress: np.ndarray, rows: int) -> tuple[int, int]:
        """Count the snapshots and origins that all ranks have written.

        Args:
            progress: What `add_up_block` has returned, on the host.
            rows: The number of rows that this rank put into the block.

        Returns:
            The number of snapshots and that of origins.

        Raises:
            RecordingError: The ranks put different numbers of rows into the block.
        """
        if progress[0] != rows * self.size:
            raise RecordingError(
                f"rank 0 flushed {rows} rows where the {self.size} ranks together flushed {progress[0]:.0f}; expected"
                " one schedule on all ranks, and flush and close on all after the same update"
            )
        snapshots, origins = progress[1:].reshape(self.size, 2).min(axis=0)
        return int(snapshots), int(origins)

    @property
    def _first(self) -> int:
        """The number of the group's first process among all processes."""
        return dist.get_global_rank(self.group, 0) if self.group else 0

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RecordingError(
                f"rank {self.rank}: the ranks' sums could not be added up ({first_line(error)}); a rank has"
                " ended, or did not flush or close the recorder where the others did"
            ) from error


def _is_equal(a: Any, b: Any) -> bool:
    return isclose(a, b, rel_tol=1e-6) if isinstance(a, float) and isinstance(b, float) else a == b
