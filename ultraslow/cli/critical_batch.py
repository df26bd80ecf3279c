"""`ultraslow critical-batch`: beyond which batch do more samples an update no longer save updates?"""

from ultraslow.cli.arguments import MoreRuns, Origin, RunPath
from ultraslow.cli.console import print_json, say


def critical_batch(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    distance: float,
    origin: Origin = 0,
    json: bool = False,
) -> None:
    """Fit S(B) = S_min (1 + B_c/B) to the updates after which runs of several batch sizes B reach a distance.

    $ ultraslow critical-batch runs/f1-digits-*.zarr --distance 5

    Args:
        run: a run's store: a folder, or a URL.
        runs: further runs, of other batch sizes and seeds.
        distance: the distance that every run reaches.
        origin: measure the distance from this update; every t then counts from it.
        json: print one JSON document, with the updates of each run, instead of a table.
    """
    from analysis import critical_batch_size

    result = critical_batch_size([run, *runs], distance=distance, origin=origin)
    print_json(result.to_dict()) if json else say(result)
