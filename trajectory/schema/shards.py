"""Which rank keeps which part of each parameter, where a model is sharded.

A part is a box of a parameter: from `start`, of `shape`. A rank's snapshot is its parts, one after the other,
each flattened in row-major order; a parameter's parts do not overlap and together are the parameter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.layout import TensorSpec, part_array
from trajectory.storage.backend import Place


@dataclass(frozen=True)
class Part:
    """The elements of parameter number `parameter` that `rank` keeps."""

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
        """The part as an index into the parameter."""
        return tuple(slice(at, at + length) for at, length in zip(self.start, self.shape, strict=True))


def check_cover(parameters: Sequence[TensorSpec], parts: Iterable[Part]) -> None:
    """Raises StoreError unless each element of each parameter is in one part."""
    by_parameter: dict[int, list[Part]] = {i: [] for i in range(len(parameters))}
    for part in parts:
        if part.size:
            by_parameter[part.parameter].append(part)
    for spec, own in zip(parameters, by_parameter.values(), strict=True):
        held = sum(part.size for part in own)
        if held != spec.size or _overlap(own):
            raise StoreError(
                f"parameter {spec.name} is sharded in a way that cannot be recorded: its ranks hold {held} elements,"
                f" expected {spec.size}, each once; shard it with fully_shard or distribute_tensor"
            )


def _overlap(parts: Sequence[Part]) -> bool:
    """Whether two parts of one parameter have an element in common."""
    start = np.array([part.start for part in parts])
    stop = start + np.array([part.shape for part in parts])
    shared = np.all((start[:, None] < stop) & (start < stop[:, None]), axis=-1)  # a scalar's only box meets itself
    return int(shared.sum()) > len(parts)


def to_table(parts: Sequence[Part]) -> np.ndarray:
    """Parts as rows of int64: rank, parameter, then start and shape over as many dimensions as any has."""
    width = max((len(part.shape) for part in parts), default=0)
    rows = []
    for part in parts:
        rest = width - len(part.shape)
        rows.append([part.rank, part.parameter, *part.start, *[0] * rest, *part.shape, *[1] * rest])
    return np.array(rows, dtype="int64").reshape(len(parts), 2 + 2 * width)


def from_table(table: np.ndarray, parameters: Sequence[TensorSpec]) -> list[Part]:
    """The inverse of `to_table`."""
    width = (table.shape[1] - 2) // 2
    parts = []
    for rank, parameter, *box in table.tolist():
        dims = len(parameters[parameter].shape)
        parts.append(Part(rank, parameter, tuple(box[:dims]), tuple(box[width : width + dims])))
    return parts


def part_sizes(parts: Iterable[Part]) -> dict[int, int]:
    """How many elements each rank keeps, by rank; ranks that keep none are left out."""
    total: dict[int, int] = {}
    for part in parts:
        total[part.rank] = total.get(part.rank, 0) + part.size
    return dict(sorted(total.items()))


def assemble(
    parameters: Sequence[TensorSpec], parts: Iterable[Part], kept: Mapping[int, np.ndarray]
) -> list[np.ndarray]:
    """Each parameter whole, in order, from what the ranks kept (flat, by rank)."""
    dtype = next(iter(kept.values())).dtype
    whole = [np.empty(spec.shape, dtype) for spec in parameters]
    at = dict.fromkeys(kept, 0)
    for part in parts:
        flat = kept[part.rank][at[part.rank] : at[part.rank] + part.size]
        whole[part.parameter][part.box] = flat.reshape(part.shape)
        at[part.rank] += part.size
    return whole


def missing_copies(place: Place, ranks: Iterable[int], k: int, group: str = "snapshots") -> dict[str, str]:
    """The arrays of weights whose k-th row is not in the store at `place`, and whose part of a copy that is.

    ranks: those that keep parts; none: there is one array, and nobody's part. group: "snapshots" or "origins".
    """
    arrays = {part_array(rank): f"rank {rank}'s part of " for rank in ranks} or {"weights": ""}
    return {name: part for name, part in arrays.items() if not place.holds(f"{group}/{name}/c/{k}/0")}
