"""`ultraslow origins`: is α the same from several origins?"""

from typing import Annotated

from tyro.conf import arg

from ultraslow.cli.arguments import Columns, File, MoreRuns, RunPath, Updates
from ultraslow.cli.console import plain_warnings, print_json, say


def origins(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    origins: Annotated[tuple[int, ...], arg(metavar="T [T ...]", help_behavior_hint="")] = (),
    t_min: Updates = None,
    t_max: Updates = None,
    directions: bool = False,
    plot: File = None,
    columns: Columns = 1,
    force: bool = False,
    json: bool = False,
) -> None:
    """Print α from several origins on one range of t, and test seed by seed whether it is the same.

    Under one law of the motion it is. `ultraslow fit --origins all` averages over origins instead.

    $ ultraslow origins runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr

    Args:
        run: a run's store: a folder, or a URL.
        runs: further seeds of the same experiment, three or more in all.
        origins: the updates to measure from. Default: all recorded ones that leave two decades of t.
        t_min: first update that is used, counted from each origin. Default: the latest that `ultraslow fit` takes.
        t_max: last update that is used, counted from each origin. Default: what all origins reach.
        directions: measure the angle alone, of weights of two or more dimensions but the last; needs the norm.
        plot: also draw α from each origin, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        force: take runs whose settings differ for seeds of one experiment all the same.
        json: print one JSON document instead of a table.
    """
    from analysis import compare_origins
    from analysis import directions as read_directions

    data = list(read_directions([run, *runs])) if directions else [run, *runs]
    with plain_warnings():
        result = compare_origins(data, origins or None, t_min=t_min, t_max=t_max, force=force)
    if plot is not None:
        from analysis import figures

        figures.save(figures.origins(result, columns=columns), plot)
    print_json(result.to_dict()) if json else say(result)
