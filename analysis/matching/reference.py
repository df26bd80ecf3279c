"""`Reference`: the distances to match, as recorded runs had travelled at their learning-rate drops."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import exp, isfinite, nan, sqrt
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np

from analysis.curve import Curve, CurvesLike, Run, curves
from analysis.errors import DifferentNetworksError, MatchError, ReferenceRunError
from analysis.matching.distance_matcher import DistanceMatcher
from analysis.matching.posterior_predictive import distance_ahead

LaterPhases = Literal["updates", "distance"]


@dataclass(frozen=True)
class Reference:
    """When to drop the learning rate, by a run or by several seeds of one.

    Attributes:
        targets: for each drop, the distance at it (geometric mean over the seeds).
        target_errors: for each drop, the standard error of the target's logarithm; NaN from one seed.
        drop_steps: for each drop, the updates made before it. They count from w_0 whatever the origin.
        ratios: for each drop, the factor on the learning rate.
        learning_rate: the learning rate before the first drop.
        batch_size: samples in an update; None if the runs do not say.
        parameter_specs: names, shapes and types of the network's parameters, as `Run.parameter_specs` has them.
        relative: True if distances are in units of ‖w_0‖.
        names: names of the runs.
        origin: the update t_w that distances are measured from, ‖w_t − w_{t_w}‖.
        last_phase: updates made after the last drop; None if unknown.
        extrapolated: numbers of the drops, from 0, that lie beyond what the runs recorded: their targets are read
            off the fitted law.

    Examples:
        >>> from analysis import Reference
        >>> reference = Reference(
        ...     targets=(6.0, 6.5),
        ...     target_errors=(0.01, 0.01),
        ...     drop_steps=(900, 1300),
        ...     ratios=(0.1, 0.1),
        ...     learning_rate=0.1,
        ... )
        >>> reference.phase_lengths
        (900, 400)
    """

    targets: tuple[float, ...]
    target_errors: tuple[float, ...]
    drop_steps: tuple[int, ...]
    ratios: tuple[float, ...]
    learning_rate: float
    batch_size: int | None = None
    parameter_specs: Mapping[str, Any] = field(default_factory=lambda: {"parameters": []})
    relative: bool = False
    names: tuple[str, ...] = ("reference",)
    origin: int = 0
    last_phase: int | None = None
    extrapolated: tuple[int, ...] = ()

    @classmethod
    def from_runs(
        cls, runs: CurvesLike, *, relative: bool = False, origin: int = 0, extrapolate: bool = False
    ) -> Self:
        """Read run(s), or path(s) of them: seeds of one experiment.

        Args:
            runs: the runs, each with its learning-rate drops recorded.
            relative: take distances in units of ‖w_0‖, so that another network can be compared.
            origin: measure from w_{t_w}, after the initial transient, instead of w_0.
            extrapolate: where a run ends before a drop that it was to make, continue its law to there
                (`analysis.matching.posterior_predictive`); the target's standard error then is the extrapolation's.

        Raises:
            ReferenceRunError: if a run has no drop, ends before one, or drops before the origin, or if the drops or
                batch sizes of the seeds differ.
            DifferentNetworksError: if their networks differ.
            CurveError: if nothing was recorded from the origin.
        """
        seeds = [_Seed.read(curve, relative, extrapolate) for curve in curves(runs, origin=origin)]
        first = seeds[0]
        for seed in seeds[1:]:
            check_network(first.parameter_specs, first.name, seed.parameter_specs, seed.name)
            first.check_regime(seed)
        logs = np.log([seed.distances for seed in seeds])  # (seed, drop)
        several = len(seeds) > 1
        errors = logs.std(axis=0, ddof=1) / sqrt(len(seeds)) if several else np.full(logs.shape[1], nan)
        unseen = np.sqrt(np.square([seed.errors for seed in seeds]).sum(axis=0)) / len(seeds)
        return cls(
            targets=tuple(np.exp(logs.mean(axis=0)).tolist()),
            target_errors=tuple(np.where(unseen > 0, np.hypot(np.nan_to_num(errors), unseen), errors).tolist()),
            drop_steps=first.steps,
            ratios=tuple(new / old for old, new in first.rates),
            learning_rate=first.rates[0][0],
            batch_size=first.batch_size,
            parameter_specs=first.parameter_specs,
            relative=relative,
            names=tuple(seed.name for seed in seeds),
            origin=origin,
            last_phase=max(seed.last_phase for seed in seeds) or None,
            extrapolated=tuple(np.flatnonzero(unseen > 0).tolist()),
        )

    @property
    def phase_lengths(self) -> tuple[int, ...]:
        """Return the number of updates between drops; the first counts from w_0."""
        return tuple(np.diff((0, *self.drop_steps)).tolist())

    def matcher(self, drop: int = 0, since: float | None = None, **options: Any) -> DistanceMatcher:
        """Return a matcher for one drop: for its distance from w_0, or for that travelled since the drop before it.

        Args:
            drop: number of the drop, from 0.
            since: the run's own distance at its drop before this one; the target then lies as far beyond it as the
                reference's distances lie apart.
            **options: those of `DistanceMatcher`.

        Raises:
            MatchError: if the reference did not move away between the two drops.
        """
        target = self.targets[drop]
        if since is not None:
            gain = target - self.targets[drop - 1]
            if not gain > 0:  # or NaN: beyond an extrapolated drop
                raise MatchError(
                    f"drop {drop + 1}: the reference goes from {self.targets[drop - 1]:.4g} to {target:.4g} in"
                    " that phase, expected a growing distance; match this drop by updates"
                )
            target = since + gain
        errors = self.target_errors[drop]
        return DistanceMatcher(target, target_errors=errors, origin=self.origin, **options)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; None for what is unknown, such as errors from one seed."""
        known = {
            name: [value if isfinite(value) else None for value in getattr(self, name)]
            for name in ("targets", "target_errors")
        }
        return asdict(self) | known | {"phase_lengths": self.phase_lengths}


