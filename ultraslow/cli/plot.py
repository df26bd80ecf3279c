"""`ultraslow plot`: figures of runs."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ultraslow.cli.arguments import MoreRuns, RunPath


def plot(
    figure: Annotated[str, Positional, arg(metavar="FIGURE")],
    run: RunPath,
    runs: MoreRuns = (),
    *,
    out: Annotated[Path, arg(metavar="FILE")],
    training: bool = False,
    zoom: Annotated[float | None, arg(metavar="FROM")] = None,
) -> None:
    """Draws a figure of runs: distance[-linear|-log|-adaptation], error[-epoch|-updates|-time], fit, scan, ...

    distance-adaptation: before and after the large batches' adaptation, side by side. Also compare and match.

    $ ultraslow plot distance runs/sb.zarr runs/lb.zarr --out distance.pdf

    Args:
        figure: which figure.
        run: a run's store, or a folder of them.
        runs: further runs; runs with one label are drawn as seeds of one experiment.
        out: the file to write; its suffix (.png, .pdf, .svg) is the format.
        training: of an error, draw that of the training beside it.
        zoom: of an error, also draw its end from here on, in epochs, updates or minutes.
    """
    from analysis import figures, runs_in

    options = {"training": training or None, "zoom": zoom}
    given = {name: value for name, value in options.items() if value is not None}
    for path in figures.save(figures.draw(figure, runs_in([run, *runs]), **given), out):
        print(path)
