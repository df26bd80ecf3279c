"""α from the random potential: how the loss differs between weights at a distance z (Hoffer et al. 2017, section 3).

    S(z) = E[(L(w₀ + z v) − L(w₀))²] ~ z^α,    v uniform on the sphere

Origin i has S_i(z), the mean over its directions, and α_i, the least-squares slope of log S_i on log z. Then
α = mean α_i ± t_{n−1} sd(α_i)/√n over the n origins. The directions of an origin share its field, so that they do not
replace origins.

α = 2 is what Taylor's expansion gives for any smooth loss, S → |g|² z² / dim with the gradient g; it says nothing
about roughness. And the definition decides: about the mean over draws instead of about L(w₀), α is another one.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from analysis.errors import LandscapeError
from analysis.inputs import check_confidence_level, numbers
from analysis.potential_result import Array, Exponent, Potential, Probe

_CURVED = 0.05  # p-value
ONLY_GRADIENT = 0.5  # share of S that the gradient explains
_ROUNDING = 1e-6  # relative: a part of the differences, or a bend of log S, that rounding leaves
_RESOLVED = 1e-7  # √S that float32 weights serve to, losses being averaged in float64
_EVEN_FROM = 1e-3  # of ‖w‖: the distance from which the even part rises above the rounding of float32 weights


def potential(data: Probe | tuple[ArrayLike, ArrayLike], *, confidence_level: float = 0.95) -> Potential:
    """Estimate α of S(z) = E[(L(w₀ + z v) − L(w₀))²] ~ z^α, with its confidence interval over origins.

    Choose the distances beforehand, from those that the run covers. Origins are initial weights, or snapshots of
    different seeds at one t; snapshots of one run are not independent.

    Args:
        data: a probe; or (z, delta), the distances (distance,) and the differences of the loss (origin, direction,
            distance) or (origin, direction, sign, distance).
        confidence_level: of the intervals, between 0 and 1.

    Returns:
        The estimate; printed, it is a table.

    Raises:
        LandscapeError: for fewer than two origins or three distances, for distances that do not increase from above
            0, and for differences that are 0 or no numbers.

    Examples:
        >>> import numpy as np
        >>> from analysis.potential import potential
        >>> z = np.geomspace(0.1, 10, 9)
        >>> draws = np.random.default_rng(0).normal(size=(10, 8, 1))
        >>> potential((z, draws * z)).warnings[0]
        'The interval for α lies at 2 or above: a mean that rises, or a gradient, and no roughness.'
    """
    check_confidence_level(confidence_level)
    z, delta = _checked(*_pair_of(data))
    s = (delta**2).mean(axis=(1, 2))
    each = _slopes(z, s)
    found = _over_origins(each, confidence_level)
    odd, even = _parts(z, delta, confidence_level, data if isinstance(data, Probe) else None)
    taylor = _taylor(data, z) if isinstance(data, Probe) else np.full(len(z), math.nan)
    share = float(np.median(taylor / s.mean(axis=0)))
    curvature_p = _curvature_p(z, s)
    table = pd.DataFrame({"z": z, "S": s.mean(axis=0), "centred": _pooled(delta), "taylor": taylor})
    if delta.shape[2] == 2:
        table["odd"], table["even"] = ((part**2).mean(axis=(0, 1)) for part in _odd_and_even(delta))
    return Potential(
        alpha=found.value,
        interval=found.interval,
        confidence_level=confidence_level,
        each=found.each,
        centred=_centred(z, delta, confidence_level),
        odd=odd,
        even=even,
        local=_local(z, s, confidence_level),
        taylor_share=share,
        curvature_p=curvature_p,
        z=z,
        s=s,
        table=table,
        directions=delta.shape[1],
        statistics=data.statistics if isinstance(data, Probe) else "",
        warnings=(*_repeated(delta, data), *_warnings(found, share, curvature_p, even, table, data)),
    )


def _pair_of(data: Any) -> tuple[ArrayLike, ArrayLike]:
    """Return z and delta, or raise LandscapeError."""
    if isinstance(data, Probe):
        return data.z, data.delta
    if not (isinstance(data, tuple | list) and len(data) == 2):
        raise LandscapeError(
            f"got a {type(data).__name__}; expected a Probe, or a pair (z, delta); Probe.joined makes one of several"
        )
    return data[0], data[1]


def _checked(z: ArrayLike, delta: ArrayLike) -> tuple[Array, Array]:
    """Return z and delta with an axis of signs, or raise LandscapeError."""
    z, delta = _read(z, "z"), _read(delta, "delta")
    delta = delta[:, :, None] if delta.ndim == 3 else delta
    fits = z.ndim == 1 and delta.ndim == 4 and delta.shape[-1] == len(z) and delta.shape[2] in (1, 2)
    if not (fits and delta.shape[1]):
        raise LandscapeError(
            f"z has shape {z.shape} and delta {delta.shape}; expected (distance,) and (origin, direction,"
            " distance) or (origin, direction, sign, distance)"
        )
    if len(z) < 3 or not (np.isfinite(z).all() and z[0] > 0 and (np.diff(z) > 0).all()):
        raise LandscapeError(f"z = {_few(z)}: expected three distances or more, increasing from above 0")
    if len(delta) < 2:
        raise LandscapeError(
            f"got {len(delta)} origin; expected two or more, better ten: directions of one origin share its field, so"
            " that they give α no interval"
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(delta**2).all()
    if not finite:
        raise LandscapeError(
            "a difference of the loss is NaN, masked or beyond all numbers; leave out the distances where it is"
        )
    still = ~(delta**2).mean(axis=(1, 2)).all(axis=0)
    if still.any():
        raise LandscapeError(
            f"the loss does not differ at z = {z[still][0]:.3g}, below what its precision resolves; take larger z"
        )
    return z, delta


def _read(values: ArrayLike, what: str) -> Array:
    """Return numbers, those that are masked as NaN."""
    found, masked = numbers(
        values, lambda got: LandscapeError(f"z and delta must be arrays of numbers; {what} {got}")
    )
    return np.where(masked, math.nan, found)


def _slopes(z: Array, s: Array) -> Array:
    """Return each row's least-squares slope of log s on log z."""
    x = np.log(z) - np.log(z).mean()
    return np.asarray(np.log(s) @ x / (x @ x))


