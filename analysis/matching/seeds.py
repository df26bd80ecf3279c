"""Reference runs at their learning-rate drops: one for each seed of `Reference`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isfinite, nan
from typing import Any, NamedTuple, Self

import numpy as np

from analysis.curve import Curve, Run
from analysis.errors import DifferentNetworksError, MatchError, ReferenceRunError
from analysis.matching.posterior_predictive import distance_ahead


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


def measured_alike(curve: Curve, origin: int) -> Curve:
    """Return a curve that is measured from the reference's origin; refuse any other.

    Args:
        curve: the distances.
        origin: the update that the reference is measured from.

    Raises:
        MatchError: if the curve is measured from another update.
    """
    if curve.origin != origin:
        raise MatchError(
            f"{curve.name} is measured from update {curve.origin} and the reference from update {origin}; expected "
            "one origin: give runs and origin=..., or a curve from there"
        )
    return curve


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
class Seed:
    """One reference run at its drops.

    Attributes:
        name: the run's name.
        steps: for each drop, the updates made before it.
        rates: for each drop, the learning rates before and after it.
        distances: for each drop, the distance at it.
        errors: for each drop, the standard error of log distance: 0 where the distance was recorded.
        last_phase: updates made after the last drop.
        batch_size: samples in an update; None if the run does not say.
        parameter_specs: the network's, as `Run.parameter_specs` has them.
    """

    name: str
    steps: tuple[int, ...]
    rates: tuple[tuple[float, float], ...]
    distances: tuple[float, ...]
    errors: tuple[float, ...]
    last_phase: int
    batch_size: int | None
    parameter_specs: Mapping[str, Any]

    @classmethod
    def read(cls, curve: Curve, relative: bool, extrapolate: bool) -> Self:
        """Read a run's distances at its drops.

        Args:
            curve: the run's distances.
            relative: take them in units of ‖w_0‖.
            extrapolate: continue the law of a run that ends before its drops.

        Raises:
            ReferenceRunError: if the run cannot serve as a reference.
        """
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
        """Refuse another seed whose drops, rates or batch size are not this one's.

        Args:
            other: the other seed.

        Raises:
            ReferenceRunError: if they differ.
        """
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
