"""What a report says of runs: every result that can be had, and a sentence where one cannot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import TypeVar

from analysis.curve import Curve
from analysis.errors import AnalysisError
from analysis.figures.lines import experiments
from analysis.fitting.age import shortest_memory
from analysis.fitting.comparison_result import Comparison
from analysis.fitting.fit import fit
from analysis.fitting.fit_result import Fit
from analysis.fitting.model_comparison import compare
from analysis.matching.forecast import Forecast, predict_match
from analysis.matching.match import Matching, match
from analysis.matching.outcome import Status
from analysis.matching.reference import Reference
from analysis.motion.budget import MotionBudget, budget
from analysis.motion.equilibrium import Equilibrium, equilibrium
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
        memories: by experiment with weight decay, the updates over which it lets the weights forget.
        equilibria: by experiment, how near weight decay and gradients are to their balance, where the runs recorded
            what it needs.
        reference: the experiment that the other runs are matched with; "" where no rate dropped.
        matchings: of the runs of other experiments, in order.
        forecasts: of each of them, when it will match; None where it did, or where that cannot be said.
        warnings: what is to be known first: what recorders saw, which results there are not, and each fit's gravest.
        remarks: the results' further warnings.
    """

    runs: tuple[Run, ...]
    groups: Mapping[str, Sequence[Curve]]
    fits: Mapping[str, Fit]
    comparisons: Mapping[str, Comparison]
    budgets: Mapping[str, MotionBudget]
    memories: Mapping[str, float]
    equilibria: Mapping[str, Equilibrium]
    reference: str
    matchings: tuple[Matching, ...]
    forecasts: tuple[Forecast | None, ...]
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
        fits = _each(groups, lambda group: fit(_runs(group)), "no fit", said)
        comparisons = _each(groups, lambda group: compare(_runs(group)), "no comparison of laws", said)
        budgets = _each(_recording(groups, "update_norm"), budget, "no motion budget", said)
        memories = {label: time for label, group in groups.items() if isfinite(time := shortest_memory(group) or inf)}
        decaying = {label: groups[label] for label in memories}
        equilibria = _each(_recording(decaying, "update_norm", "norm"), equilibrium, "no equilibrium", said)
        reference = _reference(groups)
        matchings, forecasts = _matchings(groups, reference, said)
        further: list[str] = []
        every = (fits, comparisons, budgets, equilibria)
        for label, result in ((k, v) for results in every for k, v in results.items()):
            listed = [f"{label}: {sentence}" for sentence in result.warnings]
            grave = listed[:1] if isinstance(result, Fit) else []
            said, further = said + grave, further + listed[len(grave) :]
        return cls(
            runs=tuple(runs),
            groups=groups,
            fits=fits,
            comparisons=comparisons,
            budgets=budgets,
            memories=memories,
            equilibria=equilibria,
            reference=reference,
            matchings=tuple(matchings),
            forecasts=tuple(forecasts),
            warnings=tuple(dict.fromkeys(said)),
            remarks=tuple(dict.fromkeys(further)),
        )


def _moved(run: Run) -> bool:
    return len(run.distance) > 0


def _runs(group: Sequence[Curve]) -> list[Run]:
    """Return the runs of curves: from runs `fit` takes the oldest origin that leaves enough, and not w_0."""
    return [curve.run for curve in group if curve.run is not None]


def _recording(groups: Mapping[str, list[Curve]], *quantities: str) -> dict[str, list[Curve]]:
    """Return the experiments all of whose runs recorded these quantities."""
    return {
        label: group
        for label, group in groups.items()
        if all(curve.run is not None and set(quantities) <= set(curve.run.quantities) for curve in group)
    }


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


def _matchings(
    groups: Mapping[str, list[Curve]], reference: str, said: list[str]
) -> tuple[list[Matching], list[Forecast | None]]:
    """Return what became of every run outside the reference, and its forecast where it has not matched."""
    others = [curve for label, group in groups.items() if label != reference for curve in group]
    if not reference or not others:
        return [], []
    try:
        target = Reference.from_runs(groups[reference])
    except AnalysisError as error:
        said.append(f"{reference}: no reference to match with ({error})")
        return [], []
    found, forecasts = [], []
    for curve in others:
        try:
            found.append(match(target, curve))
        except AnalysisError as error:
            said.append(f"{curve.name}: not matched ({error})")
        else:
            forecasts.append(_forecast(curve, target, found[-1], said))
    return found, forecasts


def _forecast(curve: Curve, target: Reference, found: Matching, said: list[str]) -> Forecast | None:
    """Forecast the match of a run that is below the target and keeps its rate."""
    if curve.drops or found.matches[0].status not in (Status.WAITING, Status.ARMED, Status.NEVER_REACHED):
        return None
    try:
        return predict_match(curve, target)
    except AnalysisError as error:
        said.append(f"{curve.name}: no forecast of its match ({error})")
        return None