def _over_origins(each: Array, confidence_level: float) -> Exponent:
    """Return the mean with its t interval."""
    n = len(each)
    half = float(special.stdtrit(n - 1, (1 + confidence_level) / 2) * each.std(ddof=1) / math.sqrt(n))
    value = float(each.mean())
    return Exponent(value, (value - half, value + half), tuple(each.tolist()))


def _pooled(delta: Array) -> Array:
    """Return the variance of all draws about their mean, by distance."""
    return np.asarray(delta.reshape(-1, delta.shape[-1]).var(axis=0, ddof=1))


def _centred(z: Array, delta: Array, confidence_level: float) -> Exponent:
    """Return the exponent of the pooled variance, with the jackknife's interval over origins.

    Draws that are all alike have no variance; nor has the single one that is left where there are two.
    """
    n = len(delta)
    if delta[1:, :, :, 0].size < 2:
        return Exponent(math.nan, (math.nan, math.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(_slopes(z, _pooled(delta)))
        left_out = np.array([_slopes(z, _pooled(np.delete(delta, i, axis=0))) for i in range(n)])
    error = math.sqrt((n - 1) * float(left_out.var()))
    half = float(special.stdtrit(n - 1, (1 + confidence_level) / 2)) * error
    return Exponent(value, (value - half, value + half))


def _odd_and_even(delta: Array) -> tuple[Array, Array]:
    return (delta[:, :, 0] - delta[:, :, 1]) / 2, (delta[:, :, 0] + delta[:, :, 1]) / 2


def _parts(
    z: Array, delta: Array, confidence_level: float, probe: Probe | None
) -> tuple[Exponent | None, Exponent | None]:
    """Return the exponents of the odd and of the even part, where the weights' precision resolves them."""
    if delta.shape[2] != 2:
        return None, None
    least = (delta**2).mean(axis=(1, 2)) * _ROUNDING**2
    single = probe is not None and probe.precision != "float64"
    resolved = z >= _EVEN_FROM * probe.weight_norm.max() if single and probe else np.ones(len(z), bool)
    found: list[Exponent | None] = []
    for part, kept in zip(_odd_and_even(delta), (np.ones(len(z), bool), resolved), strict=True):
        square = (part**2).mean(axis=1)
        enough = kept.sum() >= 3 and (square > least)[:, kept].all()
        found.append(_over_origins(_slopes(z[kept], square[:, kept]), confidence_level) if enough else None)
    return found[0], found[1]


def _taylor(probe: Probe, z: Array) -> Array:
    """Return the mean over origins of |g|² z² / dim."""
    return np.asarray((probe.gradient_norm**2).mean() * z**2 / probe.dimension)


def _local(z: Array, s: Array, confidence_level: float) -> pd.DataFrame:
    """Return the exponent between neighbouring distances, with its interval over origins."""
    steps = np.diff(np.log(s), axis=1) / np.diff(np.log(z))
    found = [_over_origins(step, confidence_level) for step in steps.T]
    low, high = zip(*(one.interval for one in found), strict=True)
    middle = np.sqrt(z[1:] * z[:-1])
    return pd.DataFrame({"z": middle, "exponent": [one.value for one in found], "low": low, "high": high})


def _curvature_p(z: Array, s: Array) -> float:
    """Return the p-value of the quadratic term of log S in log z being 0 on average over origins."""
    x = np.log(z) - np.log(z).mean()
    bend = x**2 - (x**2).mean() - x * (x**3).sum() / (x @ x)
    terms = np.log(s) @ bend / (bend @ bend)
    if np.abs(terms).max() < _ROUNDING:
        return 1.0
    error = float(terms.std(ddof=1)) / math.sqrt(len(terms))
    t = float(terms.mean()) / error if error else math.inf  # origins that all bend alike
    return float(2 * special.stdtr(len(terms) - 1, -abs(t)))


def _repeated(delta: Array, data: Probe | tuple[ArrayLike, ArrayLike]) -> list[str]:
    if len(np.unique(delta.reshape(len(delta), -1), axis=0)) < len(delta):
        return ["Two origins have the same differences: they are not independent, and the intervals too narrow."]
    if isinstance(data, Probe):
        known = np.stack([data.loss, data.gradient_norm, data.weight_norm], axis=1)
        if len(np.unique(known, axis=0)) < len(known):
            return [
                "Two origins have the same loss, gradient and norm, as one that is given twice: they are not"
                " independent, and the intervals too narrow."
            ]
    return []


def _warnings(
    found: Exponent,
    share: float,
    curvature_p: float,
    even: Exponent | None,
    table: pd.DataFrame,
    data: Probe | tuple[ArrayLike, ArrayLike],
) -> list[str]:
    sentences = []
    if share > ONLY_GRADIENT:
        sentences.append(
            f"At half of the distances the gradient alone explains {share:.0%} of S or more: α says nothing of the"
            " loss beyond its slope there."
        )
    if found.interval[0] >= 2 - _ROUNDING:
        sentences.append("The interval for α lies at 2 or above: a mean that rises, or a gradient, and no roughness.")
    if curvature_p < _CURVED:
        sentences.append(
            f"S is no power of z (p-value {curvature_p:.2g} of a straight line): α depends on the distances chosen,"
            " as it does where the loss has a length of its own."
        )
    if even is not None and _holds(even, 4) and _even_share(table) > ONLY_GRADIENT:
        sentences.append(f"The even part grows as z^{even.value:.2g}, as a curvature's does (z^4): no roughness.")
    if isinstance(data, Probe) and data.precision != "float64":
        smallest, least = math.sqrt(table["S"].min()), _RESOLVED * max(1.0, float(data.loss.max()))
        if smallest < least:
            sentences.append(
                f"√S is {smallest:.1g} at the smallest distance, where {data.precision} weights serve to {least:.1g};"
                " take larger distances."
            )
    return sentences


def _holds(found: Exponent, value: float) -> bool:
    return found.interval[0] - _ROUNDING <= value <= found.interval[1] + _ROUNDING


def _even_share(table: pd.DataFrame) -> float:
    return float((table["even"] / table["S"]).median())


def _few(z: Array) -> str:
    shown = ", ".join(f"{value:.3g}" for value in z.ravel()[:4])
    return f"[{shown}{', ...' if z.size > 4 else ''}]"
