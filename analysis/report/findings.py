"""What a report says of runs: every result that can be had, and a sentence where one cannot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from analysis.curve import Curve
from analysis.errors import AnalysisError
from analysis.figures.lines import experiments
from analysis.fitting.comparison_result import Comparison
from analysis.fitting.fit import fit
from analysis.fitting.fit_result import Fit
from analysis.fitting.model_comparison import compare
from analysis.matching.match import Matching, match
from analysis.matching.reference import Reference
from analysis.motion.budget import MotionBudget, budget
from analysis.reading import curves
from trajectory.run import Run

Result = TypeVar("Result")


@dataclass(frozen=True)
class Findings:
    """Runs and what the analysis says of them.

    Attributes:
        runs: all runs, in the order given.
        groups: the curves by experiment, without runs of no distance.
        fits: by experiment, the ultra-slow law.
        comparisons: by experiment, the law beside its rivals.
        budgets: by experiment, the motion budget, where the runs recorded what it needs.
        reference: the experiment that the other runs are matched with; "" where no rate dropped.
        matchings: of the runs of other experiments, in order.
        warnings: what is to be known first: what recorders saw, which results there are not, and each fit's gravest.
        remarks: the results' further warnings.
    """

    runs: tuple[Run, ...]
    groups: Mapping[str, Sequence[Curve]]
    fits: Mapping[str, Fit]
    comparisons: Mapping[str, Comparison]
    budgets: Mapping[str, MotionBudget]
    reference: str
    matchings: tuple[Matching, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Findings":
        """Ask the analysis everything that these runs can answer.

        Args:
            runs: opened runs; those of one label are seeds of one experiment.

        Returns:
            The findings. What cannot be answered is a warning.
        """
        said = [f"{run.name}: {sentence}" for run in runs for sentence in run.warnings]
        said += [f"{run.name}: its status is {run.status}" for run in runs if run.status != "complete"]
        said += [f"{run.name}: no distance is recorded" for run in runs if not len(run.distance)]
        groups = experiments(curves([run for run in runs if len(run.distance)]) if any(map(_moved, runs)) else [])
        fits = _each(groups, fit, "no fit", said)
        comparisons = _each(groups, compare, "no comparison of laws", said)
        measured = {label: group for label, group in groups.items() if all(map(_records_updates, group))}
        budgets = _each(measured, budget, "no motion budget", said)
        reference = _reference(groups)
        matchings = _matchings(groups, reference, said)
        further: list[str] = []
        for label, result in ((k, v) for results in (fits, comparisons, budgets) for k, v in results.items()):
            listed = [f"{label}: {sentence}" for sentence in result.warnings]
            grave = listed[:1] if isinstance(result, Fit) else []
            said, further = said + grave, further + listed[len(grave) :]
        return cls(
            runs=tuple(runs),
            groups=groups,
            fits=fits,
            comparisons=comparisons,
            budgets=budgets,
            reference=reference,
            matchings=tuple(matchings),
            warnings=tuple(dict.fromkeys(said)),
            remarks=tuple(dict.fromkeys(further)),
        )


def _moved(run: Run) -> bool:
    return len(run.distance) > 0


def _records_updates(curve: Curve) -> bool:
    return curve.run is not None and "update_norm" in curve.run.quantities


def _each(
    groups: Mapping[str, list[Curve]], ask: Callable[[list[Curve]], Result], missing: str, said: list[str]
) -> dict[str, Result]:
    """Return the result of each experiment that has one; what the others lack is added to `said`."""
    found = {}
    for label, group in groups.items():
        try:
            found[label] = ask(group)
        except AnalysisError as error:
            said.append(f"{label}: {missing} ({error})")
    return found


def _reference(groups: Mapping[str, list[Curve]]) -> str:
    """Return the experiment of the smallest known batch whose rate dropped, or else the first whose rate did."""
    dropped = [label for label, group in groups.items() if all(curve.drops for curve in group)]
    return min(dropped, key=lambda label: groups[label][0].batch_size or float("inf"), default="")


def _matchings(groups: Mapping[str, list[Curve]], reference: str, said: list[str]) -> list[Matching]:
    others = [curve for label, group in groups.items() if label != reference for curve in group]
    if not reference or not others:
        return []
    try:
        target = Reference.from_runs(groups[reference])
    except AnalysisError as error:
        said.append(f"{reference}: no reference to match with ({error})")
        return []
    found = []
    for curve in others:
        try:
            found.append(match(target, curve))
        except AnalysisError as error:
            said.append(f"{curve.name}: not matched ({error})")
    return found
