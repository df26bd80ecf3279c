"""`ultraslow fit`: the exponent of the ultra-slow law, with its confidence interval."""

from ultraslow.cli.arguments import Columns, File, MoreRuns, Origin, RunPath, Updates
from ultraslow.cli.console import print_json


def fit(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: Origin = 0,
    confidence_level: float = 0.95,
    per_layer: bool = False,
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Fits ‖w_t − w_0‖ ~ (log t)^(2/α): α, its interval, and what to be wary of.

    Several runs are taken for seeds of one experiment; three or more give the interval from their spread.

    $ ultraslow fit runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr --t-min 100

    Args:
        run: a run's store.
        runs: further seeds.
        t_min: first update used; default: the earliest start at which the law holds.
        t_max: last update used; default: the first learning-rate drop.
        origin: measure from this update; every t then counts from it.
        confidence_level: of the interval.
        per_layer: one α for each parameter.
        plot: also draw data, fit and residuals to this file (.png, .pdf, .svg).
        columns: the figure's width in columns of a two-column journal.
        json: print one JSON document instead of a table.
    """
    from analysis import fit as fit_runs
    from analysis import fit_layers
    from analysis.serialize import records

    paths = [run, *runs]
    if per_layer:
        frame = fit_layers(paths, t_min=t_min, t_max=t_max, confidence_level=confidence_level, origin=origin)
        print_json(records(frame.reset_index())) if json else print(frame.to_string())
        return
    result = fit_runs(paths, t_min=t_min, t_max=t_max, confidence_level=confidence_level, origin=origin)
    if plot is not None:
        from analysis import figures

        figures.save(figures.fit(result, columns=columns), plot)
    print_json(result.to_dict()) if json else print(result)
