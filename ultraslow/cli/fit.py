"""`ultraslow fit`: the exponent of the ultra-slow law, with its confidence interval."""

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


def fit(
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
    per_layer: bool = False,
    plot: File = None,
    columns: Columns = 1,
    force: bool = False,
    json: bool = False,
) -> None:
    """Fit the ultra-slow law ‖w_t − w_0‖ ~ (log t)^(2/α), and print α, its confidence interval and warnings.

    Several runs are taken for seeds of one experiment. From three on, the interval comes from their spread.

    $ ultraslow fit runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr --t-min 100

    Args:
        run: a run's store: a folder, or a URL; or a table or log of distances: .csv (columns step and distance;
            several columns are seeds), .tsv, .parquet, trackio's .db, TensorBoard's event files.
        runs: further seeds of the same experiment.
        t_min: first update that is used. Default: the earliest start from which the law holds.
        t_max: last update that is used. Default: the first learning-rate drop.
        origin: measure the distance from this update; every t then counts from it. Default: of runs the oldest
            recorded origin after which two decades of t are left, or else update 0.
        origins: average each run over these origins, or over all that are 5 memory times of weight decay old.
        scalar: name of the distance in a table or log. Default: distance, or the only column.
        directions: measure the angle alone, of weights of two or more dimensions but the last; needs the norm.
        confidence_level: confidence level of the interval, between 0 and 1.
        per_layer: fit each parameter on its own, and print a table of α.
        plot: also draw the data, the fit and the residuals, or α of each parameter, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        force: take runs whose settings differ for seeds of one experiment all the same.
        json: print one JSON document instead of a table.
    """
    from analysis import fit as fit_runs
    from analysis import fit_layers
    from analysis.serialize import records

    mean = averaged([run, *runs], origins, origin, t_min, t_max, force, directions)
    paths = fitted_curves([run, *runs], scalar, origin, mean, directions)
    if per_layer:
        with plain_warnings():
            frame = fit_layers(
                paths, t_min=t_min, t_max=t_max, confidence_level=confidence_level, origin=origin, force=force
            )
        if plot is not None:
            from analysis import figures

            figures.save(figures.layers(frame, columns=columns), plot)
        said = [*filter(None, [mean]), frame.attrs["age"], frame.to_string()]
        print_json(records(frame.reset_index())) if json else say(*said)
        return
    result = fit_runs(paths, t_min=t_min, t_max=t_max, confidence_level=confidence_level, origin=origin, force=force)
    if plot is not None:
        from analysis import figures

        figures.save(figures.fit(result, columns=columns), plot)
    if json:
        print_json(result.to_dict() | ({"average": mean.to_dict()} if mean else {}))
    else:
        say(*filter(None, [mean]), result)
