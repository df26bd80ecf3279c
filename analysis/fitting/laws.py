"""The nested family of diffusion laws in log-log form.

With z = log d, u = log t and x = u − u_m (u_m: the middle of the fit range),

    z = a + q · g_s(x),   g_s(x) = log(1 + s x) / s,   g_0(x) = x,

q is the local exponent d log d / d log t at u_m, and

    α = 2 s / q,   log t₀ = u_m − 1/s,   d = A |log(t / t₀)|^(2/α).

α = 0 is the power law d ~ t^q, α = 1 Sinai's walk, α = 2 a pure logarithm; α < 0 grows faster than any
power law (t₀ then lies beyond the fit range). The Box-Cox exponent that makes d linear in log t is α/2.

`LAWS` holds the family, its special cases and its rivals, each as log d = a + shape(u; θ).
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
    s = _off_zero(s)
    y = np.atleast_1d(s * np.asarray(x, float))
    slope = (y / (1 + y) - np.log1p(y)) / s**2
    near = np.abs(y) < _SERIES
    small, square = y[near], np.broadcast_to(np.square(x), y.shape)[near]
    slope[near] = -square * (1 / 2 - small * (2 / 3 - small * (3 / 4 - small * (4 / 5 - small * 5 / 6))))
    return slope


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


@dataclass(frozen=True)
class Branch:
    """A law on one fit range: log d − a as a function of log t and of the law's parameters θ.

    Attributes:
        shape: log d − a, (..., bin), from u (bin,) and θ (..., parameter).
        axes: for each parameter the values to search from; the first and the last are its bounds.
        report: the parameters by the names that the formula gives them, from θ.
    """

    shape: Callable[[Array, Array], Array]
    axes: tuple[Array, ...]
    report: Callable[[Array], dict[str, float]]


@dataclass(frozen=True)
class Law:
    """A law by name and formula.

    Attributes:
        name: such as "power law".
        formula: of d up to its amplitude, such as "t^q".
        on: makes the law's branch for a fit range, from its log t (bin,).
        contains: names of the laws that are special cases of it.
        alpha: the α that it fixes, if it is one of the family.
        after: the log t that the fit range must lie beyond.
    """

    name: str
    formula: str
    on: Callable[[Array], Branch]
    contains: tuple[str, ...] = ()
    alpha: float | None = None
    after: float = -np.inf


_STEEPEST = 3.0  # d ~ t^3 is faster than any diffusion: q is searched below it


def _middle(u: Array) -> float:
    return float(u[0] + u[-1]) / 2


def _family(u: Array) -> Branch:
    """θ = (q, s)."""
    middle = _middle(u)
    low, high = s_range(u - middle, 0.95)

    def report(theta: Array) -> dict[str, float]:
        q, s = map(float, theta)
        return {"alpha": 2 * s / q, "log_t0": log_t0(s, middle)}

    return Branch(
        lambda u, theta: theta[..., :1] * growth(theta[..., 1:], u - middle),
        (np.geomspace(1e-3, _STEEPEST, 60), 0.999 * np.linspace(low, high, 60)),
        report,
    )


def _fixed_alpha(alpha: float) -> Callable[[Array], Branch]:
    """θ = q, with s = α q / 2 inside the interval that the fit range allows."""

    def on(u: Array) -> Branch:
        middle = _middle(u)
        steepest = min(_STEEPEST, 0.999 * 2 * s_range(u - middle)[1] / alpha) if alpha else _STEEPEST

        def report(theta: Array) -> dict[str, float]:
            q = float(theta[0])
            return {"log_t0": log_t0(alpha * q / 2, middle)} if alpha else {"q": q}

        return Branch(
            lambda u, theta: theta * growth(alpha * theta / 2, u - middle),
            (np.geomspace(1e-3, steepest, 200),),
            report,
        )

    return on


def _normal(u: Array) -> Branch:
    """No parameter but the amplitude."""
    return Branch(lambda u, theta: np.broadcast_to(u / 2, (*theta.shape[:-1], len(u))), (), lambda theta: {})


def _saturated(u: Array, log_tau: Array, beta: Array | float) -> Array:
    return 0.5 * np.log(-np.expm1(-np.exp(beta * (u - log_tau))))


def _saturation(u: Array) -> Branch:
    """θ = log τ; six e-folds beyond the range the law is √t to a part in a thousand."""
    axis = np.linspace(u[0] - 1, u[-1] + 6, 200)
    return Branch(lambda u, theta: _saturated(u, theta, 1.0), (axis,), lambda theta: {"tau": float(np.exp(theta[0]))})


def _stretched_saturation(u: Array) -> Branch:
    """θ = (log τ, β); τ far beyond the range is the power law with q = β/2."""
    axis = np.concatenate([np.linspace(u[0] - 1, u[-1] + 3, 50), np.linspace(u[-1] + 4, u[-1] + 40, 20)])
    return Branch(
        lambda u, theta: _saturated(u, theta[..., :1], theta[..., 1:]),
        (axis, np.geomspace(0.02, 3.0, 40)),
        lambda theta: {"tau": float(np.exp(theta[0])), "beta": float(theta[1])},
    )


def _power_times_log(u: Array) -> Branch:
    """θ = ν. Needs t > 1."""
    return Branch(
        lambda u, theta: theta * u + np.log(u),
        (np.linspace(-1.0, _STEEPEST, 200),),
        lambda t: {"nu": float(t[0])},
    )


LAWS = {
    law.name: law
    for law in (
        Law("power law", "t^q", _fixed_alpha(0.0), ("normal",), alpha=0.0),
        Law("pure log", "log(t/t0)", _fixed_alpha(2.0), alpha=2.0),
        Law("sinai", "log(t/t0)^2", _fixed_alpha(1.0), alpha=1.0),
        Law("ultraslow", "log(t/t0)^(2/alpha)", _family, ("power law", "pure log", "sinai", "normal")),
        Law("normal", "t^(1/2)", _normal),
        Law("saturation", "(1 - exp(-t/tau))^(1/2)", _saturation, ("normal",)),
        Law(
            "stretched saturation",
            "(1 - exp(-(t/tau)^beta))^(1/2)",
            _stretched_saturation,
            ("saturation", "power law", "normal"),
        ),
        Law("power times log", "t^nu log t", _power_times_log, after=0.0),
    )
}
