"""The laws that are compared, each as log d = a + shape(u; θ), and each after an initial jump too.

The family of `laws`, its special cases and its rivals stand first, and then those after a jump, which have the
initial transient as a part of them: d² = c² + growth² (`jump_laws`).
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from analysis.fitting.jump_laws import jump_power, jumped
from analysis.fitting.laws import Array, Branch, Law, growth, log_t0, s_range

_STEEPEST = 3.0  # d ~ t^3 is faster than any diffusion: q is searched below it


def _middle(u: Array) -> float:
    return float(u[0] + u[-1]) / 2


def _family(u: Array) -> Branch:
    """θ = (q, s)."""
    middle = _middle(u)
    low, high = s_range(u - middle, 0.95)

    def report(theta: Array, a: float) -> dict[str, float]:
        q, s = map(float, theta)
        return {"alpha": 2 * s / q, "log_t0": log_t0(s, middle)}

    return Branch(
        lambda u, theta: theta[..., :1] * growth(theta[..., 1:], u - middle),
        (np.geomspace(1e-3, _STEEPEST, 40), 0.999 * np.linspace(low, high, 41)),
        report,
    )


def _fixed_alpha(alpha: float, u: Array) -> Branch:
    """θ = q, with s = α q / 2 inside the interval that the fit range allows."""
    middle = _middle(u)
    steepest = min(_STEEPEST, 0.999 * 2 * s_range(u - middle)[1] / alpha) if alpha else _STEEPEST

    def report(theta: Array, a: float) -> dict[str, float]:
        q = float(theta[0])
        return {"log_t0": log_t0(alpha * q / 2, middle)} if alpha else {"q": q}

    return Branch(
        lambda u, theta: theta * growth(alpha * theta / 2, u - middle),
        (np.geomspace(1e-3, steepest, 200),),
        report,
    )


_POWER, _SINAI, _LOG = (partial(_fixed_alpha, alpha) for alpha in (0.0, 1.0, 2.0))


def _normal(u: Array) -> Branch:
    """No parameter but the amplitude."""
    return Branch(lambda u, theta: np.broadcast_to(u / 2, (*theta.shape[:-1], len(u))), (), lambda theta, a: {})


def _saturated(u: Array, log_tau: Array, beta: Array | float) -> Array:
    return 0.5 * np.log(-np.expm1(-np.exp(beta * (u - log_tau))))


def _saturation(u: Array) -> Branch:
    """θ = log τ; six e-folds beyond the range the law is √t to a part in a thousand."""
    axis = np.linspace(u[0] - 1, u[-1] + 6, 200)
    return Branch(
        lambda u, theta: _saturated(u, theta, 1.0),
        (axis,),
        lambda theta, a: {"tau": float(np.exp(theta[0])), "D": float(np.exp(a))},
    )


def _stretched_saturation(u: Array) -> Branch:
    """θ = (log τ, β); τ far beyond the range is the power law with q = β/2."""
    axis = np.concatenate([np.linspace(u[0] - 1, u[-1] + 3, 50), np.linspace(u[-1] + 4, u[-1] + 40, 20)])
    return Branch(
        lambda u, theta: _saturated(u, theta[..., :1], theta[..., 1:]),
        (axis, np.geomspace(0.02, 3.0, 40)),
        lambda theta, a: {"tau": float(np.exp(theta[0])), "beta": float(theta[1]), "D": float(np.exp(a))},
    )


def _power_times_log(u: Array) -> Branch:
    """θ = ν. Needs t > 1."""
    return Branch(
        lambda u, theta: theta * u + np.log(u),
        (np.linspace(-1.0, _STEEPEST, 200),),
        lambda theta, a: {"nu": float(theta[0])},
    )


_STRETCHED = ("saturation", "power law", "normal")
_JUMP_SATURATION = ("saturation", "normal", "jump + normal")
_JUMP_LOG = (
    *("power law", "pure log", "sinai", "ultraslow", "normal"),
    *("jump + power", "jump + normal", "jump + pure log", "jump + sinai"),
)

_BARRIERS = "a walk over barriers that grow as a power of the distance, each of which takes exponentially long"
_MOTIONS = {
    "power law": "steps that are correlated over all times, or traps of all depths",
    "pure log": f"{_BARRIERS}, the second",
    "sinai": f"{_BARRIERS}, the first: one dimension with random forces",
    "ultraslow": _BARRIERS,
    "normal": "a random walk",
    "saturation": "a random walk that one rate pulls back: a round basin, or weight decay",
    "stretched saturation": "a random walk that many rates pull back: a basin of unlike curvatures",
    "power times log": "a power law with a logarithm's correction, as at a threshold between two powers",
}
_AFTER = "after a jump at right angles to it, "


def _law(
    name: str, formula: str, on: Callable[[Array], Branch], contains: tuple[str, ...] = (), **known: float
) -> Law:
    base = name.removeprefix("jump + ")
    motion = _MOTIONS[{"power": "power law", "log": "ultraslow"}.get(base, base)]
    return Law(name, formula, motion if base == name else _AFTER + motion, on, contains, **known)


LAWS = {
    law.name: law
    for law in (
        _law("power law", "t^q", _POWER, ("normal",), alpha=0.0),
        _law("pure log", "log(t/t0)", _LOG, alpha=2.0),
        _law("sinai", "log(t/t0)^2", _SINAI, alpha=1.0),
        _law("ultraslow", "log(t/t0)^(2/alpha)", _family, ("power law", "pure log", "sinai", "normal")),
        _law("normal", "t^(1/2)", _normal),
        _law("saturation", "(1 - exp(-t/tau))^(1/2)", _saturation, ("normal",)),
        _law("stretched saturation", "(1 - exp(-(t/tau)^beta))^(1/2)", _stretched_saturation, _STRETCHED),
        _law("power times log", "t^nu log t", _power_times_log, after=0.0),
        _law("jump + power", "(c2 + K t^(2 nu))^(1/2)", jump_power, ("power law", "normal", "jump + normal")),
        _law("jump + normal", "(c2 + K t)^(1/2)", jumped(_normal, True), ("normal",)),
        _law("jump + pure log", "(c2 + K log(t/t0)^2)^(1/2)", jumped(_LOG), ("pure log",)),
        _law("jump + sinai", "(c2 + K log(t/t0)^4)^(1/2)", jumped(_SINAI), ("sinai",)),
        _law("jump + log", "(c2 + K log(t/t0)^(4/alpha))^(1/2)", jumped(_family), _JUMP_LOG),
        _law("jump + saturation", "(c2 + K (1 - exp(-t/tau)))^(1/2)", jumped(_saturation, True), _JUMP_SATURATION),
        _law(
            "jump + stretched saturation",
            "(c2 + K (1 - exp(-(t/tau)^beta)))^(1/2)",
            jumped(_stretched_saturation, True),
            ("jump + saturation", "jump + power", "power law", "stretched saturation", *_JUMP_SATURATION),
        ),
    )
}
