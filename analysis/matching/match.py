"""`match`: compare a recorded run with a reference, as the on-line matcher would have seen it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, nan
from typing import Any

from analysis.curve import Curve, CurvesLike
from analysis.errors import MatchError
from analysis.matching.distance_matcher import TRANSIENT, DistanceMatcher
from analysis.matching.outcome import Match, Status
from analysis.matching.reference import (
    LaterPhases,
    Reference,
    as_reference,
    check_later_phases,
)
from analysis.matching.seeds import check_network, distance_at, measured_alike, scaled
from analysis.reading import curves
from analysis.serialize import Part, Table, Tabulated


@dataclass(frozen=True, repr=False)
class Matching(Tabulated):
    """One run compared with a reference.

    Attributes:
        reference: the distances to match.
        run: the run's name.
        matches: the outcome for each drop of the reference, in order.
        warnings: what the recorders of the run and of the reference's runs saw that a reader of their distances has
            to know.

    Examples:
        >>> import numpy as np
        >>> from analysis import Reference, match
        >>> reference = Reference(
        ...     targets=(6.0,), target_errors=(0.01,), drop_steps=(900,), ratios=(0.1,), learning_rate=0.1
        ... )
        >>> t = np.arange(1, 2001)
        >>> found = match(reference, (t, t**0.25))
        >>> [outcome.status.value for outcome in found.matches]
        ['matched']
    """

    reference: Reference
    run: str
    matches: tuple[Match, ...]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        matches = [match.to_dict() for match in self.matches]
        return {
            "run": self.run,
            "reference": self.reference.to_dict(),
            "matches": matches,
            "warnings": list(self.warnings),
        }

    def _summary(self) -> Sequence[Part]:
        unit = " (distances in units of ‖w_0‖)" if self.reference.relative else ""
        origin = f", measured from update {self.reference.origin}" if self.reference.origin else ""
        return [
            f"{self.run} compared with {', '.join(self.reference.names)}{unit}{origin}",
            Table([_cells(drop, match) for drop, match in enumerate(self.matches, 1)], _COLUMNS),
            *(f"{drop}: {match.sentence}" for drop, match in enumerate(self.matches, 1)),
            *map(self._extrapolated, self.reference.extrapolated),
            *(f"! {sentence}" for sentence in self.warnings),
        ]

    def _extrapolated(self, drop: int) -> str:
        target, error = self.reference.targets[drop], 2 * self.reference.target_errors[drop]
        return (
            f"target {drop + 1} is extrapolated to update {self.reference.drop_steps[drop]}:"
            f" {target:.4g}, at 2 SE {target * exp(-error):.4g} to {target * exp(error):.4g}, if its law holds"
        )


_COLUMNS = ("drop", "status", "step", "distance", "target", "± %")


def _cells(drop: int, match: Match) -> tuple[str, ...]:
    error = f"{100 * match.standard_error:.2g}" if isfinite(match.standard_error) else ""
    distance = f"{match.distance:.4g}" if isfinite(match.distance) else ""
    return str(drop), str(match.status), str(match.step), distance, f"{match.target:.4g}", error


def match(
    reference: Reference | CurvesLike,
    run: CurvesLike,
    *,
    later_phases: LaterPhases = "updates",
    relative: bool = False,
    origin: int = 0,
    extrapolate: bool = False,
    bandwidth: float | None = None,
    min_step: int | None = None,
    budget: int | None = None,
) -> Matching:
    """Find when a recorded run reached the distances that a reference had travelled at its learning-rate drops.

    The run is replayed through `DistanceMatcher`. Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), section 5, propose
    to drop a large batch's learning rate there.

    Args:
        reference: a Reference, or the run(s) or path(s) to make one of.
        run: one run, its path, or (t, d).
        later_phases: what decides on the drops after the first: the reference's number of "updates" in the phase,
            counted from the run's own drop (its match, if it did not drop), or the "distance" travelled since.
        relative: compare distances in units of ‖w_0‖. This and the next two say how to read a reference given as
            runs (`Reference.from_runs`).
        origin: measure both from this update; a Reference has its own.
        extrapolate: continue the law of a reference that ends before its drop.
        bandwidth: that of the running distance, W in log t; None lets the noise choose.
        min_step: the update before which no distance counts; default 100, or the end of the run's warm-up if that is
            later, as it is when `ultraslow train` matches.
        budget: the number of updates after which an unmatched target is `never_reached`; default the run's length if
            it is complete.

    Returns:
        The outcome for each drop. All updates count from w_0.

    Raises:
        ReferenceRunError: if the runs given as reference cannot serve as one.
        DifferentNetworksError: if reference and run have other parameters.
        MatchError: if a value is out of range, or several runs are given.
        CurveError: if what is given is no curve.

    Examples:
        >>> import numpy as np
        >>> from analysis import Reference, match
        >>> reference = Reference(
        ...     targets=(6.0,), target_errors=(0.01,), drop_steps=(900,), ratios=(0.1,), learning_rate=0.1
        ... )
        >>> t = np.arange(1, 2001)
        >>> found = match(reference, (t, t**0.25))
        >>> round(found.matches[0].crossing)
        1296
    """
    reference = as_reference(reference, relative, origin, extrapolate)
    check_later_phases(later_phases)
    curve = _single(run, reference)
    if budget is None and curve.run is not None and curve.run.status == "complete":
        budget = _last(curve)
    if min_step is None:
        min_step = max(TRANSIENT, curve.origin + round(curve.warmup_end)) if curve.warmup_end else TRANSIENT
    matches = [_replay(reference.matcher(bandwidth=bandwidth, min_step=min_step, budget=budget), curve)]
    for drop in range(1, len(reference.targets)):
        start = _phase_start(drop, curve, matches[-1])
        if start is None:
            sentence = f"not looked for before drop {drop} is matched"
            matches.append(_plain(Status.WAITING, curve, _last(curve), reference.targets[drop], sentence))
        elif later_phases == "updates":
            matches.append(_by_updates(start, drop, reference, curve))
        else:
            travelled = distance_at(curve, start - curve.origin)
            matcher = reference.matcher(drop, travelled, bandwidth=bandwidth, min_step=start, budget=budget)
            matches.append(_replay(matcher, curve, start))
    said = tuple(dict.fromkeys((*reference.warnings, *curve.warnings)))
    return Matching(reference, curve.name, tuple(matches), said)


def _single(run: CurvesLike, reference: Reference) -> Curve:
    found = curves(run, origin=reference.origin)
    if len(found) != 1:
        raise MatchError(f"got {len(found)} runs to match; expected one: match them one by one")
    curve = measured_alike(found[0], reference.origin)
    if not len(curve.t):
        raise MatchError(f"{curve.name}: no distances recorded; expected a run of at least one update")
    if curve.run is not None and not reference.relative:
        check_network(reference.parameter_specs, reference.names[0], curve.run.parameter_specs, curve.name)
    return scaled(curve, reference.relative)


def _last(curve: Curve) -> int:
    """Return the curve's last update, counted from w_0."""
    return curve.origin + int(curve.t[-1])


