"""`predict_match`: when a run will reach its reference's distance, if its law holds. Advice, never a trigger.

Each draw of the run's posterior goes on from the level reached now as its law plus a Brownian path in log time
(`outlook`), and its first passage through the target is the forecast. A path below the target at two neighbouring
points of its grid, by a and b, has been above in between with the Brownian bridge's probability e^(−2ab/(σ² Δu)).
"""

from dataclasses import asdict, dataclass
from math import exp, isfinite, log
from typing import Any

import numpy as np

from analysis.curve import Curve, CurvesLike, curves
from analysis.errors import AnalysisError, MatchError
from analysis.fitting.fit import fit
from analysis.fitting.laws import Array, growth
from analysis.matching.posterior_predictive import Draws, Point, before_blow_up, level_now, posterior, seen_up_to
from analysis.matching.reference import Reference, as_reference, scaled

_HORIZON = log(1e4)  # e-folds of t that paths run ahead; later counts as never
_PATH_STEPS = 400


@dataclass(frozen=True)
class Forecast:
    """When a run will have travelled as far as `target`.

    step: median of the update at which it will, and `interval` of probability `level` (infinite where it may
    never). seen: updates that the forecast knows; distance: the level after them.
    beyond: probability of not getting there within `budget` updates; None without a budget.
    backtest: the interval forecast from the first half of what was seen for the update at which the run would
    be where it is now, and hit: whether it is. Both None where that half is too short to fit.
    origin: the update that distances are measured from; every update counts from w_0 all the same.
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
    origin: int = 0

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
        half = (self.origin + self.seen) // 2
        return f"{text}; back-test from {half}: {low} to {high}, a {'hit' if self.hit else 'miss'}"


def predict_match(
    run: CurvesLike,
    reference: Reference | CurvesLike,
    *,
    drop: int = 0,
    until: float | None = None,
    budget: int | None = None,
    t_min: float | None = None,
    level: float = 0.9,
    relative: bool = False,
    origin: int = 0,
    samples: int = 4000,
    seed: int = 0,
) -> Forecast:
    """Forecasts the update at which a run reaches the reference's distance at its drop number `drop`, from 0.

    run: one run, path, or (t, d), as long as its learning rate has not dropped; until: use no later update.
    budget: updates to be exceeded with probability `beyond`. t_min: first update that the law is fitted to;
    by default where `fit` starts. relative, origin: how to read a reference given as runs.
    samples: paths drawn, from `seed`.

    The interval assumes the law: its coverage where that is true is measured by bench/match.py, and on a real
    run the back-test is to be believed first. Raises MatchError if the target is reached already, and as `fit`.
    """
    reference = as_reference(reference, relative, origin)
    target, origin = log(reference.targets[drop]), reference.origin
    until = None if until is None else until - origin
    curve = seen_up_to(scaled(_single(run, origin), reference.relative), until)
    start = fit(curve).fit_range[0] if t_min is None else float(t_min - origin)
    rng = np.random.default_rng(seed)
    now = level_now(curve)
    if now.z >= target:
        raise MatchError(
            f"{curve.name}: at {exp(now.z):.4g} after {origin + curve.t[-1]:.0f} updates it is past the target"
            f" {exp(target):.4g}; use match, or until= to forecast from earlier"
        )
    passage = origin + _first_passage(posterior(curve, start, samples, rng), now, target, rng)
    tails = (1 - level) / 2, 0.5, (1 + level) / 2
    low, middle, high = np.quantile(passage, tails, method="inverted_cdf").tolist()
    backtest = _backtest(curve, start, now, level, samples, rng)
    seen = origin + int(curve.t[-1])
    return Forecast(
        step=middle,
        interval=(low, high),
        level=level,
        target=exp(target),
        seen=seen,
        distance=exp(now.z),
        budget=budget,
        beyond=None if budget is None else float(np.mean(passage > budget)),
        backtest=backtest,
        hit=None if backtest is None else bool(backtest[0] <= seen <= backtest[1]),
        origin=origin,
    )


def _single(run: CurvesLike, origin: int) -> Curve:
    found = curves(run, origin=origin)
    if len(found) != 1:
        raise MatchError(f"got {len(found)} runs to forecast; expected one: forecast them one by one")
    return found[0]


def _first_passage(draws: Draws, now: Point, target: float, rng: np.random.Generator) -> Array:
    """The update at which each draw's path first reaches the target, infinite beyond the horizon, (sample,)."""
    ahead = np.linspace(0, _HORIZON, _PATH_STEPS + 1)
    x = np.minimum(now.u - draws.middle + ahead, before_blow_up(draws.s)[:, None])
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


def _backtest(
    curve: Curve, start: float, now: Point, level: float, samples: int, rng: np.random.Generator
) -> tuple[float, float] | None:
    try:
        half = seen_up_to(curve, curve.t[-1] / 2)
        draws, then = posterior(half, start, samples, rng), level_now(half)
    except AnalysisError:
        return None
    if then.z >= now.z:
        return None
    passage = _first_passage(draws, then, now.z, rng)
    low, high = np.quantile(passage, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf").tolist()
    return curve.origin + low, curve.origin + high


def _steps(step: float) -> str:
    return f"{step:.0f}" if isfinite(step) else "never"


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_json(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value
