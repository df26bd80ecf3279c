"""Figures of runs: plot."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ultraslow.arguments import MoreRuns, RunPath


def plot(
    figure: Annotated[str, Positional, arg(metavar="FIGURE")],
    run: RunPath,
    runs: MoreRuns = (),
    *,
    out: Annotated[Path, arg(metavar="FILE")],
) -> None:
    """Draws a figure of runs: distance[-linear|-log], error[-updates|-epochs], fit, scan, compare, match.

    $ ultraslow plot distance runs/sb.zarr runs/lb.zarr --out distance.pdf

    Args:
        figure: which figure.
        run: a run's store.
        runs: further runs; runs with one label are drawn as seeds of one experiment.
        out: the file to write; its suffix (.png, .pdf, .svg) is the format.
    """
    from analysis import figures

    for path in figures.save(figures.draw(figure, [run, *runs]), out):
        print(path)
