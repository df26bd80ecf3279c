"""`ultraslow match`: when a run reaches the distances of another's learning-rate drops."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ultraslow.cli.arguments import Columns, Count, File, Origin, RunPath, Seeds
from ultraslow.cli.console import print_json, say

if TYPE_CHECKING:
    from analysis import Equivalence

MARGIN = 0.05  # analysis.matching.equivalence.MARGIN


def match(
    reference: Annotated[str, Positional, arg(metavar="REFERENCE")],
    run: RunPath,
    *,
    seeds: Seeds = (),
    origin: Origin = 0,
    extrapolate: bool = False,
    min_step: Count = None,
    equivalent: bool = False,
    run_seeds: Seeds = (),
    margin: float = MARGIN,
    per: Annotated[Literal["updates", "samples"], arg(metavar="{updates,samples}")] = "updates",
    force: bool = False,
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Find when RUN reaches the distances that REFERENCE had travelled at its learning-rate drops.

    If RUN has not reached the first of them yet, a forecast follows, with an interval and a back-test.

    With --equivalent, the two distance curves are compared over the constant-rate phase instead: is their largest
    deviation within the margin, by the spread of the seeds?

    $ ultraslow match runs/sb-0.zarr runs/lb.zarr --seeds runs/sb-1.zarr runs/sb-2.zarr

    Args:
        reference: store of a run with a learning-rate drop.
        run: store of the run that is compared with it.
        seeds: stores of further seeds of the reference.
        origin: measure both runs from this update, after the initial transient.
        extrapolate: if the reference ends before its drop, continue its law up to there.
        min_step: update before which no distance counts. Default: 100, or the end of RUN's warm-up if that is later.
        equivalent: say whether both travel the same path; no drop is needed.
        run_seeds: with --equivalent, stores of further seeds of RUN.
        margin: with --equivalent, the deviation in log d that counts as none.
        per: with --equivalent, compare after as many updates, or after as many samples.
        force: with --equivalent, take runs whose settings differ for seeds of one experiment all the same.
        plot: also draw both curves, the targets, the crossing and the forecast, or the deviations, to this file
            (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        json: print one JSON document instead of a table.
    """
    from analysis import AnalysisError, Status, predict_match
    from analysis import equivalent as compare_paths
    from analysis import match as match_runs

    if equivalent:
        if extrapolate or min_step is not None:
            raise AnalysisError("got equivalent with extrapolate or min_step, which are for drops; leave one out")
        given = [reference, *seeds], [run, *run_seeds]
        path = compare_paths(*given, margin=margin, per=per, origin=origin, force=force)
        _show_equivalence(path, plot, columns, json)
        return
    if run_seeds or per != "updates" or margin != MARGIN or force:
        raise AnalysisError(
            "got run_seeds, per, margin or force without equivalent; add --equivalent to compare the curves"
        )
    result = match_runs([reference, *seeds], run, origin=origin, extrapolate=extrapolate, min_step=min_step)
    forecast, why_not = None, ""
    if result.matches[0].status in (Status.WAITING, Status.ARMED, Status.NEVER_REACHED):
        try:
            forecast = predict_match(run, result.reference)
        except AnalysisError as error:
            why_not = f"no forecast: {error}"
    if plot is not None:
        from analysis import figures

        figures.save(figures.match(result, [reference, *seeds], run, forecast, columns=columns), plot)
    if json:
        print_json({**result.to_dict(), "forecast": forecast.to_dict() if forecast else None})
    else:
        say(*filter(None, [result, forecast, why_not]))


def _show_equivalence(result: "Equivalence", plot: Path | None, columns: Literal[1, 2], json: bool) -> None:
    if plot is not None:
        from analysis import figures

        figures.save(figures.equivalent(result, columns=columns), plot)
    print_json(result.to_dict()) if json else say(result)
