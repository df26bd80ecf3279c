"""`predict_match`: when a run will reach its reference's distance, if its law holds. Advice, never a trigger.

The law z = a + q g_s(u − u_m) of `laws`, with z = log d and u = log t, has (s, q) drawn from the posterior of
`posterior.Mixture`. Each draw's residual increments over the n log bins give the variance of its noise,

    σ² ~ Σ (Δz − q Δg_s)²/(v Δu) / χ²_(n−2),

v = (2m² + 1)/(3m²) being what is left of a Brownian increment's variance between means of m points. From the
level reached now the draw goes on as q g_s plus a Brownian path of variance σ² an e-fold of t, and its first
passage through the target is the forecast. A path below the target at two neighbouring points of its grid, by a
and b, has been above in between with the Brownian bridge's probability e^(−2ab/(σ² Δu)).
"""

from dataclasses import asdict, dataclass, replace
from math import exp, isfinite, log
from typing import Any, NamedTuple

import numpy as np

from analysis.bins import binned, constant_phase
from analysis.curve import Curve, Curves, curves
from analysis.errors import AnalysisError, MatchError
from analysis.fit import fit
from analysis.laws import Array, growth
from analysis.level import LevelWindow
from analysis.posterior import Mixture
from analysis.reference import Reference, as_reference, scaled

_HORIZON = log(1e4)  # e-folds of t that paths run ahead; later counts as never
_PATH_STEPS = 400
_LAWS = 129  # values of s over what the curve supports


@dataclass(frozen=True)
class Forecast:
    """When a run will have travelled as far as `target`.

    step: median of the update at which it will, and `interval` of probability `level` (infinite where it may
    never). seen: updates that the forecast knows; distance: the level after them.
    beyond: probability of not getting there within `budget` updates; None without a budget.
    backtest: the interval forecast from the first half of what was seen for the update at which the run would
    be where it is now, and hit: whether it is. Both None where that half is too short to fit.
    """

    step: float
    interval: tuple[float, float]
    level: float
    target: float
    seen: int
    distance: float
    budget: int | None
    beyond: float | None
    backtest: tuple[float, float] | None
    hit: bool | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields; None for what may never happen."""
        return {key: _json(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        low, high = map(_steps, self.interval)
        text = (
            f"forecast: at {self.distance:.4g} of {self.target:.4g} after {self.seen} updates, it would match at"
            f" update {_steps(self.step)}, {100 * self.level:g} % interval {low} to {high}, if its law holds"
        )
        if self.beyond is not None:
            text += f"; not within {self.budget} with probability {self.beyond:.2f}"
        if self.backtest is None:
            return f"{text}; half the run is too short for a back-test"
        low, high = map(_steps, self.backtest)
        return f"{text}; back-test from {self.seen // 2}: {low} to {high}, a {'hit' if self.hit else 'miss'}"


def predict_match(
    run: Curves,
    reference: Reference | Curves,
    *,
    drop: int = 0,
    until: float | None = None,
    budget: int | None = None,
    t_min: float | None = None,
    level: float = 0.9,
    relative: bool = False,
    samples: int = 4000,
    seed: int = 0,
) -> Forecast:
    """Forecasts the update at which a run reaches the reference's distance at its drop number `drop`, from 0.

    run: one run, path, or (t, d), as long as its learning rate has not dropped; until: use no later update.
    budget: updates to be exceeded with probability `beyond`. t_min: first update that the law is fitted to;
    by default where `fit` starts. samples: paths drawn, from `seed`.

    The interval assumes the law: its coverage where that is true is measured by bench/match.py, and on a real
    run the back-test is to be believed first. Raises MatchError if the target is reached already, and as `fit`.
    """
    reference = as_reference(reference, relative)
    target = log(reference.targets[drop])
    curve = _seen(scaled(_single(run), reference.relative), until)
    start = fit(curve).window[0] if t_min is None else float(t_min)
    rng = np.random.default_rng(seed)
    now = _now(curve)
    if now.z >= target:
        raise MatchError(
            f"{curve.name}: at {exp(now.z):.4g} after {curve.t[-1]:.0f} updates it is past the target"
            f" {exp(target):.4g}; use match, or until= to forecast from earlier"
        )
    passage = _first_passage(_posterior(curve, start, samples, rng), now, target, rng)
    tails = (1 - level) / 2, 0.5, (1 + level) / 2
    low, middle, high = np.quantile(passage, tails, method="inverted_cdf").tolist()
    backtest = _backtest(curve, start, now, level, samples, rng)
    return Forecast(
        step=middle,
        interval=(low, high),
        level=level,
        target=exp(target),
        seen=int(curve.t[-1]),
        distance=exp(now.z),
        budget=budget,
        beyond=None if budget is None else float(np.mean(passage > budget)),
        backtest=backtest,
        hit=None if backtest is None else bool(backtest[0] <= curve.t[-1] <= backtest[1]),
    )


class _Point(NamedTuple):
    u: float
    z: float


class _Draws(NamedTuple):
    """The posterior's draws, each (sample,)."""

    s: Array
    q: Array
    sigma: Array
    middle: float  # u_m