def as_reference(
    reference: Reference | CurvesLike, relative: bool = False, origin: int = 0, extrapolate: bool = False
) -> Reference:
    """Return a Reference as it is, or the one that run(s) or path(s) make.

    Args:
        reference: a Reference, or runs or paths of them.
        relative: how to read runs: `Reference.from_runs`.
        origin: likewise.
        extrapolate: likewise.
    """
    if isinstance(reference, Reference):
        return reference
    return Reference.from_runs(reference, relative=relative, origin=origin, extrapolate=extrapolate)


def check_later_phases(later_phases: str) -> None:
    """Refuse what is no criterion for the drops after the first.

    Args:
        later_phases: the criterion.

    Raises:
        MatchError: if it is unknown.
    """
    if later_phases not in get_args(LaterPhases):
        known = " or ".join(repr(name) for name in get_args(LaterPhases))
        raise MatchError(f"later_phases={later_phases!r}: expected {known}")


def check_network(expected: Mapping[str, Any], expected_name: str, got: Mapping[str, Any], got_name: str) -> None:
    """Refuse two networks whose parameters differ in names, shapes or types.

    Args:
        expected: the one network's `Run.parameter_specs`.
        expected_name: what messages call it.
        got: the other's.
        got_name: what messages call it.

    Raises:
        DifferentNetworksError: if they differ.
    """
    one, other = ([tuple(map(str, entry)) for entry in s["parameters"]] for s in (expected, got))
    if one == other:
        return
    remedy = "expected the same network, or relative=True to compare distances in units of ‖w_0‖"
    for ours, theirs in zip(one, other, strict=False):
        if ours != theirs:
            raise DifferentNetworksError(
                f"{got_name} has {' '.join(theirs)} where {expected_name} has {' '.join(ours)}; {remedy}"
            )
    raise DifferentNetworksError(f"{got_name} has {len(other)} parameters and {expected_name} {len(one)}; {remedy}")


def distance_at(curve: Curve, step: float) -> float:
    """Return d by a straight line in log-log between recorded steps, constant beyond the ends.

    Args:
        curve: the distances.
        step: updates, counted as the curve's.
    """
    return float(np.exp(np.interp(np.log(step), np.log(curve.t), np.log(curve.d))))


def scaled(curve: Curve, relative: bool) -> Curve:
    """Return the curve as it is, or with distances in units of its run's ‖w_0‖.

    Args:
        curve: the distances.
        relative: True for distances in units of ‖w_0‖.

    Raises:
        MatchError: if they are to be relative and the curve is of arrays.
    """
    if not relative:
        return curve
    if curve.run is None:
        raise MatchError(f"{curve.name}: relative distances need a recorded run; got arrays")
    return replace(curve, d=curve.d / curve.run.origin_norm)


