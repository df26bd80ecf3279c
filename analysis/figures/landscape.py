"""Figures of the loss landscape: sharpness, the Hessian's density, paths, rising directions.

The results of `analysis.landscape` are named for type checkers alone: figures are drawn without torch.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.errors import FigureError
from analysis.figures.axes import minus, short_log_ticks
from analysis.figures.colours import COLOURS, DASHES, ink
from analysis.figures.legends import legend, legend_inside
from analysis.figures.lines import literal
from analysis.figures.random_potential import hollow
from analysis.figures.style import WIDTHS, Columns, PaperFigure, one_panel, panels, style

if TYPE_CHECKING:
    from analysis.landscape import LossPath, SpectralDensity


def sharpness(table: pd.DataFrame, ax: Axes | None = None, *, columns: Columns | None = None) -> Figure:
    """Draw φ by seed, a panel for each measure, a colour for each label, filled for batch statistics.

    Args:
        table: a row for each measurement: `label`, what the run is; `measure`, how φ was measured; `statistics`,
            "running" or "batch"; and `phi`.
        ax: draw there, one measure.
        columns: the figure's width in columns of a two-column journal; None for what its panels need.

    Returns:
        The figure, or that of `ax`.

    Raises:
        FigureError: for several measures on one `ax`.

    Examples:
        >>> import pandas as pd
        >>> from analysis import figures
        >>> row = {"label": "SB", "measure": "box 0.001, ascent", "statistics": "batch", "phi": 3.0}
        >>> len(figures.sharpness(pd.DataFrame([row])).axes)
        1
    """
    labels, count = list(dict.fromkeys(table["label"])), table["measure"].nunique()
    if ax is not None and count > 1:
        raise FigureError(f"got {count} measures of sharpness for one ax; expected the rows of one measure")
    with style():
        figure, axes = panels(count, columns) if ax is None else (ax.figure.figure, [ax])
        for panel, (measure, rows) in zip(axes, table.groupby("measure", sort=False), strict=True):
            for statistics, some in rows.groupby("statistics"):
                aside = 0.08 if statistics == "batch" else -0.08
                places = [labels.index(label) + aside for label in some["label"]]
                filled = {"markerfacecolor": COLOURS[0]} if statistics == "batch" else {}
                drawn = hollow(COLOURS[0]) | {"label": f"{statistics} statistics, a point a seed"} | filled
                panel.plot(places, some["phi"].to_numpy(), **drawn)
            positive = bool((rows["phi"] > 0).all())
            panel.set(title=measure, yscale="log" if positive else "linear", xlim=(-0.6, len(labels) - 0.4))
            if positive:
                short_log_ticks(panel.yaxis)
            panel.set_xticks(range(len(labels)), [literal(label) for label in labels], **_slanted(panel, labels))
            panel.set_xlabel("run")
            place = panel.get_subplotspec()
            if ax is not None or place is None or place.is_first_col():
                panel.set_ylabel(r"sharpness $\varphi$")
        legend(figure) if ax is None else legend_inside(ax)
    return figure


def _slanted(panel: Axes, labels: Sequence[str]) -> dict[str, Any]:
    """Return how labels side by side are written: aslant where the longest is wider than its share of the axis."""
    letter = 0.55 * matplotlib.rcParams["xtick.labelsize"]  # points; about what sans serif takes
    share = 72 * panel.get_window_extent().width / panel.figure.dpi / len(labels)
    fits = letter * max(map(len, labels)) < share
    return {} if fits else {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}


def density(results: "Mapping[str, SpectralDensity]", ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw the density of the Hessian's eigenvalues, logarithmic, down to a tenth of what one eigenvalue gives.

    Densities of both statistics have a panel each, whose title then says what labels such as "SB, batch statistics"
    end with.

    Args:
        results: densities by label.
        ax: draw all of them there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.

    Raises:
        FigureError: where there is none.
    """
    if not results:
        raise FigureError("got no density; expected one at least")
    modes = list(dict.fromkeys(result.statistics for result in results.values()))
    with style():
        if ax is not None or len(modes) == 1:
            figure, panel = one_panel(ax, WIDTHS[columns], 2.4)
            _draw_densities(panel, results)
        else:
            figure = PaperFigure(WIDTHS[columns], 2.4 if columns == 2 else 4.0)
            rows, each = (1, len(modes)) if columns == 2 else (len(modes), 1)
            for panel, mode in zip(figure.subplots(rows, each, squeeze=False).flat, modes, strict=True):
                ending = f", {mode} statistics"
                own = {name.removesuffix(ending): one for name, one in results.items() if one.statistics == mode}
                _draw_densities(panel, own)
                panel.set_title(f"{mode} statistics")
        legend(figure) if ax is None else legend_inside(ax)
    return figure


