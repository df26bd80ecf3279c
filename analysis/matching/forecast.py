"""`predict_match`: when a run will reach its reference's distance, if its law holds. Advice, never a trigger.

Each draw of the run's posterior goes on from the log-distance reached now as its law plus a Brownian path in log time
(`posterior_predictive`), and its first passage through the target is the forecast. A path that lies below the target
at two neighbouring points of its grid, by a and b, has been above in between with the probability e^(−2ab/(σ² Δu)) of
the Brownian bridge.

An interval that rests on a law says nothing where the law does not hold, so a forecast names its doubts: that the
law neither holds for what was seen nor is close to it; that what was seen ends within the initial transient; that the
match lies further ahead, in log t, than the law was seen; that the back-test failed. With a doubt it is too early to
say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, isfinite, isinf, log
from typing import Any, ClassVar

import numpy as np

from analysis.curve import Curve, CurvesLike
from analysis.errors import AnalysisError, MatchError
from analysis.fitting.fit import fit
from analysis.fitting.fit_result import Fit
from analysis.fitting.former_names import FormerNames, accept_former_keywords
from analysis.fitting.laws import Array, growth
from analysis.inputs import check_confidence_level, check_update, is_count
from analysis.matching.distance_matcher import TRANSIENT
from analysis.matching.posterior_predictive import (
    Draws,
    Point,
    before_blow_up,
    log_distance_now,
    posterior,
    seen_up_to,
)
from analysis.matching.reference import Reference, as_reference
from analysis.matching.seeds import measured_alike, scaled
from analysis.reading import curves
from analysis.serialize import Part, Tabulated, jsonable

_HORIZON = log(1e4)  # e-folds of t that paths run ahead; later counts as never
_PATH_STEPS = 400


@dataclass(frozen=True, repr=False)
class Forecast(FormerNames, Tabulated):
    """When a run will have travelled as far as a target, if its law holds.

    Every update counts from w_0, whatever the origin.

    Attributes:
        step: the median of the update at which it will.
        interval: the interval of that update; infinite where the target may never be reached.
        confidence_level: probability of the interval.
        target: the distance to reach.
        seen: updates that the forecast knows.
        distance: the running distance after them.
        budget: a number of updates to compare with.
        beyond: probability that the target is not reached within the budget; None without one.
        backtest: the interval that the first half of what was seen forecasts for the update at which the run is as
            far as it is now; None where that half is too short to fit.
        hit: True if the back-test's interval holds the update seen; None without a back-test.
        origin: the update that distances are measured from.
        doubts: why the interval is not to be relied on, a clause each; none where nothing speaks against it.

    Examples:
        >>> import numpy as np
        >>> from analysis import Reference, predict_match
        >>> reference = Reference(
        ...     targets=(9.0,), target_errors=(0.01,), drop_steps=(900,), ratios=(0.1,), learning_rate=0.1
        ... )
        >>> t = np.arange(1, 2001)
        >>> noise = np.exp(1e-3 * np.random.default_rng(0).normal(size=2000))
        >>> forecast = predict_match((t, t**0.25 * noise), reference, budget=100_000)
        >>> low, high = forecast.interval
        >>> low < 9**4 < high
        True
    """

    step: float
    interval: tuple[float, float]
    confidence_level: float
    target: float
    seen: int
    distance: float
    budget: int | None
    beyond: float | None
    backtest: tuple[float, float] | None
    hit: bool | None
    origin: int = 0
    doubts: tuple[str, ...] = ()

    former_names: ClassVar[Mapping[str, str]] = {"level": "confidence_level"}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; None for what may never happen."""
        return {name: jsonable(value) for name, value in asdict(self).items()}

    def _summary(self) -> Sequence[Part]:
        return [self.sentence]

    @property
    def sentence(self) -> str:
        """The forecast in words."""
        low, high = map(_steps, self.interval)
        level = f"{100 * self.confidence_level:g} % interval"
        far = f"the run has travelled {self.distance:.4g} of {self.target:.4g} in {self.seen} updates"
        when = f"it matches at update {_steps(self.step)} ({level}: {low} to {high})"
        if isinf(self.step):
            when = f"it never matches ({level}: " + ("never)" if isinf(self.interval[0]) else f"{low} or later)")
        law = "if it keeps to the law fitted to them"
        if self.doubts:
            law = f"it is too early to say when it matches: {', and '.join(self.doubts)}; {law} all the same"
        text = f"forecast: {far}; {law}, {when}"
        if self.beyond is not None:
            text += f"; the probability that {self.budget} updates do not suffice is {self.beyond:.2f}"
        if self.backtest is None:
            return f"{text}; half the run is too short for a back-test"
        low, high = map(_steps, self.backtest)
        half = (self.origin + self.seen) // 2
        where = "inside" if self.hit else "outside"
        return (
            f"{text}; back-test: the first {half} updates forecast the present distance for update {low} to {high}, "
            f"and it came at {self.seen}, {where} that interval"
        )


