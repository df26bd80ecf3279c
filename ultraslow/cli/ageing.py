"""`ultraslow ageing`: does the walk slow down with its age?"""

from ultraslow.cli.arguments import Columns, File, MoreRuns, RunPath
from ultraslow.cli.console import print_json
from ultraslow.cli.landscape import check_plot, say


def ageing(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    start: int = 1,
    plot: File = None,
    columns: Columns = 2,
    force: bool = False,
    json: bool = False,
) -> None:
    """Print the exponent that makes one curve of displacements from several waiting times, over τ/t_w^μ.

    μ is 0 where the motion does not age, and 1 where the logarithm of time alone counts. Waiting times are the run's
    origins, or the steps of its sketches. Where sketches are evenly spaced, squared displacements averaged over time
    follow, and from two runs on how much they differ (ergodicity breaking).

    $ ultraslow train f1-digits --origins 30 100 300 1000 --out runs/sb.zarr
    $ ultraslow ageing runs/sb.zarr --plot ageing.pdf

    Args:
        run: a run's store: a folder, or a URL.
        runs: further seeds of the same experiment.
        start: first step of the averages over time.
        plot: also draw the displacements, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        force: take runs whose settings differ for seeds of one experiment all the same.
        json: print one JSON document instead of tables.
    """
    from analysis import time_averaged, two_time
    from analysis.errors import MotionError

    check_plot(plot)
    paths = [run, *runs]
    result = two_time(paths, force=force)
    averages, why_not = None, ""
    try:
        averages = time_averaged(paths, start=start, force=force)
    except MotionError as error:  # no sketches, or not evenly spaced ones
        why_not = f"no averages over time: {error}"
    if json:
        print_json({"two_time": result.to_dict(), "time_averaged": averages.to_dict() if averages else None})
        say(why_not)
    else:
        print(result, averages or why_not, sep="\n\n")
    if plot is not None:
        from analysis import figures

        figures.save(figures.ageing(result, columns=columns), plot)
