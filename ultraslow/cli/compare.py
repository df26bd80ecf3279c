"""`ultraslow compare`: the ultra-slow law beside its rivals."""

from typing import Annotated

from tyro.conf import arg

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
from ultraslow.cli.console import print_json, say


def compare(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: AnyOrigin = None,
    origins: Origins = (),
    scalar: Scalar = None,
    directions: bool = False,
    laws: Annotated[tuple[str, ...], arg(metavar="LAW [LAW ...]", help_behavior_hint="")] = (),
    plot: File = None,
    columns: Columns = 1,
    force: bool = False,
    json: bool = False,
) -> None:
    """Compare the ultra-slow law with its rivals on the same updates, under the same correlated noise.

    The table says which law fits best, and which others cannot be told apart from it.

    $ ultraslow compare runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr --plot laws.pdf

    Args:
        run: a run's store: a folder, or a URL; or a table or log of distances: .csv (columns step and distance;
            several columns are seeds), .tsv, .parquet, trackio's .db, TensorBoard's event files.
        runs: further seeds of the same experiment.
        t_min: first update that is used. Default: where `ultraslow fit` starts.
        t_max: last update that is used. Default: the first learning-rate drop.
        origin: measure the distance from this update; every t then counts from it. Default: of runs the oldest
            recorded origin after which two decades of t are left, or else update 0.
        origins: average each run over these origins, or over all that are 5 memory times of weight decay old.
        scalar: name of the distance in a table or log. Default: distance, or the only column.
        directions: measure the angle alone, of weights of two or more dimensions but the last; needs the norm.
        laws: names of the laws to compare. Default: all.
        plot: also draw the data, the laws and the residuals, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        force: take runs whose settings differ for seeds of one experiment all the same.
        json: print one JSON document instead of a table.
    """
    from analysis import compare as compare_laws

    mean = averaged([run, *runs], origins, origin, t_min, t_max, force, directions)
    curves = fitted_curves([run, *runs], scalar, origin, mean, directions)
    result = compare_laws(curves, laws or None, t_min=t_min, t_max=t_max, origin=origin, force=force)
    if plot is not None:
        from analysis import figures

        figures.save(figures.compare(result, columns=columns), plot)
    if json:
        print_json(result.to_dict() | ({"average": mean.to_dict()} if mean else {}))
    else:
        say(*filter(None, [mean]), result)
