"""`ultraslow scan`: the fit as a function of the first update used."""

from ultraslow.cli.arguments import (
    AnyOrigin,
    Columns,
    File,
    MoreRuns,
    Origins,
    RunPath,
    Scalar,
    Updates,
    averaged,
    fitted_curves,
)
from ultraslow.cli.console import plain_warnings, print_json, say


def scan(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: AnyOrigin = None,
    origins: Origins = (),
    scalar: Scalar = None,
    directions: bool = False,
    confidence_level: float = 0.95,
    plot: File = None,
    columns: Columns = 1,
    force: bool = False,
    json: bool = False,
) -> None:
    """Fit the ultra-slow law from every start, and print α, its confidence interval and the p-value of each fit.

    $ ultraslow scan runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr --plot scan.pdf

    Args:
        run: a run's store: a folder, or a URL; or a table or log of distances: .csv (columns step and distance;
            several columns are seeds), .tsv, .parquet, trackio's .db, TensorBoard's event files.
        runs: further seeds of the same experiment.
        t_min: first start that is tried.
        t_max: last update that is used. Default: the first learning-rate drop.
        origin: measure the distance from this update; every t then counts from it. Default: of runs the oldest
            recorded origin after which two decades of t are left, or else update 0.
        origins: average each run over these origins, or over all that are 5 memory times of weight decay old.
        scalar: name of the distance in a table or log. Default: distance, or the only column.
        directions: measure the angle alone, of weights of two or more dimensions but the last; needs the norm.
        confidence_level: confidence level of the intervals, between 0 and 1.
        plot: also draw the scan, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        force: take runs whose settings differ for seeds of one experiment all the same.
        json: print one JSON document instead of a table.
    """
    from analysis import scan as scan_runs
    from analysis.serialize import records

    mean = averaged([run, *runs], origins, origin, t_min, t_max, force, directions)
    with plain_warnings():
        frame = scan_runs(
            fitted_curves([run, *runs], scalar, origin, mean, directions),
            t_min=t_min,
            t_max=t_max,
            confidence_level=confidence_level,
            origin=origin,
            force=force,
        )
    if plot is not None:
        from analysis import figures

        figures.save(figures.scan(frame, columns=columns), plot)
    if json:
        print_json(records(frame.assign(origin=frame.attrs["origin"], origin_age=frame.attrs["origin_age"])))
        return
    known = frame.attrs
    said = [mean, f"{known['age']}; expected there: {known['expected']}", known["origin_choice"]]
    shown = frame.drop(columns=["t_min_age", "t_max_age"])
    say(*filter(None, said), shown.to_string(index=False, float_format="{:.4g}".format))
