"""Laws after a jump: squares add, d² = c² + growth², as for steps that are independent of where the jump went.

Of the growth's square, the share f at the middle u_m of the fit range is a parameter of each:

    z = log d = a + ½ log(1 + f (e^(2 (h(u) − h(u_m))) − 1)),   c² = e^(2a) (1 − f),

h being the log of the growth. For a power of t, with x = u − u_m, κ = 2ν and h_κ(x) = (e^(κx) − 1)/κ, h_0 = x,

    z = a + ½ log(1 + 2q h_κ(x)),   c² = e^(2a) (1 − 2q/κ),   K = e^(2a) (2q/κ) e^(−κ u_m),

where q is the local exponent. The formula holds through κ = 0 (d² linear in log t, which is α = 4 of the family), and
κ = 2q is the power law. c² may come out negative: then there is no jump. It is degenerate with t₀ at α = 4.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from analysis.fitting.laws import Array, Branch

_SHARES = np.append(np.geomspace(0.003, 0.95, 13), 1.1)
_SHARE_LIMITS = (1e-6, 3.0)
_COARSE = 14  # values of each of the growth's own parameters to search from


def half_log_power(x: Array, q: Array, kappa: Array) -> Array:
    """Compute ½ log(1 + 2q h_κ(x)), log d of jump + power less a.

    Args:
        x: (bin,) log t about the middle of the fit range.
        q: local exponents there, (..., 1).
        kappa: κ = 2ν, of the same shape.

    Returns:
        (..., bin); NaN where no d² > 0 belongs to the parameters.
    """
    kappa = np.where(np.abs(kappa) < 1e-100, 1e-100, kappa)
    return _half_log(2 * q * np.expm1(kappa * x) / kappa)


def _half_log(above_one: Array) -> Array:
    """Return ½ log(1 + y); NaN where y ≤ −1."""
    return 0.5 * np.log1p(np.where(above_one > -1, above_one, np.nan))


def jump_power(u: Array) -> Branch:
    """Return jump + power on a fit range, θ = (q, κ).

    Args:
        u: (bin,) log t.

    Returns:
        The branch; its parameters are ν, c² and K.
    """
    middle = float(u[0] + u[-1]) / 2

    def report(theta: Array, a: float) -> dict[str, float]:
        q, kappa = map(float, theta)
        share = 2 * q / kappa if kappa else math.inf
        scale = math.exp(2 * a)
        return {"nu": kappa / 2, "c2": scale * (1 - share), "K": scale * share * math.exp(-kappa * middle)}

    return Branch(
        lambda u, theta: half_log_power(u - middle, theta[..., :1], theta[..., 1:]),
        (np.geomspace(0.01, 1.5, 40), np.linspace(-1, 3, 81)),
        report,
        ((1e-5, 3.0), (-3.0, 6.0)),
    )


def jumped(base: Callable[[Array], Branch], amplitude: bool = False) -> Callable[[Array], Branch]:
    """Put a law after a jump: θ = (f, *θ of the growth).

    Args:
        base: makes the growth's branch for a fit range.
        amplitude: whether its shape is the formula with amplitude 1, so that K is the growth's squared amplitude.

    Returns:
        What makes the branch for a fit range; its parameters are the growth's, c², and K if that is known.
    """
    return partial(_after_jump, base, amplitude)


def _after_jump(base: Callable[[Array], Branch], amplitude: bool, u: Array) -> Branch:
    """θ = (f, *θ of the growth)."""
    growth, middle = base(u), np.array([u[0] + u[-1]]) / 2

    def shape(u: Array, theta: Array) -> Array:
        rest = theta[..., 1:]
        return _half_log(theta[..., :1] * np.expm1(2 * (growth.shape(u, rest) - growth.shape(middle, rest))))

    def report(theta: Array, a: float) -> dict[str, float]:
        share, rest = float(theta[0]), theta[1:]
        found = {name: value for name, value in growth.report(rest, a).items() if name != "D"}  # K is its square
        found["c2"] = math.exp(2 * a) * (1 - share)
        if amplitude:
            found["K"] = share * math.exp(2 * (a - float(growth.shape(middle, rest)[0])))
        return found

    limits = (_SHARE_LIMITS, *map(tuple, growth.bounds.tolist()))
    return Branch(shape, (_SHARES, *map(_coarse, growth.axes)), report, limits)


def _coarse(axis: Array) -> Array:
    return axis[np.unique(np.linspace(0, len(axis) - 1, _COARSE).astype(int))]
