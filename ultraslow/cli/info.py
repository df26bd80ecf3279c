"""`ultraslow info`: what a run's store holds."""

from ultraslow.cli.arguments import RunPath
from ultraslow.cli.console import print_json, print_values


def info(run: RunPath, *, json: bool = False) -> None:
    """Show what a run's store holds: its status, distances, snapshots, events and configuration.

    $ ultraslow info runs/sb.zarr

    Args:
        run: a run's store: a folder, or a URL.
        json: print one JSON document instead of a table.
    """
    from trajectory import Run
    from trajectory.summary import summary_rows

    found = Run(run).to_dict()
    if json:
        print_json(found)
    else:
        print_values(dict(summary_rows(found)))
