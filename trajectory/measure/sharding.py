"""Which elements of a sharded parameter lie on this rank, and which rank counts them.

A DTensor, as fully_shard and distribute_tensor make them, lies in boxes on several ranks. Each element is counted by
one rank: a replica counts where its rank has coordinate 0 on every dimension of the mesh it is replicated over. A
parameter on a mesh without the first rank, or a plain one beside shards, counts on the first rank alone.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, cast, overload

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trajectory.errors import RecordingError
from trajectory.measure.ranks import is_distributed
from trajectory.schema.shards import Shard


class LocalElements(Sequence[Tensor]):
    """The elements of parameters that this rank counts, as they lie at the moment of asking.

    Args:
        parameters: The parameters, some of them DTensors. An entry is empty where this rank counts none of its
            parameter's elements.
        first: The global number of the rank that counts what every rank holds.
    """

    def __init__(self, parameters: Sequence[Tensor], first: int):
        self._parameters, self._first = list(parameters), first
        self._counted = [_is_counted(p, first) for p in self._parameters]

    def __len__(self) -> int:
        return len(self._parameters)

    @overload
    def __getitem__(self, i: int) -> Tensor: ...
    @overload
    def __getitem__(self, i: slice) -> "LocalElements": ...
    def __getitem__(self, i: int | slice) -> "Tensor | LocalElements":
        if isinstance(i, slice):
            return LocalElements(self._parameters[i], self._first)
        return _own(self._parameters[i], self._counted[i])

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The parameters whose elements these are, some of them DTensors."""
        return self._parameters

    def of(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the same elements of other tensors, such as the gradients.

        Args:
            tensors: As the parameters; None for one that a parameter lacks.
        """
        triples = zip(self._parameters, tensors, self._counted, strict=True)
        return [None if t is None else _own(_laid_out_as(p, t), counted) for p, t, counted in triples]

    def shards(self, rank: int) -> list[Shard]:
        """Describe where the elements lie in the whole parameters.

        Args:
            rank: This process's number in its group.

        Returns:
            A box for each parameter that has elements here, in the parameters' order.
        """
        boxes = enumerate(map(_box, self._parameters))
        return [Shard(rank, i, *box) for i, box in boxes if self._counted[i] and self[i].numel()]


def unbroken_runs(parameter: Tensor, index: int, first: int) -> list[tuple[Tensor, int]]:
    """Cut the elements that this rank counts into runs of the whole parameter in row-major order.

    Args:
        parameter: The parameter, which may be a DTensor.
        index: The number of its first element among the elements of all parameters.
        first: The global number of the rank that counts what every rank holds.

    Returns:
        Each run's elements and the number of its first one; a single empty run if this rank counts none.
    """
    own = _own(parameter, _is_counted(parameter, first))
    return _runs(own, _box(parameter)[0], parameter.shape, index) if own.numel() else [(own, index)]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its elements; every rank must call this if the tensor is sharded.

    Args:
        tensor: A plain tensor, which is returned as it is, or a DTensor.
    """
    return cast(Any, tensor).full_tensor() if is_distributed() and is_dtensor(tensor) else tensor


@torch.no_grad()
def put(values: Tensor, into: Tensor) -> None:
    """Copy a whole tensor into another one, or into the shard of it that lies here.

    Args:
        values: All elements.
        into: A plain tensor of that shape, or a DTensor.
    """
    if is_distributed() and is_dtensor(into):
        start, shape = _box(into)
        values = values[tuple(slice(at, at + length) for at, length in zip(start, shape, strict=True))]
        into = cast(Any, into).to_local()
    into.detach().copy_(values)


def is_sharded(model: nn.Module) -> bool:
    """Return whether a model's parameters are DTensors; what fully_shard has gathered is put back into shards.

    Args:
        model: The model as it is trained.

    Raises:
        RecordingError: The model is in FullyShardedDataParallel.
    """
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    for module in model.modules():
        if isinstance(module, FullyShardedDataParallel):
            raise RecordingError(
                "the model is wrapped in FullyShardedDataParallel, whose flat shards do not keep parameters apart;"
                " shard it with torch.distributed.fsdp.fully_shard"
            )
        if isinstance(module, FSDPModule):
            module.reshard()
    return any(is_dtensor(p) for p in model.parameters())


# `Any` in these private functions: torch loads the type DTensor late, and type checkers do not narrow to it
def is_dtensor(tensor: Any) -> bool:
    """Return whether a tensor is a DTensor.

    Args:
        tensor: Any tensor, once there is a process group.
    """
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def _own(tensor: Any, counted: bool) -> Tensor:
    """Return this rank's elements of a tensor, or none."""
    own = tensor.to_local() if is_dtensor(tensor) else tensor
    return own.detach() if counted else own.detach().new_empty(0)


def _is_counted(tensor: Any, first: int) -> bool:
    """Return whether this rank counts its elements: where they lie on several ranks, one does."""
    if not is_dtensor(tensor):
        return dist.get_rank() == first
    here = tensor.device_mesh.get_coordinate()
    if here is None or first not in tensor.device_mesh.mesh:
        return False
    # asked for replicas, since what fully_shard makes of tensor parallel shards does not call itself a shard
    return all(at == 0 or not placement.is_replicate() for placement, at in zip(tensor.placements, here, strict=True))


def _box(tensor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return start and shape of this rank's elements in the whole tensor."""
    if not is_dtensor(tensor):
        return (0,) * tensor.dim(), tuple(tensor.shape)
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset  # as torch's checkpoints do

    shape, start = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(start), tuple(shape)


def _runs(values: Tensor, start: Sequence[int], whole: Sequence[int], index: int) -> list[tuple[Tensor, int]]:
    """Cut a box's elements into unbroken runs of the whole tensor, whose first element has the number `index`."""
    if values.dim() == 0:
        return [(values, index)]
    row = prod(whole[1:])
    if tuple(values.shape[1:]) == tuple(whole[1:]):
        return [(values, index + start[0] * row)]
    rows = enumerate(values, start[0])
    return [run for i, inner in rows for run in _runs(inner, start[1:], whole[1:], index + i * row)]


def _laid_out_as(parameter: Any, tensor: Any) -> Tensor:
    """Return a tensor spread over the ranks as its parameter is; tensor parallelism may leave it to be summed."""
    if is_dtensor(tensor) and tensor.placements != parameter.placements:
        return tensor.redistribute(placements=parameter.placements)
    return tensor