@dataclass(frozen=True)
class _Seed:
    """One reference run at its drops."""

    name: str
    steps: tuple[int, ...]
    rates: tuple[tuple[float, float], ...]  # before and after each drop
    distances: tuple[float, ...]
    errors: tuple[float, ...]  # of log distance: 0 where it was recorded
    last_phase: int
    batch_size: int | None
    parameter_specs: Mapping[str, Any]

    @classmethod
    def read(cls, curve: Curve, relative: bool, extrapolate: bool) -> Self:
        run, name = curve.run, curve.name
        if run is None:
            raise ReferenceRunError(f"{name}: got bare distances; a reference is a recorded run with its drops")
        last = curve.origin + int(curve.t[-1]) if len(curve.t) else 0
        drops, end = _drops(run), last
        if not drops and extrapolate:
            drops, end = _planned(run), run.config.get("updates", last)
        if not drops:
            raise ReferenceRunError(
                f"{name}: no learning-rate drop is recorded; expected at least one: train the reference past its"
                " drop, or file recorder.event('lr_drop', lr_from=..., lr_to=...)"
            )
        if drops[0].step <= curve.origin:
            raise ReferenceRunError(
                f"{name}: its first drop, after {drops[0].step} updates, is no later than the origin {curve.origin};"
                " expected an origin in the first phase"
            )
        ahead = extrapolate and drops[0].step > last
        if drops[-1].step > last and not ahead:
            raise ReferenceRunError(
                f"{name}: its distances end after {last} updates, before the drop at {drops[-1].step}; record the"
                " reference to its last drop, or pass extrapolate=True to continue its law to the first one"
            )
        curve = scaled(curve, relative)
        distances, errors = _extrapolated(curve, drops) if ahead else _recorded(curve, drops)
        return cls(
            name,
            tuple(drop.step for drop in drops),
            tuple((drop.before, drop.after) for drop in drops),
            distances,
            errors,
            end - drops[-1].step,
            run.config.get("batch_size"),
            run.parameter_specs,
        )

    def check_regime(self, other: Self) -> None:
        """Raise ReferenceRunError unless the other seed has this one's drops, rates and batch size."""
        for what in ("steps", "rates", "batch_size"):
            if getattr(self, what) != getattr(other, what):
                raise ReferenceRunError(
                    f"{other.name} and {self.name} are no seeds of one experiment: {_REGIME[what]} are"
                    f" {getattr(other, what)} and {getattr(self, what)}; give runs that differ in their seed only"
                )


_REGIME = {"steps": "drop steps", "rates": "learning rates at the drops", "batch_size": "batch sizes"}


class _Drop(NamedTuple):
    step: int
    before: float  # learning rates
    after: float


def _drops(run: Run) -> list[_Drop]:
    """Return the recorded drops."""
    rates = [(e.step, float(e.details["lr_from"]), float(e.details["lr_to"])) for e in run.drops]
    return [_Drop(*entry) for entry in rates if entry[0] > 0]


def _planned(run: Run) -> list[_Drop]:
    """Return the drops that a run cut short was to make, as its configuration notes them."""
    found, rate = [], run.config.get("lr", nan)
    for step, factor in run.config.get("drop_steps", ()):
        found.append(_Drop(step, rate, rate * factor))
        rate *= factor
    return found


def _recorded(curve: Curve, drops: Sequence[_Drop]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the distances at the drops, and zeros for their errors."""
    distances = tuple(distance_at(curve, drop.step - curve.origin) for drop in drops)
    if not all(isfinite(d) and d > 0 for d in distances):
        raise ReferenceRunError(f"{curve.name}: distances at its drops are {distances}; expected positive numbers")
    return distances, (0.0,) * len(drops)


def _extrapolated(curve: Curve, drops: Sequence[_Drop]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the first drop's distance by the curve's law, with its error; NaN for later ones: no law covers them."""
    step = drops[0].step
    z, error = distance_ahead(curve, step - curve.origin)
    if not isfinite(error):
        raise ReferenceRunError(
            f"{curve.name}: continued from {curve.origin + curve.t[-1]:.0f} updates to the drop at {step}, its law"
            " has no finite distance; record the reference to its drop"
        )
    rest = len(drops) - 1
    return (exp(z), *[nan] * rest), (error, *[0.0] * rest)
