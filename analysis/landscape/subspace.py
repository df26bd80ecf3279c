"""A random subspace of weight space, d = A y with normal numbers in A (Keskar et al. 2017, section 2.2.2)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from analysis.errors import LandscapeError
from analysis.inputs import is_count
from analysis.landscape.directions import generator
from analysis.landscape.objective import Objective

_ROWS = 1 << 14  # of A drawn at a time: 6 MB in a hundred dimensions
_MOST = 1 << 13  # dimensions: AᵀA and a chunk of A take half a gigabyte each
_KEPT = 1 << 26  # numbers of A that are kept, 256 MB; a larger one is drawn again from its seed whenever it is used


@dataclass(frozen=True, eq=False)
class RandomSubspace:
    """The span of A's columns.

    Attributes:
        weights: the number of A's rows, n.
        dimension: that of its columns, p.
        seed: of its numbers.
        like: a tensor of the weights' type and device.
    """

    weights: int
    dimension: int
    seed: int
    like: Tensor
    _chunks: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, objective: Objective, dimension: int, seed: int) -> "RandomSubspace":
        """Make a subspace of an objective's weights.

        Args:
            objective: the objective.
            dimension: of the subspace, p.
            seed: of A.

        Returns:
            The subspace.

        Raises:
            LandscapeError: where it is larger than the space or than memory allows, or has no dimension.
        """
        n = len(objective.weights)
        if not is_count(dimension, 1, n):
            raise LandscapeError(f"subspace = {dimension!r}: expected a dimension from 1 to the {n} weights")
        if dimension > _MOST:
            raise LandscapeError(f"subspace = {dimension}: expected {_MOST} dimensions at most, which take 1 GB")
        return cls(n, dimension, seed, objective.weights)

    def expand(self, y: Tensor) -> Tensor:
        """Return A y, (weight,).

        Args:
            y: (p,).
        """
        return torch.cat([rows @ y for rows in self._rows()])

    def project(self, v: Tensor) -> Tensor:
        """Return Aᵀ v, (p,).

        Args:
            v: (weight,).
        """
        return self._transposed(v).to(v)

    def coordinates(self, v: Tensor) -> Tensor:
        """Return A⁺ v, (p,), by the normal equations (AᵀA) y = Aᵀ v in float64.

        Args:
            v: (weight,).
        """
        gram = sum((rows.double().T @ rows.double() for rows in self._rows()), torch.zeros((), device=v.device))
        return torch.linalg.solve(gram, self._transposed(v)).to(v)

    def _transposed(self, v: Tensor) -> Tensor:
        parts = zip(self._rows(), v.split(_ROWS), strict=True)
        return sum((rows.double().T @ part.double() for rows, part in parts), torch.zeros((), device=v.device))

    def _rows(self) -> Iterator[Tensor]:
        """Yield A in chunks of rows, drawn in float32."""
        if self._chunks:
            yield from self._chunks
            return
        kept = self.weights * self.dimension <= _KEPT
        for k, first in enumerate(range(0, self.weights, _ROWS)):
            size = min(_ROWS, self.weights - first), self.dimension
            rows = torch.randn(size, generator=generator((self.seed, 2, k)), dtype=torch.float32, device="cpu").to(
                self.like
            )
            if kept:
                self._chunks.append(rows)
            yield rows
