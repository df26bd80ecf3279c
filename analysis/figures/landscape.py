"""Figures of the loss landscape: the random potential, sharpness, the Hessian's density, paths, rising directions.

The results of `analysis.landscape` are named for type checkers alone: figures are drawn without torch.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.agreement import Agreement
from analysis.errors import FigureError
from analysis.figures.axes import minus, plain_log_ticks
from analysis.figures.colours import COLOURS, ink, paper
from analysis.figures.legends import legend, legend_inside
from analysis.figures.lines import literal
from analysis.figures.style import SINGLE, PaperFigure, panels, style
from analysis.potential_result import TAYLOR, Potential

if TYPE_CHECKING:
    from analysis.landscape import LossPath, SpectralDensity

_RUN: dict[str, Any] = {"color": "grey", "alpha": 0.2, "linewidth": 0}


def _hollow(colour: str) -> dict[str, Any]:
    """Return the markers of what was measured."""
    return {"color": colour, "markerfacecolor": paper(), "markeredgewidth": 0.8, "linestyle": "none", "marker": "o"}


def potential(result: Potential, ax: Axes | None = None, *, run_range: tuple[float, float] | None = None) -> Figure:
    """Draw √S(z) by origin and on average, with Taylor's line; below, the exponent from one distance to the next.

    Args:
        result: α from the potential.
        ax: draw there, without the exponent.
        run_range: the distances that the run covers, shaded.

    Returns:
        The figure, or that of `ax`.

    Examples:
        >>> import numpy as np
        >>> from analysis import figures
        >>> from analysis.potential import potential
        >>> from analysis.synthetic import fractional_potential
        >>> z = np.geomspace(0.1, 10, 9)
        >>> result = potential((z, fractional_potential(np.random.default_rng(0), 1.0, z)))
        >>> len(figures.potential(result, run_range=(1, 5)).axes)
        2
    """
    with style():
        if ax is not None:
            _draw_potential(ax, result, run_range)
            ax.set_xlabel("distance $z$")
            legend_inside(ax)
            return ax.figure.figure
        figure = PaperFigure(SINGLE, 3.6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_potential(above, result, run_range)
        if run_range is not None:
            below.axvspan(*run_range, **_RUN)
        z, exponent, low, high = result.local[["z", "exponent", "low", "high"]].to_numpy().T
        below.errorbar(z, exponent, [exponent - low, high - exponent], elinewidth=0.8, **_hollow(COLOURS[0]))
        below.axhline(2, color=COLOURS[1], linestyle=":", linewidth=0.8)
        below.set(xlabel="distance $z$", ylabel="local exponent")
        figure.align_ylabels()
        figure.supxlabel(TAYLOR.replace(": ", ":\n"), fontsize=6)
        legend(figure)
    return figure


def agreement(result: Agreement) -> PaperFigure:
    """Draw the two α's with their intervals, and what the comparison says.

    Args:
        result: the comparison.

    Returns:
        The figure.
    """
    low, high = result.potential_range
    names = [f"potential\n$z$ = {low:.3g} .. {high:.3g}"]
    low, high = result.curve_range
    names.append(f"curve\n$d$ = {low:.3g} .. {high:.3g}")
    values = np.array([result.potential, result.curve])
    ends = np.array([result.potential_interval, result.curve_interval])
    with style():
        figure = PaperFigure(SINGLE, 2.0)
        ax = figure.subplots()
        ax.errorbar(values, [1, 0], xerr=abs(ends.T - values), elinewidth=0.8, **_hollow(COLOURS[0]))
        ax.axvline(2, color=COLOURS[1], linestyle=":", linewidth=0.8, label="any smooth loss, by Taylor")
        ax.set(xlabel=r"$\alpha$", ylim=(-0.6, 1.6))
        ax.set_yticks([1, 0], names)
        verdict = f"p-value {result.p_value:.2g}" if result.p_value is not None else "not comparable"
        ax.set_title(verdict)
        legend(figure)
    return figure


def _draw_potential(ax: Axes, result: Potential, run_range: tuple[float, float] | None) -> None:
    if run_range is not None:
        ax.axvspan(*run_range, label="distances of the run", **_RUN)
    for k, origin in enumerate(np.sqrt(result.s)):
        ax.plot(result.z, origin, color="grey", alpha=0.6, linewidth=0.5, label="" if k else f"{result.n} origins")
    table: pd.DataFrame = result.table
    low, high = (minus(end, ".2f") for end in result.interval)
    law = rf"mean, $\alpha$ = {minus(result.alpha, '.2f')} [{low}, {high}]"
    ax.plot(table["z"], np.sqrt(table["S"]), label=law, **_hollow(ink()))
    if table["taylor"].notna().all() and (table["taylor"] > 0).all():
        taylor = r"Taylor, $\alpha$ = 2"
        ax.plot(table["z"], np.sqrt(table["taylor"]), color=COLOURS[1], linestyle=":", label=taylor)
    ax.set(xscale="log", yscale="log", ylabel=r"$\sqrt{S(z)}$ (loss)")
    if result.z[-1] < 30 * result.z[0]:
        plain_log_ticks(ax.xaxis)


def sharpness(table: pd.DataFrame) -> PaperFigure:
    """Draw φ by seed, a panel for each measure, a colour for each label, filled for batch statistics.

    Args:
        table: a row for each measurement: `label`, what the run is; `measure`, how φ was measured; `statistics`,
            "running" or "batch"; and `phi`.

    Returns:
        The figure.

    Examples:
        >>> import pandas as pd
        >>> from analysis import figures
        >>> row = {"label": "SB", "measure": "box 0.001, ascent", "statistics": "batch", "phi": 3.0}
        >>> len(figures.sharpness(pd.DataFrame([row])).axes)
        1
    """
    labels = list(dict.fromkeys(table["label"]))
    with style():
        figure, axes = panels(table["measure"].nunique())
        for ax, (measure, rows) in zip(axes, table.groupby("measure", sort=False), strict=True):
            for statistics, some in rows.groupby("statistics"):
                aside = 0.08 if statistics == "batch" else -0.08
                places = [labels.index(label) + aside for label in some["label"]]
                filled = {"markerfacecolor": COLOURS[0]} if statistics == "batch" else {}
                drawn = _hollow(COLOURS[0]) | {"label": f"{statistics} statistics, a point a seed"} | filled
                ax.plot(places, some["phi"].to_numpy(), **drawn)
            ax.set(
                title=measure, yscale="log" if (rows["phi"] > 0).all() else "linear", xlim=(-0.6, len(labels) - 0.4)
            )
            if (rows["phi"] > 0).all() and not _spans(rows["phi"], 30):
                plain_log_ticks(ax.yaxis)
            ax.set_xticks(range(len(labels)), [literal(label) for label in labels])
        axes[0].set_ylabel(r"sharpness $\varphi$")
        legend(figure)
    return figure


def density(results: "Mapping[str, SpectralDensity]") -> PaperFigure:
    """Draw the density of the Hessian's eigenvalues, logarithmic.

    Args:
        results: densities by label.

    Returns:
        The figure.

    Raises:
        FigureError: where there is none.
    """
    if not results:
        raise FigureError("got no density; expected one at least")
    with style():
        figure = PaperFigure(SINGLE, 2.4)
        ax = figure.subplots()
        for k, (label, result) in enumerate(results.items()):
            grid = result.grid()
            ax.plot(grid, result.density(grid), color=COLOURS[k % len(COLOURS)], label=literal(label))
        ax.set(xlabel="eigenvalue of the Hessian", ylabel="density", yscale="log")
        smallest = min(float(result.weights.min()) / result.width for result in results.values())
        ax.set_ylim(bottom=max(smallest / 10, 1e-9))
        legend(figure)
    return figure


def path(train: "LossPath", test: "LossPath | None" = None) -> PaperFigure:
    """Draw the loss on the line between two points: on the training set solid, on the test set dotted.

    Args:
        train: the loss of training samples.
        test: that of test samples on the same line.

    Returns:
        The figure.
    """
    with style():
        figure = PaperFigure(SINGLE, 2.4)
        ax = figure.subplots()
        for result, line, label in ((train, "-", "training set"), (test, ":", "test set")):
            if result is not None:
                ax.plot(
                    result.table["x"].to_numpy(), result.table["loss"].to_numpy(), line, color=COLOURS[0], label=label
                )
        chord = train.table.set_index("x")["loss"][[0.0, 1.0]]
        fine = np.linspace(0, 1, 50)  # a straight line is none on a logarithmic axis
        ax.plot(
            fine,
            np.interp(fine, [0, 1], chord),
            color="grey",
            zorder=0,
            label=f"chord; barrier {train.barrier:.3g}",
        )
        ax.set(
            xlabel="$x$ on the line $a + x\\,(b - a)$",
            ylabel="loss",
            yscale="log" if _spans(train.table["loss"], 30) else "linear",
        )
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(figure)
    return figure


def rising(table: pd.DataFrame) -> PaperFigure:
    """Draw the fraction of directions in which the loss rises by radius; below, the rise in the worst of them.

    The fraction is half near by for any smooth loss, and never drawn alone.

    Args:
        table: what `analysis.landscape.rising` returns.

    Returns:
        The figure, of two panels.
    """
    mean = table.groupby("z").mean()
    z = mean.index.to_numpy()
    with style():
        figure = PaperFigure(SINGLE, 3.2)
        above, below = figure.subplots(2, 1, sharex=True)
        for k, (name, label) in enumerate((("rises", "rises"), ("both_ways", "rises both ways"))):
            above.plot(z, mean[name].to_numpy(), "o-", color=COLOURS[k], label=label)
        above.axhline(0.5, color=ink(), linewidth=0.6, linestyle=":", label="any smooth loss, near by")
        above.set(ylabel="fraction of\ndirections", ylim=(-0.05, 1.05))
        for _, origin in table.groupby("origin"):
            below.plot(z, origin["phi"].to_numpy(), color="grey", alpha=0.6, linewidth=0.5)
        below.plot(z, mean["phi"].to_numpy(), "o-", color=COLOURS[0])
        logarithmic = "log" if (mean["phi"] > 0).all() else "symlog"
        below.set(xlabel="radius $z$", ylabel=r"$\varphi$ of the worst", xscale="log", yscale=logarithmic)
        figure.align_ylabels()
        legend(figure)
    return figure


def _spans(values: pd.Series, factor: float) -> bool:
    """Return whether positive values differ by more than a factor."""
    return bool(0 < values.min() * factor < values.max())