def _replay(matcher: DistanceMatcher, curve: Curve, start: int = 0) -> Match:
    after = curve.origin + curve.t > start
    steps, rates = curve.origin + curve.t[after].astype(int), None
    if curve.run is not None and "learning_rate" in curve.run.metrics:
        rates = curve.run.metrics["learning_rate"].reindex(steps).to_numpy()
    matcher.update(steps, curve.d[after], rates)
    return matcher.match


def _phase_start(drop: int, curve: Curve, before: Match) -> int | None:
    """Return the update after which the phase that ends in this drop began.

    It is the run's own drop before this one, or the match if it did not drop.
    """
    if len(curve.drops) >= drop:
        return curve.origin + int(curve.drops[drop - 1])
    return before.step if before.status is Status.MATCHED else None


def _by_updates(start: int, drop: int, reference: Reference, curve: Curve) -> Match:
    length, last = reference.phase_lengths[drop], _last(curve)
    due, target = start + length, reference.targets[drop]
    sentence = f"due after {due} updates: {length} after the one before, as many as the reference took"
    if due <= last:
        return _plain(Status.MATCHED, curve, due, target, sentence)
    return _plain(Status.WAITING, curve, last, target, f"{sentence}; the run has made {last}")


def _plain(status: Status, curve: Curve, step: int, target: float, sentence: str) -> Match:
    """Return a match by other means than the distance: it has no error and no crossing."""
    return Match(status, step, distance_at(curve, step - curve.origin), target, nan, None, None, sentence)
