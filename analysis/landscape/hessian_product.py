"""Hessian-vector products on arrays, as numpy's and scipy's iterations take them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from analysis.errors import LandscapeError
from analysis.landscape.directions import generator
from analysis.landscape.objective import Objective

Progress = Callable[[int, int], None]
"""Called as progress(done, total) with numbers of Hessian-vector products."""


class CountedProduct:
    """v → H v at an objective's weights, counted.

    Args:
        objective: the loss.
        progress: called as progress(count, total) after each product.
        total: how many there will be, as far as that is known.

    Attributes:
        count: products made.
        dtype: the arrays' type.

    Raises:
        LandscapeError: for weights in half precision.
    """

    def __init__(self, objective: Objective, progress: Progress | None, total: int):
        if objective.precision not in ("float32", "float64"):
            raise LandscapeError(
                f"the weights are {objective.precision}; expected float32 or float64, which Hessian-vector products"
                " are precise enough in: model.float()"
            )
        self._hessian, self._like = objective.hessian(), objective.weights
        self._progress, self._total, self.count = progress, total, 0
        self.dtype = torch.empty(0, dtype=objective.weights.dtype, device="cpu").numpy().dtype

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """Return H v, (weight,).

        Args:
            v: (weight,).
        """
        product = self._hessian(torch.from_numpy(np.ascontiguousarray(v)).to(self._like))
        self.count += 1
        if self._progress is not None:
            self._progress(self.count, max(self.count, self._total))
        return product.cpu().numpy()


def signs(objective: Objective, seed: Sequence[int]) -> np.ndarray:
    """Draw a vector of random signs.

    Args:
        objective: whose weights it is for.
        seed: of the random numbers.

    Returns:
        (weight,) numbers 1 and -1.
    """
    w = objective.weights
    drawn = 2 * torch.randint(2, w.shape, generator=generator(seed), device="cpu") - 1
    return drawn.to(w.dtype).numpy()