def _draw_densities(ax: Axes, results: "Mapping[str, SpectralDensity]") -> None:
    highest = 0.0
    for k, (label, result) in enumerate(results.items()):
        grid = result.grid()
        values = result.density(grid)
        look = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k // len(COLOURS) % len(DASHES)]}
        ax.plot(grid, values, label=literal(label), **look)
        highest = max(highest, float(values.max()))
    ax.set(xlabel="eigenvalue of the Hessian", ylabel="density", yscale="log")
    ax.set_ylim(min(result.peak for result in results.values()) / 10, 3 * highest)


def path(
    train: "LossPath", test: "LossPath | None" = None, ax: Axes | None = None, *, columns: Columns = 1
) -> Figure:
    """Draw the loss on the line between two points: on the training set solid, on the test set dotted.

    Args:
        train: the loss of training samples.
        test: that of test samples on the same line.
        ax: draw there.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, or that of `ax`.
    """
    with style():
        figure, panel = one_panel(ax, WIDTHS[columns], 2.4)
        for result, line, label in ((train, "-", "training set"), (test, ":", "test set")):
            if result is not None:
                x, loss = (result.table[name].to_numpy() for name in ("x", "loss"))
                panel.plot(x, loss, line, color=COLOURS[0], label=label)
        chord = train.table.set_index("x")["loss"][[0.0, 1.0]]
        fine = np.linspace(0, 1, 50)  # a straight line is none on a logarithmic axis
        straight = np.interp(fine, [0, 1], chord)
        barrier = minus(train.barrier, ".3g")
        panel.plot(fine, straight, color="grey", zorder=0, label=f"chord; barrier {barrier}")
        panel.set(
            xlabel="$x$ on the line $a + x\\,(b - a)$",
            ylabel="loss",
            yscale="log" if _spans(train.table["loss"], 30) else "linear",
        )
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(figure) if ax is None else legend_inside(ax)
    return figure


def rising(table: pd.DataFrame, ax: Axes | None = None, *, columns: Columns = 1) -> Figure:
    """Draw the fraction of directions in which the loss rises by radius; below, the rise in the worst of them.

    The fraction is half near by for any smooth loss, and never drawn alone.

    Args:
        table: what `analysis.landscape.rising` returns.
        ax: draw the rise in the worst direction there, without the fraction.
        columns: the figure's width in columns of a two-column journal.

    Returns:
        The figure, of two panels, or that of `ax`.
    """
    mean = table.groupby("z").mean()
    z = mean.index.to_numpy()
    with style():
        if ax is not None:
            _draw_worst(ax, table, mean)
            return ax.figure.figure
        figure = PaperFigure(WIDTHS[columns], 3.2)
        above, below = figure.subplots(2, 1, sharex=True)
        for k, (name, label) in enumerate((("rises", "rises"), ("both_ways", "rises both ways"))):
            above.plot(z, mean[name].to_numpy(), "o-", color=COLOURS[k], label=label)
        above.axhline(0.5, color=ink(), linewidth=0.6, linestyle=":", label="any smooth loss, near by")
        above.set(ylabel="fraction of\ndirections", ylim=(-0.05, 1.05))
        _draw_worst(below, table, mean)
        figure.align_ylabels()
        legend(figure)
    return figure


def _draw_worst(ax: Axes, table: pd.DataFrame, mean: pd.DataFrame) -> None:
    """Draw how much the loss rises in the worst direction, by origin and on average."""
    z = mean.index.to_numpy()
    for _, origin in table.groupby("origin"):
        ax.plot(z, origin["phi"].to_numpy(), color="grey", alpha=0.6, linewidth=0.5)
    ax.plot(z, mean["phi"].to_numpy(), "o-", color=COLOURS[0])
    logarithmic = "log" if (mean["phi"] > 0).all() else "symlog"
    ax.set(xlabel="radius $z$", ylabel=r"$\varphi$ of the worst", xscale="log", yscale=logarithmic)


def _spans(values: pd.Series, factor: float) -> bool:
    """Return whether positive values differ by more than a factor."""
    return bool(0 < values.min() * factor < values.max())
