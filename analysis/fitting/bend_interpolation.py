"""The family's designs for many bends under many noise models, from few bends.

The posterior of one run needs products of whitened designs g_s for a hundred bends s under a hundred noise models.
Since g_s is smooth in s, a dozen functions hold them all to rounding, and only those are whitened.
"""

import math

import numpy as np

from analysis.fitting.laws import Array, growth

_MANY = 20  # nodes, from which on fewer singular vectors repay their decomposition


def interpolation(s: Array, x: Array, digits: int) -> tuple[Array, Array]:
    """Write g_s(x) for many s as a matrix times few functions of x.

    Of w = 2 artanh(s x_last), g is an analytic function in a strip of half-width π about the real axis: its
    singularities, where 1 + s x = 0 for an x of the range, lie on the lines Im w = ±π. So a polynomial through k
    Chebyshev nodes on an interval of half-width h errs by about ρ^−k, ρ = (π + √(π² + h²))/h (Trefethen,
    Approximation Theory and Approximation Practice, theorem 8.2). Where that takes many nodes, as for bends up to the
    ends of their range, the functions are singular vectors of all g_s instead.

    Args:
        s: (s,) bends, increasing.
        x: (bin,) log t about the middle of the fit range.
        digits: of g.

    Returns:
        The functions (node, bin), and the matrix (s, node).
    """
    ends = 2 * np.arctanh(s[[0, -1]] * x[-1])
    middle, half = ends.mean(), (ends[1] - ends[0]) / 2
    rate = math.log((math.pi + math.hypot(math.pi, half)) / half) if half > 0 else math.inf
    count = 3 + math.ceil(digits * math.log(10) / rate)
    if half <= 0 or count > min(_MANY, len(x)):
        left, sizes, functions = np.linalg.svd(growth(s[:, None], x), full_matrices=False)
        held = sizes > 10.0**-digits * sizes[0]
        return functions[held], left[:, held] * sizes[held]
    angle = (np.arange(count) + 0.5) * np.pi / count
    nodes = np.cos(angle)
    apart = (2 * np.arctanh(s * x[-1]) - middle)[:, None] / half - nodes
    apart[apart == 0] = 1e-300  # at a node the value is the node's
    share = np.sin(angle) * (-1.0) ** np.arange(count) / apart
    bends = np.tanh((middle + half * nodes) / 2) / x[-1]
    return growth(bends[:, None], x), share / share.sum(axis=1, keepdims=True)


def products(gram: Array, shares: Array) -> tuple[Array, Array, Array]:
    """Multiply h = g_s − g_near, whitened, with a curve, with g_near and with itself.

    Differences from g_near keep small what is small: products of g_s itself would cancel.

    Args:
        gram: (cell, 2 + node, 2 + node) products of the curve, g_near and the functions of `interpolation`, whitened.
        shares: (s, node) what turns those functions into h.

    Returns:
        Three times (cell, s).
    """
    linear = gram[:, :2, 2:] @ shares.T
    i, j = np.triu_indices(shares.shape[1])
    squares = gram[:, 2 + i, 2 + j] * np.where(i == j, 1.0, 2.0)
    return linear[:, 0], linear[:, 1], squares @ (shares[:, i] * shares[:, j]).T