def _single(run: Curves) -> Curve:
    found = curves(run)
    if len(found) != 1:
        raise MatchError(f"got {len(found)} runs to forecast; expected one: forecast them one by one")
    return found[0]


def _seen(curve: Curve, until: float | None) -> Curve:
    """The curve up to `until` and to its first learning-rate drop."""
    _, end = constant_phase([curve], None, None)
    kept = curve.t <= min(end, np.inf if until is None else until)
    return replace(curve, t=curve.t[kept], d=curve.d[kept])


def _now(curve: Curve) -> _Point:
    """The level at the curve's end: the newest line through a full window, or the last value."""
    window, level = LevelWindow(), None
    recent = curve.t >= curve.t[-1] / 2
    for t, z in zip(curve.t[recent].astype(int).tolist(), np.log(curve.d[recent]).tolist(), strict=True):
        level = window.add(t, z) or level
    return _Point(log(curve.t[-1]), float(np.log(curve.d[-1])) if level is None else level.z)


def _posterior(curve: Curve, start: float, samples: int, rng: np.random.Generator) -> _Draws:
    """Draws of (s, q, σ) from the log bins of a curve."""
    bins = binned([curve], start)
    z, freedom = bins.z[0], len(bins.u) - 2
    mixture = Mixture(bins.u, bins.points, bins.steps)
    grid = np.linspace(*mixture.support(z), _LAWS)
    log_w, mode, scale = mixture.weigh(z, grid)
    weight = np.exp(log_w - log_w.max()).ravel()
    cell, k = np.unravel_index(rng.choice(weight.size, samples, p=weight / weight.sum()), log_w.shape)
    s = grid[k] + (grid[1] - grid[0]) * rng.uniform(-0.5, 0.5, samples)
    q = mode[cell, k] + scale[cell, k] * rng.standard_t(freedom, samples)
    m = np.minimum(bins.points[1:], bins.points[:-1])
    variance = np.diff(bins.u) * (2 * m**2 + 1) / (3 * m**2)
    residual = np.diff(z) - q[:, None] * np.diff(growth(s[:, None], mixture.x))
    sigma = np.sqrt(np.sum(residual**2 / variance, axis=1) / rng.chisquare(freedom, samples))
    return _Draws(s, q, sigma, float(bins.u[0] - mixture.x[0]))


def _first_passage(draws: _Draws, now: _Point, target: float, rng: np.random.Generator) -> Array:
    """The update at which each draw's path first reaches the target, infinite beyond the horizon, (sample,)."""
    ahead = np.linspace(0, _HORIZON, _PATH_STEPS + 1)
    x = np.minimum(now.u - draws.middle + ahead, _before_blow_up(draws.s)[:, None])
    drift = growth(draws.s[:, None], x)
    noise = np.zeros_like(drift)
    variance = draws.sigma[:, None] ** 2 * ahead[1]
    noise[:, 1:] = np.cumsum(np.sqrt(variance) * rng.standard_normal(noise[:, 1:].shape), axis=1)
    gap = target - now.z - draws.q[:, None] * (drift - drift[:, :1]) - noise
    a, b = gap[:, :-1], gap[:, 1:]
    bridge = np.exp(-2 * np.maximum(a, 0) * np.maximum(b, 0) / variance)  # 1 where b ≤ 0
    crossed = rng.random(bridge.shape) < bridge
    first = np.argmax(crossed, axis=1)
    a, b = (np.take_along_axis(side, first[:, None], axis=1)[:, 0] for side in (a, b))
    part = np.where(b < 0, a / np.where(b < 0, a - b, 1.0), rng.random(len(first)))
    return np.where(crossed.any(axis=1), np.exp(now.u + (first + part) * ahead[1]), np.inf)


def _before_blow_up(s: Array) -> Array:
    """The x at which 1 + s x is nearly 0: for s < 0 the law is infinite there."""
    return np.where(s < 0, (1 - 1e-9) / np.maximum(-s, 1e-300), np.inf)


def _backtest(
    curve: Curve, start: float, now: _Point, level: float, samples: int, rng: np.random.Generator
) -> tuple[float, float] | None:
    try:
        half = _seen(curve, curve.t[-1] / 2)
        draws, then = _posterior(half, start, samples, rng), _now(half)
    except AnalysisError:
        return None
    if then.z >= now.z:
        return None
    passage = _first_passage(draws, then, now.z, rng)
    low, high = np.quantile(passage, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf").tolist()
    return low, high


def _steps(step: float) -> str:
    return f"{step:.0f}" if isfinite(step) else "never"


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value
