"""`ultraslow collapse`: one distance curve for all learning rates and batch sizes?"""

from ultraslow.cli.arguments import Columns, File, MoreRuns, Origin, RunPath, Updates
from ultraslow.cli.console import print_json, say


def collapse(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: Origin = 0,
    plot: File = None,
    columns: Columns = 2,
    json: bool = False,
) -> None:
    """Fit d = f(t) η^a B^−b to runs of several learning rates η and batch sizes B, and print a and b.

    $ ultraslow collapse runs/f1-digits-*.zarr

    Args:
        run: a run's store: a folder, or a URL.
        runs: further runs, of other learning rates, batch sizes and seeds.
        t_min: first update that is used. Default: the end of the warm-up.
        t_max: last update that is used. Default: the first learning-rate drop.
        origin: measure the distance from this update; every t then counts from it.
        plot: also draw the runs before and after, and the exponents, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        json: print one JSON document, with the exponents at each t, instead of a table.
    """
    from analysis import collapse as collapse_runs

    result = collapse_runs([run, *runs], t_min=t_min, t_max=t_max, origin=origin)
    if plot is not None:
        from analysis import figures

        figures.save(figures.collapse(result, columns=columns), plot)
    print_json(result.to_dict()) if json else say(result)
