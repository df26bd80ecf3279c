"""`ultraslow report`: one page of runs."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from ultraslow.cli.arguments import MoreRuns, RunPath
from ultraslow.cli.console import say


def report(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    out: Annotated[Path, arg(metavar="FILE")] = Path("report.html"),
    landscape: Annotated[tuple[Path, ...], arg(metavar="FILE [FILE ...]", help_behavior_hint="")] = (),
) -> None:
    """Write one HTML page of runs that opens without a network: what was found, warnings first, and charts.

    It holds what info, fit, scan, compare, match and budget say, and how far weight decay's equilibrium is reached.
    Runs of one label are seeds of one experiment; those of other labels are matched with the experiment of the
    smallest batch whose learning rate dropped. It needs the extra `report`.

    $ ultraslow report runs/sb.zarr runs/lb.zarr --out report.html

    Args:
        run: a run's store, or a folder of them.
        runs: further runs.
        out: the file to write.
        landscape: also show what potential, sharpness, spectrum or path printed with --json, from these files.
    """
    from analysis.report import write_report

    write_report([run, *runs], out, landscape)
    say(out)
