"""The family's designs for many bends under many noise models, from few functions.

The posterior of one run needs products of whitened designs g_s for a hundred bends s under a hundred noise models. Of
w = 2 artanh(s x_last), g is an analytic function in a strip of half-width π about the real axis: its singularities,
where 1 + s x = 0 for an x of the range, lie on the lines Im w = ±π. So a few bends evenly spaced in w hold all others
to rounding, and a dozen or two singular vectors hold those. They alone are whitened, once for a whole interval.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.laws import Array, growth

_SAMPLES = 48  # bends; 9 is the widest interval of w, so that they lie .2 apart
_ROUNDING, _ROUGH = 1e-15, 1e-8  # of g, and of its differences
_NARROW = 1e-3  # the part of its interval in w on which differences of g are still exact enough


@dataclass(frozen=True, eq=False)
class Bends:
    """Products of one curve and of g_s for all s in an interval, under each noise model.

    Squares and products are counted from one bend's g_near that is close to the curve, lest large ones cancel.

    Attributes:
        x: (bin,) log t about the middle of the fit range.
        interval: the lowest and the highest bend.
        near: (bin,) g_near.
        slope: the curve's least squares on it.
        functions: (function, bin) whose span holds each g_s − g_near, the largest part first.
        rough: how many of them hold it to eight digits.
        gram: (cell, 2 + function, 2 + function) products of the curve's residual, of g_near and of the functions,
            whitened.
    """

    x: Array
    interval: tuple[float, float]
    near: Array
    slope: float
    functions: Array
    rough: int
    gram: Array

    def serve(self, low: float, high: float) -> bool:
        """Return whether differences of g_s are exact enough on a part of the interval.

        Args:
            low: its lowest bend.
            high: its highest.
        """
        part, whole = (np.diff(np.arctanh(np.array(ends) * self.x[-1])) for ends in ((low, high), self.interval))
        return bool(part > _NARROW * whole)

    def projected(self, s: Array, cells: NDArray[np.intp], rough: bool = False) -> tuple[Array, Array, Array]:
        """Project the curve on g_s.

        Args:
            s: (s,) bends.
            cells: the noise models, by their indices.
            rough: take eight digits of g_s for enough.

        Returns:
            q̂, the sum of squared residuals and g'Pg, each (cell, s).
        """
        functions = self.functions[: self.rough] if rough else self.functions
        shares = (growth(s[:, None], self.x) - self.near) @ functions.T
        gram = self.gram[cells, : 2 + len(functions), : 2 + len(functions)]
        to_left, to_near = (gram[:, :2, 2:] @ shares.T).transpose(1, 0, 2)
        i, j, times = _pairs(len(functions))
        apart = gram[:, 2 + i, 2 + j] * times @ (shares[:, i] * shares[:, j]).T
        square = gram[:, 1, 1, None] + 2 * to_near + apart
        mixed = gram[:, 0, 1, None] + to_left - self.slope * (to_near + apart)
        misfit = gram[:, 0, 0, None] - 2 * self.slope * to_left + self.slope**2 * apart
        off = mixed / square
        return self.slope + off, np.maximum(misfit - off * mixed, 0), square


@cache
def _pairs(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Return the pairs of functions, and how often each stands in a square."""
    i, j = np.triu_indices(count)
    return i, j, np.where(i == j, 1.0, 2.0)


def bends(z: Array, x: Array, low: float, high: float, products: Callable[[Array], Array]) -> Bends:
    """Compute the products for an interval of bends.

    Args:
        z: (bin,) one curve's log d.
        x: (bin,) log t about the middle of the fit range.
        low: the lowest bend.
        high: the highest.
        products: multiplies (curve, bin) values with each other under each noise model: (cell, curve, curve).

    Returns:
        The products.
    """
    first, last = np.arctanh(np.array([low, high]) * x[-1])
    g = growth(np.tanh(np.linspace(first, last, _SAMPLES))[:, None] / x[-1], x)
    plain = g - g.mean(axis=1, keepdims=True)
    score, square = plain @ z, np.sum(plain**2, axis=1)
    closest = int(np.argmax(score**2 / square))
    near, slope = g[closest], float(score[closest] / square[closest])
    _, sizes, functions = np.linalg.svd(g - near, full_matrices=False)
    functions = functions[sizes > _ROUNDING * np.linalg.norm(g)]
    rough = int(np.count_nonzero(sizes > _ROUGH * sizes[0]))
    gram = products(np.vstack([z - slope * near, near, functions]))
    return Bends(x, (low, high), near, slope, functions, rough, gram)
