"""Ground truth: distance curves of a known law, with the noise that real runs show; and a potential of known α."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from analysis.curve import Curve
from analysis.errors import AnalysisError, LawError
from analysis.fitting.laws import Array
from analysis.fitting.noise_models import KERNELS

Formula: TypeAlias = Callable[[Array, Mapping[str, float]], Array]

_GROWTH: Mapping[str, Formula] = {
    "ultraslow": lambda t, p: np.abs(np.log(t / p["t0"])) ** (2 / p["alpha"]),
    "power law": lambda t, p: t ** p["q"],
    "pure log": lambda t, p: np.log(t / p["t0"]),
    "sinai": lambda t, p: np.log(t / p["t0"]) ** 2,
    "normal": lambda t, p: np.sqrt(t),
    "saturation": lambda t, p: np.sqrt(-np.expm1(-t / p["tau"])),
    "stretched saturation": lambda t, p: np.sqrt(-np.expm1(-((t / p["tau"]) ** p["beta"]))),
    "power times log": lambda t, p: t ** p["nu"] * np.log(t),
}
_AFTER_JUMP: Mapping[str, Formula] = {
    "power": lambda t, p: t ** p["nu"],
    "log": _GROWTH["ultraslow"],
    **{name: _GROWTH[name] for name in ("normal", "pure log", "sinai", "saturation", "stretched saturation")},
}


def _jumped(growth: Formula) -> Formula:
    return lambda t, p: np.sqrt(p["c2"] + p["K"] * growth(t, p) ** 2)


FORMULAS: Mapping[str, Formula] = {
    **_GROWTH,
    **{f"jump + {name}": _jumped(growth) for name, growth in _AFTER_JUMP.items()},
}
"""Each law's distance at unit amplitude, from t and the law's parameters."""


def noise(
    rng: np.random.Generator, u: ArrayLike, n: int, *, kind: str = "OU", std: float = 0.008, length: float = 1.0
) -> Array:
    """Draw Gaussian paths in log time.

    Args:
        rng: the source of random numbers.
        u: (point,) log t.
        n: number of paths.
        kind: "OU" or "Matérn" (stationary), "Brownian" (from zero at u[0]), or "independent".
        std: standard deviation of a path, in log d; of a Brownian one per √e-fold of t.
        length: correlation length of a stationary path, in e-folds of t.

    Returns:
        (n, point) deviations of log d.

    Raises:
        AnalysisError: for an unknown kind.
    """
    u = np.asarray(u, float)
    if kind == "Brownian":
        steps = rng.normal(size=(n, len(u) - 1)) * np.sqrt(np.diff(u))
        return std * np.concatenate([np.zeros((n, 1)), np.cumsum(steps, axis=1)], axis=1)
    if kind == "independent":
        return std * rng.normal(size=(n, len(u)))
    if kind not in KERNELS:
        raise AnalysisError(f"kind = {kind!r}: expected one of {', '.join((*KERNELS, 'Brownian'))}")
    covariance = KERNELS[kind](np.abs(u[:, None] - u), length) + 1e-10 * np.eye(len(u))
    return std * rng.normal(size=(n, len(u))) @ np.linalg.cholesky(covariance).T


def distance(law: str, t: ArrayLike, **parameters: float) -> Array:
    """Compute a law's distances.

    Args:
        law: "ultraslow" (alpha, t0), "power law" (q), "pure log" (t0), "sinai" (t0), "normal", "saturation" (tau),
            "stretched saturation" (tau, beta) or "power times log" (nu); after a jump, d² = c² + K growth², "jump + "
            "power" (nu), "normal", "log" (alpha, t0), "pure log", "sinai", "saturation" or "stretched saturation".
        t: updates.
        **parameters: those in brackets (t0: 1 if it is not given), c2 and K after a jump (K: 1), and amplitude (1).

    Returns:
        d, of the shape of t.

    Raises:
        LawError: for an unknown law.
    """
    if law not in FORMULAS:
        raise LawError(f"law = {law!r}: expected one of {', '.join(FORMULAS)}")
    p: Mapping[str, float] = {"amplitude": 1.0, "t0": 1.0, "K": 1.0} | parameters
    return p["amplitude"] * FORMULAS[law](np.asarray(t, float), p)


def synthetic(
    law: str,
    *,
    t: ArrayLike | None = None,
    seeds: int = 1,
    kind: str = "OU",
    std: float = 0.008,
    length: float = 1.0,
    step_std: float = 0.0005,
    seed: int = 0,
    **parameters: float,
) -> list[Curve]:
    """Make curves of a law times e^noise: noise in log time (`noise`), and step noise without memory.

    The defaults are what real runs show: about 1 % between seeds, 0.05 % from step to step.

    Args:
        law: its name, as for `distance`.
        t: (point,) updates; by default every one of 1..10000.
        seeds: number of curves.
        kind: of the noise in log time, as for `noise`.
        std: its standard deviation, in log d.
        length: its correlation length, in e-folds of t.
        step_std: standard deviation of the step noise, in log d.
        seed: of the random numbers.
        **parameters: of the law, as for `distance`.

    Returns:
        One curve per seed.

    Raises:
        LawError: for an unknown law.
        AnalysisError: for an unknown kind of noise.
    """
    t = np.arange(1.0, 10001.0) if t is None else np.asarray(t, float)
    rng = np.random.default_rng(seed)
    u = np.log(t)
    knots = np.linspace(u[0], u[-1], min(len(t), 400))
    slow = noise(rng, knots, seeds, kind=kind, std=std, length=length)
    fast = step_std * rng.normal(size=(seeds, len(t)))
    clean = distance(law, t, **parameters)
    return [
        Curve(t, clean * np.exp(np.interp(u, knots, row) + quick), f"seed {i}")
        for i, (row, quick) in enumerate(zip(slow, fast, strict=True))
    ]


def fractional_potential(
    rng: np.random.Generator, alpha: float, z: ArrayLike, *, origins: int = 10, directions: int = 8
) -> Array:
    """Draw differences V(x) − V(0) of a Gaussian field whose α is exact, E[(V(x) − V(y))²] = |x − y|^α.

    The points x = ± z v lie in directions v at right angles, as random ones in many dimensions do. The field has the
    covariance ½ (|x|^α + |y|^α − |x − y|^α), of which Cholesky's factor makes the draws.

    Args:
        rng: the source of random numbers.
        alpha: the exponent, above 0 and below 2.
        z: (distance,) the distances from the origin.
        origins: number of fields.
        directions: number of directions in each; both senses are drawn.

    Returns:
        (origin, direction, sign, distance), as `analysis.potential` takes them.

    Raises:
        AnalysisError: for an α that no such field has.
    """
    if not 0 < alpha < 2:
        raise AnalysisError(f"alpha = {alpha!r}: expected a number between 0 and 2")
    z = np.asarray(z, float)
    signed = np.concatenate([z, -z])
    place, direction = np.tile(signed, directions), np.repeat(np.arange(directions), len(signed))
    same = direction[:, None] == direction
    apart = np.where(same, np.abs(place[:, None] - place), np.hypot(place[:, None], place))
    power = np.abs(place) ** alpha
    covariance = (power[:, None] + power - apart**alpha) / 2
    draws = rng.normal(size=(origins, len(place))) @ np.linalg.cholesky(covariance).T
    return np.asarray(draws.reshape(origins, directions, 2, len(z)))
