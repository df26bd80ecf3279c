"""`ultraslow match`: when a run reaches the distances of another's learning-rate drops."""

from typing import Annotated

from tyro.conf import Positional, arg

from ultraslow.cli.arguments import Count, File, Origin, RunPath, Seeds
from ultraslow.cli.console import print_json, say


def match(
    reference: Annotated[str, Positional, arg(metavar="REFERENCE")],
    run: RunPath,
    *,
    seeds: Seeds = (),
    origin: Origin = 0,
    extrapolate: bool = False,
    min_step: Count = None,
    plot: File = None,
    json: bool = False,
) -> None:
    """Find when RUN reaches the distances that REFERENCE had travelled at its learning-rate drops.

    If RUN has not reached the first of them yet, a forecast follows, with an interval and a back-test.

    $ ultraslow match runs/sb-0.zarr runs/lb.zarr --seeds runs/sb-1.zarr runs/sb-2.zarr

    Args:
        reference: store of a run with a learning-rate drop.
        run: store of the run that is compared with it.
        seeds: stores of further seeds of the reference.
        origin: measure both runs from this update, after the initial transient.
        extrapolate: if the reference ends before its drop, continue its law up to there.
        min_step: update before which no distance counts. Default: 100, or the end of RUN's warm-up if that is later.
        plot: also draw both curves, the targets, the crossing and the forecast, to this file (.png, .pdf, .svg).
        json: print one JSON document instead of a table.
    """
    from analysis import AnalysisError, Status, predict_match
    from analysis import match as match_runs

    result = match_runs([reference, *seeds], run, origin=origin, extrapolate=extrapolate, min_step=min_step)
    forecast, why_not = None, ""
    if result.matches[0].status in (Status.WAITING, Status.ARMED, Status.NEVER_REACHED):
        try:
            forecast = predict_match(run, result.reference)
        except AnalysisError as error:
            why_not = f"no forecast: {error}"
    if plot is not None:
        from analysis import figures

        figures.save(figures.match(result, [reference, *seeds], run, forecast), plot)
    if json:
        print_json({**result.to_dict(), "forecast": forecast.to_dict() if forecast else None})
    else:
        say(*filter(None, [result, forecast, why_not]))
