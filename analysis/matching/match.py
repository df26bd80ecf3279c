"""`match`: a recorded run held against a reference, as the on-line matcher would have seen it."""

from dataclasses import dataclass
from math import exp, isfinite, nan
from typing import Any

from analysis.curve import Curve, CurvesLike, curves
from analysis.errors import MatchError
from analysis.matching.distance_matcher import TRANSIENT, DistanceMatcher, Match, Status
from analysis.matching.reference import (
    LaterPhases,
    Reference,
    as_reference,
    check_later_phases,
    check_network,
    distance_at,
    scaled,
)


@dataclass(frozen=True)
class Matching:
    """Where one run stands against each drop of a reference; matches[k] is the k-th drop's."""

    reference: Reference
    run: str
    matches: tuple[Match, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        matches = [match.to_dict() for match in self.matches]
        return {"run": self.run, "reference": self.reference.to_dict(), "matches": matches}

    def __str__(self) -> str:
        unit = " (distances in units of ‖w_0‖)" if self.reference.relative else ""
        origin = f", measured from update {self.reference.origin}" if self.reference.origin else ""
        lines = [f"{self.run} against {', '.join(self.reference.names)}{unit}{origin}"]
        lines.append(f"{'drop':<6}{'status':<15}{'step':>9}{'distance':>11}{'target':>11}{'± %':>8}")
        for k, match in enumerate(self.matches, 1):
            error = f"{100 * match.standard_error:.2g}" if isfinite(match.standard_error) else ""
            numbers = f"{match.step:>9}{match.distance:>11.4g}{match.target:>11.4g}{error:>8}"
            lines.append(f"{k:<6}{match.status:<15}{numbers}")
        lines += [f"{k}: {match.sentence}" for k, match in enumerate(self.matches, 1)]
        return "\n".join([*lines, *map(self._extrapolated, self.reference.extrapolated)])

    def _extrapolated(self, drop: int) -> str:
        target, error = self.reference.targets[drop], 2 * self.reference.target_errors[drop]
        return (
            f"target {drop + 1} is extrapolated to update {self.reference.drop_steps[drop]}:"
            f" {target:.4g}, at 2 SE {target * exp(-error):.4g} to {target * exp(error):.4g}, if its law holds"
        )


def match(
    reference: Reference | CurvesLike,
    run: CurvesLike,
    *,
    later_phases: LaterPhases = "updates",
    relative: bool = False,
    origin: int = 0,
    extrapolate: bool = False,
    window: float | None = None,
    min_step: int | None = None,
    budget: int | None = None,
) -> Matching:
    """Replays a recorded run through `DistanceMatcher`: when it reached the reference's distance at its drops.

    reference: a Reference, or run(s) or path(s) to make one of; run: one run or its path, or (t, d).
    later_phases: drops after the first by the reference's number of `updates` in the phase, counted from the
    run's own drop (its match, if it did not drop), or by the `distance` travelled since.
    min_step: update before which nothing counts; default 100, or the end of the run's warm-up if that is later, as
    it is when `ultraslow train` matches. budget: of updates; the run's length if it is complete.
    relative, origin, extrapolate: how to read a reference given as runs: `Reference.from_runs`. A reference's
    origin is the run's too. The rest as for `DistanceMatcher`; all updates count from w_0.
    Raises ReferenceRunError, DifferentNetworksError, MatchError, CurveError.
    """
    reference = as_reference(reference, relative, origin, extrapolate)
    check_later_phases(later_phases)
    curve = _single(run, reference)
    if budget is None and curve.run is not None and curve.run.status == "complete":
        budget = _last(curve)
    if min_step is None:
        min_step = max(TRANSIENT, curve.origin + round(curve.warmup_end)) if curve.warmup_end else TRANSIENT
    options: dict[str, Any] = {"window": window, "budget": budget}
    matches = [_replay(reference.matcher(min_step=min_step, **options), curve)]
    for drop in range(1, len(reference.targets)):
        start = _phase_start(drop, curve, matches[-1])
        if start is None:
            sentence = f"waits for drop {drop}"
            matches.append(_plain(Status.WAITING, curve, _last(curve), reference.targets[drop], sentence))
        elif later_phases == "updates":
            matches.append(_by_updates(start, drop, reference, curve))
        else:
            travelled = distance_at(curve, start - curve.origin)
            matcher = reference.matcher(drop, travelled, min_step=start, **options)
            matches.append(_replay(matcher, curve, start))
    return Matching(reference, curve.name, tuple(matches))


def _single(run: CurvesLike, reference: Reference) -> Curve:
    found = curves(run, origin=reference.origin)
    if len(found) != 1:
        raise MatchError(f"got {len(found)} runs to match; expected one: match them one by one")
    curve = found[0]
    if not len(curve.t):
        raise MatchError(f"{curve.name}: no distances recorded; expected a run of at least one update")
    if curve.run is not None and not reference.relative:
        check_network(reference.parameter_specs, reference.names[0], curve.run.parameter_specs, curve.name)
    return scaled(curve, reference.relative)


def _last(curve: Curve) -> int:
    """The curve's last update, counted from w_0."""
    return curve.origin + int(curve.t[-1])


def _replay(matcher: DistanceMatcher, curve: Curve, start: int = 0) -> Match:
    after = curve.origin + curve.t > start
    steps, rates = curve.origin + curve.t[after].astype(int), None
    if curve.run is not None and "learning_rate" in curve.run.metrics:
        rates = curve.run.metrics["learning_rate"].reindex(steps).to_numpy()
    matcher.update(steps, curve.d[after], rates)
    return matcher.match


def _phase_start(drop: int, curve: Curve, before: Match) -> int | None:
    """The update after which the phase that ends in this drop began: the run's own drop before it, or its match."""
    if len(curve.drops) >= drop:
        return curve.origin + int(curve.drops[drop - 1])
    return before.step if before.status is Status.MATCHED else None


def _by_updates(start: int, drop: int, reference: Reference, curve: Curve) -> Match:
    length, last = reference.phase_lengths[drop], _last(curve)
    due, target = start + length, reference.targets[drop]
    sentence = f"due after {due} updates, {length} after the drop at {start}"
    if due <= last:
        return _plain(Status.MATCHED, curve, due, target, sentence)
    return _plain(Status.WAITING, curve, last, target, f"{sentence}; the run has {last}")


def _plain(status: Status, curve: Curve, step: int, target: float, sentence: str) -> Match:
    """A match by other means than the distance: it has no error and no crossing."""
    return Match(status, step, distance_at(curve, step - curve.origin), target, nan, None, None, sentence)
