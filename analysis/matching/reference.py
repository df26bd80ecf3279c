"""`Reference`: the distances to match, as recorded runs had travelled at their learning-rate drops."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isfinite, nan, sqrt
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from analysis.curve import CurvesLike
from analysis.errors import MatchError
from analysis.fitting.former_names import FormerNames, accept_former_keywords
from analysis.fitting.seed_group import check_differ, check_measured_alike
from analysis.inputs import check_switch
from analysis.matching.distance_matcher import TRANSIENT, DistanceMatcher
from analysis.matching.seeds import Seed, check_network
from analysis.reading import curves
from analysis.serialize import Part, Table, Tabulated, jsonable

LaterPhases = Literal["updates", "distance"]


_COLUMNS = ("drop", "update", "target", "± %", "rate ×")


@dataclass(frozen=True, repr=False)
class Reference(FormerNames, Tabulated):
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
        warnings: what the runs' recorders saw that a reader of their distances has to know.

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
    warnings: tuple[str, ...] = ()

    former_names: ClassVar[Mapping[str, str]] = {"signature": "parameter_specs"}

    def __post_init__(self) -> None:
        for name in ("targets", "target_errors", "drop_steps", "ratios"):
            values = getattr(self, name)
            if not isinstance(values, tuple | list) or len(values) != len(self.targets):
                raise MatchError(f"{name} = {values!r:.60}: expected numbers in a tuple, one for each drop")

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
                The run's configuration must hold `lr`, `drop_steps` (pairs of an update and a factor) and `updates`,
                as `ultraslow train` notes them.

        Raises:
            ReferenceRunError: if a run has no drop, ends before one, or drops before the origin, or if the drops or
                batch sizes of the seeds differ.
            DifferentNetworksError: if their networks differ.
            CurveError: if nothing was recorded from the origin.
            SeedError: if one run is given twice, whose spread would be none.
        """
        check_switch(relative, "relative")
        check_switch(extrapolate, "extrapolate")
        group = curves(runs, origin=origin)
        check_differ(group)
        check_measured_alike(group)
        seeds = [Seed.read(curve, relative, extrapolate) for curve in group]
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
            warnings=tuple(sentence for curve in group for sentence in curve.warnings),
        )

    @property
    def phase_lengths(self) -> tuple[int, ...]:
        """Return the number of updates between drops; the first counts from w_0."""
        return tuple(np.diff((0, *self.drop_steps)).tolist())

    def matcher(
        self,
        drop: int = 0,
        since: float | None = None,
        *,
        bandwidth: float | None = None,
        min_step: int = TRANSIENT,
        budget: int | None = None,
    ) -> DistanceMatcher:
        """Return a matcher for one drop: for its distance from w_0, or for that travelled since the drop before it.

        Args:
            drop: number of the drop, from 0.
            since: the run's own distance at its drop before this one; the target then lies as far beyond it as the
                reference's distances lie apart.
            bandwidth: as for `DistanceMatcher`.
            min_step: likewise.
            budget: likewise.

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
        return DistanceMatcher(
            target,
            target_errors=self.target_errors[drop],
            origin=self.origin,
            bandwidth=bandwidth,
            min_step=min_step,
            budget=budget,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; None for what is unknown, such as errors from one seed."""
        return {name: jsonable(value) for name, value in asdict(self).items()} | {
            "phase_lengths": list(self.phase_lengths)
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, in this version or in an earlier one.

        Args:
            document: the fields, as JSON has them.

        Raises:
            MatchError: if one is missing.
        """
        if not isinstance(document, Mapping):
            raise MatchError(f"got {type(document).__name__}; expected what Reference.to_dict() returned")
        present = {cls.former_names.get(name, name): value for name, value in document.items()}
        values: dict[str, Any] = {one.name: present[one.name] for one in fields(cls) if one.name in present}
        for name in ("targets", "target_errors"):
            values[name] = [nan if value is None else value for value in values.get(name, ())]
        missing = [name for name in ("targets", "drop_steps", "ratios", "learning_rate") if not values.get(name)]
        if missing:
            raise MatchError(f"a reference without {missing[0]}; expected what Reference.to_dict() returned")
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values)

    def _summary(self) -> Sequence[Part]:
        unit = " (distances in units of ‖w_0‖)" if self.relative else ""
        origin = f", measured from update {self.origin}" if self.origin else ""
        rows = [
            (str(drop), str(step), f"{target:.4g}", f"{100 * error:.2g}" if isfinite(error) else "", f"{ratio:.4g}")
            for drop, (step, target, error, ratio) in enumerate(
                zip(self.drop_steps, self.targets, self.target_errors, self.ratios, strict=True), 1
            )
        ]
        return [f"learning-rate drops of {', '.join(self.names)}{unit}{origin}", Table(rows, _COLUMNS)]


Reference.__init__ = accept_former_keywords(**Reference.former_names)(Reference.__init__)  # type: ignore[method-assign]


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
