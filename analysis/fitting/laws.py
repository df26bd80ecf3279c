"""The nested family of diffusion laws in log-log form.

With z = log d, u = log t and x = u − u_m (u_m: the middle of the fit range),

    z = a + q · g_s(x),   g_s(x) = log(1 + s x) / s,   g_0(x) = x,

q is the local exponent d log d / d log t at u_m, and

    α = 2 s / q,   log t₀ = u_m − 1/s,   d = A |log(t / t₀)|^(2/α).

α = 0 is the power law d ~ t^q, α = 1 Sinai's walk, α = 2 a pure logarithm; α < 0 grows faster than any
power law (t₀ then lies beyond the fit range). The Box-Cox exponent that makes d linear in log t is α/2.

`rival_laws.LAWS` holds the family, its special cases and its rivals, each as log d = a + shape(u; θ).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Below this |s x| the closed form of ∂g/∂s loses half its digits and five terms of its series lose none.
_SERIES = 1e-3
_TINY = 1e-100  # whose square is still a normal number


def growth(s: ArrayLike, x: ArrayLike) -> Array:
    """Compute g_s(x) = log(1 + s x) / s, and x at s = 0.

    Args:
        s: the bend; broadcasts against x.
        x: log t about the middle of the fit range, where 1 + s x > 0.

    Returns:
        g, of the broadcast shape.
    """
    s = _off_zero(s)
    return np.log1p(s * np.asarray(x, float)) / s


def growth_slope(s: ArrayLike, x: ArrayLike) -> Array:
    """Compute ∂g_s(x)/∂s = (x / (1 + s x) − g_s(x)) / s, and −x²/2 at s = 0.

    Args:
        s: the bend; broadcasts against x.
        x: log t about the middle of the fit range, where 1 + s x > 0.

    Returns:
        The slope, of the broadcast shape.
    """
    return growth_and_slope(s, x)[1]


def growth_and_slope(s: ArrayLike, x: ArrayLike) -> Array:
    """Compute g_s(x) and ∂g_s(x)/∂s, with one logarithm for both.

    Args:
        s: the bend; broadcasts against x.
        x: log t about the middle of the fit range, where 1 + s x > 0.

    Returns:
        (2, ...) of the broadcast shape.
    """
    s = _off_zero(s)
    y = np.atleast_1d(s * np.asarray(x, float))
    log = np.log1p(y)
    found = np.stack([log / s, (y / (1 + y) - log) / s**2])
    near = np.abs(y) < _SERIES
    if near.any():
        small, square = y[near], np.broadcast_to(np.square(x), y.shape)[near]
        found[1, near] = -square * (1 / 2 - small * (2 / 3 - small * (3 / 4 - small * (4 / 5 - small * 5 / 6))))
    return found


def _off_zero(s: ArrayLike) -> Array:
    """Move s off zero, by so little that g_s(x) is x to the last digits."""
    s = np.asarray(s, float)
    return np.where(np.abs(s) < _TINY, _TINY, s)


def s_range(x: ArrayLike, faster: float = 0.6) -> tuple[float, float]:
    """Compute the open interval of s that a fit range allows: −faster / x_last < s < 1 / |x_first|.

    The upper end keeps t₀ below the range; `faster` < 1 keeps a blow-up beyond it.

    Args:
        x: (bin,) log t about the middle of the range, increasing.
        faster: the share of the way to a blow-up at the range's end.

    Returns:
        The interval's ends.
    """
    x = np.asarray(x, float)
    return -faster / float(x[-1]), 1 / -float(x[0])


def log_t0(s: float, middle: float) -> float:
    """Compute log t₀ = u_m − 1/s.

    Args:
        s: the bend.
        middle: u_m, log t at the middle of the fit range.

    Returns:
        log t₀ (t₀ in updates); −∞ for the power law, s = 0.
    """
    return middle - 1 / s if abs(s) > 1e-200 else -np.inf


def log_amplitude(a: float, q: float, s: float, middle: float) -> float:
    """Compute log A of d = A |log(t/t₀)|^(q/s), from 1 + s x = s log(t/t₀); of d = A t^q at s = 0.

    Args:
        a: log d at the middle of the fit range.
        q: the local exponent there.
        s: the bend there.
        middle: u_m, log t there.

    Returns:
        log A.
    """
    return a + q / s * float(np.log(abs(s))) if abs(s) > 1e-200 else a - q * middle


PARAMETERS = {
    "alpha": "roughness of the landscape, E[(L(w1) - L(w2))^2] ~ |w1 - w2|^alpha, if that is what slows the walk",
    "log_t0": "log of the time that t is measured in, in updates",
    "q": "exponent of the growth",
    "nu": "exponent of the growth: 1/2 for steps of one length in random directions, 1/4 for scale-invariant weights "
    "whose norm grows without weight decay",
    "tau": "updates until the distance saturates: under weight decay, the memory (1 - mu)/(lr wd)",
    "D": "distance at which it saturates: sqrt(2 L) for the directions of L parameters, once they are forgotten",
    "beta": "1 for one relaxation time, the smaller the wider they spread",
    "c2": "square of the jump in the first updates; below 0 there is no jump",
    "K": "square of the distance that growth alone makes in one update",
}
"""What the parameters that laws report mean, by name."""


@dataclass(frozen=True)
class Branch:
    """A law on one fit range: log d − a as a function of log t and of the law's parameters θ.

    Attributes:
        shape: log d − a, (..., bin), from u (bin,) and θ (..., parameter).
        axes: for each parameter the values to search from.
        report: the parameters by the names that the formula gives them, from θ and a.
        limits: for each parameter its bounds, if they are not the first and the last value to search from.
    """

    shape: Callable[[Array, Array], Array]
    axes: tuple[Array, ...]
    report: Callable[[Array, float], dict[str, float]]
    limits: tuple[tuple[float, float], ...] | None = None

    @property
    def bounds(self) -> Array:
        """(parameter, 2) the lowest and the highest value of each."""
        limits = self.limits if self.limits is not None else [(axis[0], axis[-1]) for axis in self.axes]
        return np.reshape(limits, (len(self.axes), 2)).astype(float)


@dataclass(frozen=True)
class Law:
    """A law by name and formula.

    Attributes:
        name: such as "power law".
        formula: of d up to its amplitude, such as "t^q".
        motion: what moves like that, in a phrase.
        on: makes the law's branch for a fit range, from its log t (bin,).
        contains: names of the laws that are special cases of it.
        alpha: the α that it fixes, if it is one of the family.
        after: the log t that the fit range must lie beyond.
    """

    name: str
    formula: str
    motion: str
    on: Callable[[Array], Branch]
    contains: tuple[str, ...] = ()
    alpha: float | None = None
    after: float = -np.inf
