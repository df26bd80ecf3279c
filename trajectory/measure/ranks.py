"""Recording one model in several processes: which of them record, and how sums over shards become the model's.

Copies of the whole model (DistributedDataParallel): rank 0 records; the others count steps and communicate
nothing. Shards of it (DTensor, as fully_shard and distribute_tensor make them): each element is counted by one
rank, which sums the squares of its own,

    ‖w‖² = Σ_ranks Σ_{i counted by the rank} w_i²,

and the sums of a whole block of steps are added up over the ranks at once. A replica counts where its rank has
coordinate 0 on every dimension of the mesh it is replicated over; a parameter on a mesh without the first rank,
or a plain one beside shards, counts on the first rank's side only.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isclose, prod
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trajectory.errors import RecordingError, UltraslowError, first_line
from trajectory.schema.shards import Shard

T = TypeVar("T")


class Ranks:
    """The processes that train one model together, and this one's place among them.

    group: theirs; None for all there are, or for this one alone if torch.distributed was not initialized.
    Raises RecordingError if this process is not in the group, or if the model is in FullyShardedDataParallel.
    """

    def __init__(self, model: nn.Module, group: "dist.ProcessGroup | None" = None):
        several = _several()
        self._group = group
        self.rank = dist.get_rank(group) if several else 0
        self.size = dist.get_world_size(group) if several else 1
        if self.rank < 0:
            raise RecordingError("this process is not in process_group; make a Recorder on its ranks alone")
        self.sharded = several and _is_sharded(model)
        self._first = dist.get_global_rank(group, 0) if group else 0

    @property
    def writes(self) -> bool:
        """Whether this process writes the rows, scalars and events."""
        return self.rank == 0

    @property
    def looks_on(self) -> bool:
        """Whether this process holds a copy of what another one records."""
        return self.rank > 0 and not self.sharded

    def agree(self, facts: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> None:
        """Raises RecordingError, on every rank, if shards' ranks differ in `facts` or in a plain parameter's norm."""
        if not self.sharded:
            return
        norms = {
            f"parameter {name}": float(p.detach().norm()) for name, p in parameters.items() if not _is_dtensor(p)
        }
        first, *others = self.gather({**facts, **norms})
        for rank, other in enumerate(others, start=1):
            differing = [key for key in first if key not in other or not _equal(first[key], other[key])]
            if differing:
                raise RecordingError(
                    f"ranks 0 and {rank} differ in {differing[0]}; expected shards of one model, and copies of what"
                    " is not sharded: give process_group= the ranks that train one, and make equal what should be"
                )

    def share(self, parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        """What this process counts of `parameters`: all of them, or its shards."""
        return Share(parameters, self._first) if self.sharded else parameters

    def shards(self, share: Sequence[Tensor]) -> list[Shard]:
        """Every rank's shards of the parameters, none if they are not sharded."""
        own = share.shards(self.rank) if isinstance(share, Share) else []
        return [shard for shards in self.gather(own) for shard in shards]

    def gather(self, fact: T) -> list[T]:
        """Every rank's `fact`, where the model is sharded; otherwise this one's alone."""
        if not self.sharded:
            return [fact]
        facts: list[Any] = [None] * self.size
        self._together(dist.all_gather_object, facts, fact)
        return facts

    def all_or_none(self, make: Callable[[], T]) -> T:
        """What `make` returns on this rank; an error of one rank is raised on every one."""
        return all_or_none(make, self.gather)

    def add_up(self, ring: Tensor, rows: int, written: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The first `rows` of `ring` added up over the ranks, and their progress, for `written_by_all`.

        written: how many snapshots and origins this rank has written its part of. The whole ring travels, so that a
        rank with another number of rows is told of it. Every rank must call this after the same update.
        """
        state = ring.new_zeros(1 + 2 * self.size)
        state[0].fill_(rows)
        for k, count in enumerate(written):
            state[1 + 2 * self.rank + k].fill_(count)
        sums = torch.cat([ring.flatten(), state])
        self._together(dist.all_reduce, sums)
        whole, progress = sums.split([ring.numel(), len(state)])
        return whole.view(ring.shape)[:rows], progress

    def add(self, values: Tensor) -> None:
        """Adds `values` up over the ranks of shards, in place."""
        if self.sharded:
            self._together(dist.all_reduce, values)

    def runs(self, parameters: Sequence[tuple[Tensor, int]]) -> list[tuple[Tensor, int]]:
        """The elements of parameters that this process counts, in unbroken runs, and each run's first index.

        parameters: with the index of their first element; elements are counted in row-major order.
        """
        if not self.sharded:
            return list(parameters)
        runs = []
        for tensor, index in parameters:
            own = _own(tensor, _counts(tensor, self._first))
            runs += _runs(own, _box(tensor)[0], tensor.shape, index) if own.numel() else [(own, index)]
        return runs

    def written_by_all(self, progress: np.ndarray, rows: int) -> tuple[int, int]:
        """How many snapshots and origins all ranks have written, from `add_up`.

        Raises RecordingError if the ranks sent other rows.
        """
        if progress[0] != rows * self.size:
            raise RecordingError(
                f"rank 0 drained {rows} rows where the {self.size} ranks together drained {progress[0]:.0f}; expected"
                " one schedule on all ranks, and drain, flush and close on all after the same update"
            )
        snapshots, origins = progress[1:].reshape(self.size, 2).min(axis=0)
        return int(snapshots), int(origins)

    def _together(self, collective: Callable[..., Any], *args: Any) -> None:
        try:
            collective(*args, group=self._group)
        except RuntimeError as error:
            raise RecordingError(
                f"rank {self.rank}: the ranks' sums could not be added up ({first_line(error)}); a rank has"
                " ended, or did not drain, flush or close the recorder where the others did"
            ) from error


def all_or_none(make: Callable[[], T], gather: Callable[[Any], list[Any]]) -> T:
    """What `make` returns here; an error of one rank is raised on every one. gather: every rank's word, in order."""
    made, failure = None, None
    try:
        made = make()
    except UltraslowError as error:
        failure = error
    failures = [error for error in gather(failure) if error]
    if failures:
        raise failures[0]
    return cast(T, made)


class Share(Sequence[Tensor]):
    """The elements of parameters that this rank counts, as they lie when asked for; empty where it counts none.

    first: the global rank that counts what every rank holds.
    """

    def __init__(self, parameters: Sequence[Tensor], first: int):
        self._parameters = list(parameters)
        self._counted = [_counts(p, first) for p in self._parameters]

    def __len__(self) -> int:
        return len(self._parameters)

    def __getitem__(self, i: Any) -> Any:
        return _own(self._parameters[i], self._counted[i])

    @property
    def gradients(self) -> list[Tensor | None]:
        """The same elements of the gradients."""
        pairs = zip(self._parameters, self._counted, strict=True)
        return [None if p.grad is None else _own(_like(p.grad, p), counted) for p, counted in pairs]

    def shards(self, rank: int) -> list[Shard]:
        """Where the elements lie in the whole parameters."""
        boxes = enumerate(map(_box, self._parameters))
        return [Shard(rank, i, *box) for i, box in boxes if self._counted[i] and self[i].numel()]


def whole(tensor: Any) -> Tensor:
    """A tensor with all its elements; every rank must ask for it if it is sharded."""
    return tensor.full_tensor() if _several() and _is_dtensor(tensor) else tensor


@torch.no_grad()
def put(values: Tensor, into: Any) -> None:
    """Copies a whole tensor into `into`, or into the shard of it that lies here."""
    if _several() and _is_dtensor(into):
        start, shape = _box(into)
        values = values[tuple(slice(at, at + length) for at, length in zip(start, shape, strict=True))]
        into = into.to_local()
    into.detach().copy_(values)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()


def _own(tensor: Any, counted: bool) -> Tensor:
    """This rank's elements of a tensor, or none."""
    own = tensor.to_local() if _is_dtensor(tensor) else tensor
    return own.detach() if counted else own.detach().new_empty(0)


def _counts(tensor: Any, first: int) -> bool:
    """Whether this rank counts its elements: where they lie on several ranks, one does."""
    if not _is_dtensor(tensor):
        return dist.get_rank() == first
    here = tensor.device_mesh.get_coordinate()
    if here is None or first not in tensor.device_mesh.mesh:
        return False
    # asked for replicas, since what fully_shard makes of tensor parallel shards does not call itself a shard
    return all(at == 0 or not placement.is_replicate() for placement, at in zip(tensor.placements, here, strict=True))


def _box(tensor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Start and shape of this rank's elements in the whole tensor."""
    if not _is_dtensor(tensor):
        return (0,) * tensor.dim(), tuple(tensor.shape)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset  # as torch's checkpoints do

    shape, start = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(start), tuple(shape)


def _runs(values: Tensor, start: Sequence[int], whole: Sequence[int], index: int) -> list[tuple[Tensor, int]]:
    """A box's elements in unbroken runs of the whole tensor, whose first element has the index `index`."""
    if values.dim() == 0:
        return [(values, index)]
    row = prod(whole[1:])
    if tuple(values.shape[1:]) == tuple(whole[1:]):
        return [(values, index + start[0] * row)]
    rows = enumerate(values, start[0])
    return [run for i, inner in rows for run in _runs(inner, start[1:], whole[1:], index + i * row)]


def _like(gradient: Any, parameter: Any) -> Tensor:
    """A gradient laid out over the ranks as its parameter is; tensor parallelism may leave it to be summed."""
    if _is_dtensor(gradient) and gradient.placements != parameter.placements:
        return gradient.redistribute(placements=parameter.placements)
    return gradient


def _is_sharded(model: nn.Module) -> bool:
    """Whether the model has shards; a layer that fully_shard holds gathered is put back into shards."""
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    for module in model.modules():
        if isinstance(module, FullyShardedDataParallel):
            raise RecordingError(
                "the model is wrapped in FullyShardedDataParallel, whose flat shards do not tell parameters apart;"
                " shard it with torch.distributed.fsdp.fully_shard"
            )
        if isinstance(module, FSDPModule):
            module.reshard()
    return any(_is_dtensor(p) for p in model.parameters())


def _is_dtensor(tensor: Tensor) -> bool:
    from torch.distributed.tensor import DTensor  # not before a process group is there

    return isinstance(tensor, DTensor)


def _equal(a: Any, b: Any) -> bool:
    return isclose(a, b, rel_tol=1e-6) if isinstance(a, float) and isinstance(b, float) else a == b