@accept_former_keywords(level="confidence_level")
def predict_match(
    run: CurvesLike,
    reference: Reference | CurvesLike,
    *,
    drop: int = 0,
    until: float | None = None,
    budget: int | None = None,
    t_min: float | None = None,
    confidence_level: float = 0.9,
    relative: bool = False,
    origin: int = 0,
    samples: int = 4000,
    seed: int = 0,
) -> Forecast:
    """Forecast the update at which a run reaches the distance that a reference had travelled at a drop.

    The interval assumes the law: its coverage where that is true is measured by bench/match.py, and on a real run
    `doubts` and the back-test are to be believed first.

    Args:
        run: one run, its path, or (t, d), as long as its learning rate has not dropped.
        reference: a Reference, or the run(s) or path(s) to make one of.
        drop: number of the reference's drop, from 0.
        until: use no later update.
        budget: number of updates; the forecast says with what probability they do not suffice.
        t_min: first update that the law is fitted to; by default where `fit` starts.
        confidence_level: probability of the interval.
        relative: compare distances in units of ‖w_0‖. This and the next say how to read a reference given as runs
            (`Reference.from_runs`).
        origin: measure both from this update; a Reference has its own.
        samples: number of paths drawn.
        seed: fixes them.

    Returns:
        The forecast with its back-test.

    Raises:
        MatchError: if the target is reached already, or several runs are given; or samples, seed or drop are no such.
        AnalysisError: as `fit`, and for an `until` or a budget that is no number.

    Examples:
        >>> import numpy as np
        >>> from analysis import Reference, predict_match
        >>> reference = Reference(
        ...     targets=(9.0,), target_errors=(0.01,), drop_steps=(900,), ratios=(0.1,), learning_rate=0.1
        ... )
        >>> t = np.arange(1, 2001)
        >>> noise = np.exp(1e-3 * np.random.default_rng(0).normal(size=2000))
        >>> forecast = predict_match((t, t**0.25 * noise), reference)
        >>> bool(abs(np.log(forecast.step / 9**4)) < 0.1)
        True
    """
    for name, update in (("until", until), ("budget", budget), ("t_min", t_min)):
        check_update(update, name)
    check_confidence_level(confidence_level)
    reference = as_reference(reference, relative, origin)
    _check_counts(samples, seed, drop, len(reference.targets))
    target, origin = log(reference.targets[drop]), reference.origin
    until = None if until is None else until - origin
    curve = seen_up_to(scaled(_single(run, origin), reference.relative), until)
    law = fit(curve, t_min=None if t_min is None else float(t_min - origin))
    start = law.fit_range[0]
    rng = np.random.default_rng(seed)
    now = log_distance_now(curve)
    if now.z >= target:
        raise MatchError(
            f"{curve.name}: at {exp(now.z):.4g} after {origin + curve.t[-1]:.0f} updates it is past the target"
            f" {exp(target):.4g}; use match, or until= to forecast from earlier"
        )
    passage = origin + _first_passage(posterior(curve, start, samples, rng), now, target, rng)
    tails = (1 - confidence_level) / 2, 0.5, (1 + confidence_level) / 2
    low, middle, high = np.quantile(passage, tails, method="inverted_cdf").tolist()
    backtest = _backtest(curve, start, now, confidence_level, samples, rng)
    seen = origin + int(curve.t[-1])
    hit = None if backtest is None else bool(backtest[0] <= seen <= backtest[1])
    return Forecast(
        step=middle,
        interval=(low, high),
        confidence_level=confidence_level,
        target=exp(target),
        seen=seen,
        distance=exp(now.z),
        budget=budget,
        beyond=None if budget is None else float(np.mean(passage > budget)),
        backtest=backtest,
        hit=hit,
        origin=origin,
        doubts=tuple(_doubts(law, middle, seen, hit)),
    )


def _check_counts(samples: int, seed: int, drop: int, drops: int) -> None:
    if not is_count(samples):
        raise MatchError(f"samples = {samples!r}: expected a number of paths, 1 or more")
    if not is_count(seed, 0):
        raise MatchError(f"seed = {seed!r}: expected a whole number, 0 or more")
    if not is_count(drop, 0, drops - 1):
        raise MatchError(f"drop = {drop!r}: expected the number of a drop, 0 to {drops - 1}")


def _doubts(law: Fit, step: float, seen: int, hit: bool | None) -> Iterator[str]:
    """Say why a forecast from a law fitted to `seen` updates is not to be relied on."""
    if law.verdict not in ("holds", "rejected, though close"):
        yield f"the law does not hold for what was seen ({law.verdict}: p = {law.p_value:.2g}, {law.size})"
    if law.origin == 0 and seen < TRANSIENT:
        yield f"{seen} updates were seen, and the first {TRANSIENT} may be a jump"
    first, last = law.fit_range
    if isfinite(step) and (step - law.origin) / last > last / first:
        yield f"the match lies further ahead than the law was seen (t = {first:g} .. {last:g})"
    if hit is False:
        yield "the back-test failed"


def _single(run: CurvesLike, origin: int) -> Curve:
    found = curves(run, origin=origin)
    if len(found) != 1:
        raise MatchError(f"got {len(found)} runs to forecast; expected one: forecast them one by one")
    return measured_alike(found[0], origin)


def _first_passage(draws: Draws, now: Point, target: float, rng: np.random.Generator) -> Array:
    """Return the update at which each path first reaches the target, infinite beyond the horizon, (sample,)."""
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
    curve: Curve, start: float, now: Point, confidence_level: float, samples: int, rng: np.random.Generator
) -> tuple[float, float] | None:
    try:
        half = seen_up_to(curve, curve.t[-1] / 2)
        draws, then = posterior(half, start, samples, rng), log_distance_now(half)
    except AnalysisError:
        return None
    if then.z >= now.z:
        return None
    passage = _first_passage(draws, then, now.z, rng)
    tails = (1 - confidence_level) / 2, (1 + confidence_level) / 2
    low, high = np.quantile(passage, tails, method="inverted_cdf").tolist()
    return curve.origin + low, curve.origin + high


def _steps(step: float) -> str:
    return f"{step:.0f}" if isfinite(step) else "never"
