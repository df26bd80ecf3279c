"""The family's designs for many bends under many noise models, from few bends.

The posterior of one run needs products of whitened designs g_s for a hundred bends s under a hundred noise models.
Since g_s is smooth in s, a dozen bends hold them all to rounding, and only those are whitened.
"""

import math

import numpy as np

from analysis.fitting.laws import Array


def interpolation(s: Array, x: Array, digits: int) -> tuple[Array, Array | None]:
    """Interpolate g_s(x) in s from few values, to rounding: a polynomial in w = 2 artanh(s x_last).

    Of w, g is an analytic function in a strip of half-width π about the real axis: its singularities, where
    1 + s x = 0 for an x of the range, lie on the lines Im w = ±π. So k Chebyshev nodes on an interval of half-width h
    err by about ρ^−k, ρ = (π + √(π² + h²))/h (Trefethen, Approximation Theory and Approximation Practice, theorem
    8.2).

    Args:
        s: (s,) bends, increasing.
        x: (bin,) log t about the middle of the fit range.
        digits: of g.

    Returns:
        The nodes (node,), and the matrix that turns g there into g at s, (s, node). Where that would save nothing,
        the bends themselves, and None.
    """
    ends = 2 * np.arctanh(s[[0, -1]] * x[-1])
    middle, half = ends.mean(), (ends[1] - ends[0]) / 2
    if half <= 0:
        return s, None
    count = 3 + math.ceil(digits * math.log(10) / math.log((math.pi + math.hypot(math.pi, half)) / half))
    if count > min(len(s) / 2, len(x)):
        return s, None
    angle = (np.arange(count) + 0.5) * np.pi / count
    nodes = np.cos(angle)
    apart = (2 * np.arctanh(s * x[-1]) - middle)[:, None] / half - nodes
    apart[apart == 0] = 1e-300  # at a node the value is the node's
    share = np.sin(angle) * (-1.0) ** np.arange(count) / apart
    return np.tanh((middle + half * nodes) / 2) / x[-1], share / share.sum(axis=1, keepdims=True)


def products(white: Array, near: int, spread: Array | None) -> tuple[Array, Array, Array]:
    """Multiply h = g_s − g_near, whitened, with a curve, with g_near and with itself.

    Differences from g_near keep small what is small: products of g_s itself would cancel.

    Args:
        white: (cell, bin, 1 + node) the curve whitened, then g at the nodes.
        near: the number of the node that bends are counted from.
        spread: (s, node) what turns g at the nodes into g at s; None where the nodes are the bends.

    Returns:
        Three times (cell, s).
    """
    fixed = white[:, :, [0, 1 + near]].transpose(0, 2, 1)
    if spread is None:
        h = white[:, :, 1:] - white[:, :, 1 + near, None]
        linear, apart = fixed @ h, np.einsum("cns,cns->cs", h, h)
        return linear[:, 0], linear[:, 1], apart
    nodes, shares = white[:, :, 1:], spread.copy()
    shares[:, near] -= 1.0
    linear = (fixed @ nodes) @ shares.T
    i, j = np.triu_indices(shares.shape[1])
    squares = (nodes.transpose(0, 2, 1) @ nodes)[:, i, j] * np.where(i == j, 1.0, 2.0)
    return linear[:, 0], linear[:, 1], squares @ (shares[:, i] * shares[:, j]).T
