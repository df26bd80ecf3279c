"""Which rank stores which shards of each parameter, where a model is sharded.

A shard is a box of a parameter: from `start`, of `shape`. A rank's copy of the weights is its shards, one after the
other, each flattened in row-major order; a parameter's shards do not overlap and together are the parameter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.layout import TensorSpec


@dataclass(frozen=True)
class Shard:
    """A box of a parameter that one rank stores.

    Attributes:
        rank: the rank.
        parameter: the parameter's number.
        start: the index of the box's first element in the parameter.
        shape: the box's shape.
    """

    rank: int
    parameter: int
    start: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def box(self) -> tuple[slice, ...]:
        """The shard as an index into the parameter."""
        return tuple(slice(at, at + length) for at, length in zip(self.start, self.shape, strict=True))


def check_cover(parameters: Sequence[TensorSpec], shards: Iterable[Shard]) -> None:
    """Check that each element of each parameter is in one shard.

    Args:
        parameters: all parameters, in order.
        shards: those of all ranks.

    Raises:
        StoreError: an element is in none, or in several.
    """
    by_parameter: dict[int, list[Shard]] = {i: [] for i in range(len(parameters))}
    for shard in shards:
        if shard.size:
            by_parameter[shard.parameter].append(shard)
    for spec, own in zip(parameters, by_parameter.values(), strict=True):
        held = sum(shard.size for shard in own)
        if held != spec.size or _overlap(own):
            raise StoreError(
                f"parameter {spec.name} is sharded in a way that cannot be recorded: its ranks hold {held} elements,"
                f" expected {spec.size}, each once; shard it with fully_shard or distribute_tensor"
            )


def _overlap(shards: Sequence[Shard]) -> bool:
    """Return whether two shards of one parameter have an element in common."""
    start = np.array([shard.start for shard in shards])
    stop = start + np.array([shard.shape for shard in shards])
    shared = np.all((start[:, None] < stop) & (start < stop[:, None]), axis=-1)  # a scalar's only box meets itself
    return int(shared.sum()) > len(shards)


def to_table(shards: Sequence[Shard]) -> np.ndarray:
    """Return shards as the store's array `part`.

    Args:
        shards: those of all ranks, in order.

    Returns:
        int64 (shard, field): rank, parameter, then start and shape over as many dimensions as any shard has.
    """
    width = max((len(shard.shape) for shard in shards), default=0)
    rows = []
    for shard in shards:
        rest = width - len(shard.shape)
        rows.append([shard.rank, shard.parameter, *shard.start, *[0] * rest, *shard.shape, *[1] * rest])
    return np.array(rows, dtype="int64").reshape(len(shards), 2 + 2 * width)


def from_table(table: np.ndarray, parameters: Sequence[TensorSpec]) -> list[Shard]:
    """Invert `to_table`.

    Args:
        table: the store's array `part`.
        parameters: all parameters, in order.

    Returns:
        The shards of all ranks, in order.

    Raises:
        ValueError: a box is not within its parameter.
    """
    width = (table.shape[1] - 2) // 2
    shards = []
    for rank, parameter, *box in table.tolist():
        if not 0 <= parameter < len(parameters):
            raise ValueError(f"a shard is of parameter {parameter}, of {len(parameters)}")
        shape = parameters[parameter].shape
        shard = Shard(rank, parameter, tuple(box[: len(shape)]), tuple(box[width : width + len(shape)]))
        limits = zip(shard.start, shard.shape, shape, strict=True)
        if any(at < 0 or length < 0 or at + length > size for at, length, size in limits):
            raise ValueError(f"a shard of {parameters[parameter].name} is not within it")
        shards.append(shard)
    return shards


def shard_sizes(shards: Iterable[Shard]) -> dict[int, int]:
    """Return how many elements each rank stores.

    Args:
        shards: those of all ranks.

    Returns:
        The numbers by rank, in order; ranks that store none are left out.
    """
    total: dict[int, int] = {}
    for shard in shards:
        total[shard.rank] = total.get(shard.rank, 0) + shard.size
    return dict(sorted(total.items()))


def assemble(
    parameters: Sequence[TensorSpec], shards: Iterable[Shard], stored: Mapping[int, np.ndarray]
) -> list[np.ndarray]:
    """Put each parameter together from its shards.

    Args:
        parameters: all parameters, in order.
        shards: those of all ranks, in order.
        stored: what each rank stored, flat, by rank.

    Returns:
        The parameters, in order, each in its own shape.
    """
    dtype = next(iter(stored.values())).dtype
    tensors = [np.empty(spec.shape, dtype) for spec in parameters]
    at = dict.fromkeys(stored, 0)
    for shard in shards:
        flat = stored[shard.rank][at[shard.rank] : at[shard.rank] + shard.size]
        tensors[shard.parameter][shard.box] = flat.reshape(shard.shape)
        at[shard.rank] += shard.size
    return tensors
