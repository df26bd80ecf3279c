"""`ultraslow critical-batch`: beyond which batch do more samples an update no longer save updates?"""

from ultraslow.cli.arguments import Columns, File, MoreRuns, Origin, RunPath
from ultraslow.cli.console import print_json, say


def critical_batch(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    distance: float | None = None,
    loss: float | None = None,
    metric: str = "loss",
    origin: Origin = 0,
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Fit S(B) = S_min (1 + B_c/B) to the updates that runs of several batch sizes B take to a loss or a distance.

    docs/critical-batch.toml is a sweep of branches off a snapshot, for the critical batch size there.

    $ ultraslow critical-batch runs/critical-batch/*-branch-*.zarr --loss 0.5

    Args:
        run: a run's store: a folder, or a URL.
        runs: further runs, of other batch sizes and seeds.
        distance: the distance that every run reaches.
        loss: the loss that every run reaches, instead of a distance.
        metric: the logged quantity that the loss is a value of, such as validation_loss.
        origin: measure the distance from this update; every t then counts from it.
        plot: also draw the updates and the fit, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        json: print one JSON document, with the updates of each run, instead of a table.
    """
    from analysis import critical_batch_size

    result = critical_batch_size([run, *runs], distance=distance, loss=loss, metric=metric, origin=origin)
    if plot is not None:
        from analysis import figures

        figures.save(figures.critical_batch(result, columns=columns), plot)
    print_json(result.to_dict()) if json else say(result)
