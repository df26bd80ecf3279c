"""Figure 2 of Hoffer, Hubara, Soudry 2017: distances before and after the large batch's adaptation."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.curve import Curve, CurvesLike
from analysis.errors import FigureError
from analysis.figures.axes import distance_label, t_axis, updates
from analysis.figures.legends import legend, legend_inside
from analysis.figures.lines import draw_distances, experiments, line_styles, with_legend
from analysis.figures.style import WIDTHS, Columns, PaperFigure, style
from analysis.reading import curves
from train.configs.former_names import current_names

_Side = dict[str, list[Curve]]  # the seeds of each label


def distance_adaptation(runs: CurvesLike, ax: tuple[Axes, Axes] | None = None, *, columns: Columns = 2) -> Figure:
    """Draw distances before and after the large batch's adaptation side by side.

    Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), figure 2. Left: the small batch, and large batches without
    learning-rate rule or ghost batch normalization. Right: the small batch, and those with either. Lines have the
    labels, colours and dashes that they have in all figures of these runs.

    Args:
        runs: runs of `ultraslow train`, or paths of them.
        ax: draw on these two panels.
        columns: the figure's width in columns of a two-column journal; in one, the panels lie below each other.

    Returns:
        The figure, or that of `ax`.

    Raises:
        FigureError: for a run without configuration, or if one side has no large batch.
    """
    group = sorted(curves(runs), key=_batch_size)
    sides = _sides(group)
    styles = line_styles(experiments(group))
    with style():
        figure, axes = _panels(columns) if ax is None else (ax[0].figure.figure, ax)
        for panel, side, title in zip(axes, sides, ("unadapted", "adapted"), strict=True):
            draw_distances(panel, with_legend(side, styles))
            panel.set(xlabel=updates(), ylabel=distance_label(), title=title)
            t_axis(panel, logarithmic=True)
        for panel in axes:  # which share an axis: its limits hold what is drawn on both
            panel.set_ylim(bottom=0)
        if ax is None:
            legend(figure, each=True)
        else:
            for panel in axes:
                legend_inside(panel)
    return figure


def _panels(columns: Columns) -> tuple[Figure, Sequence[Axes]]:
    figure = PaperFigure(WIDTHS[columns], 2.7 * (3 - columns))
    rows_by_columns = (1, 2) if columns == 2 else (2, 1)
    return figure, figure.subplots(*rows_by_columns, sharex=True, sharey=True).tolist()


def _sides(group: list[Curve]) -> tuple[_Side, _Side]:
    """Return the curves of the left and of the right side, small batches first."""
    sides: tuple[_Side, _Side] = ({}, {})
    for label, seeds in experiments(group).items():
        for curve in seeds:
            config = _config(curve)
            adapted = config.get("lr_scaling", "none") != "none" or config.get("ghost_batch_size") is not None
            for side in sides if _is_small(curve) else (sides[adapted],):
                side.setdefault(label, []).append(curve)
    for k, side in enumerate(sides):
        if all(_is_small(seeds[0]) for seeds in side.values()):
            what = "with a learning-rate rule or ghost batches" if k else "with neither learning-rate rule nor ghosts"
            raise FigureError(f"no large batch {what} is among the runs; expected one for that side of the figure")
    return sides


def _is_small(curve: Curve) -> bool:
    return _batch_size(curve) <= _config(curve).get("base_batch_size", 0)


def _batch_size(curve: Curve) -> int:
    if curve.batch_size is None:
        raise FigureError(f"{curve.name}: its batch size is not on record; expected a run of `ultraslow train`")
    return curve.batch_size


def _config(curve: Curve) -> dict[str, Any]:
    return current_names(curve.run.config if curve.run is not None else {})
