"""What figures of runs share: which runs are seeds of one experiment, their line styles, and where rates dropped."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.curve import Curve
from analysis.errors import FigureError, printable
from analysis.figures.style import COLOURS, DROP, TRIANGLE
from analysis.fitting.laws import Array

DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)))
_JOINER = "\N{WORD JOINER}"  # has no width

LineStyle = dict[str, Any]
"""Keyword arguments of `Axes.plot`."""


def literal(text: str) -> str:
    r"""Return a user's text such that matplotlib draws it letter by letter.

    Without this a `$` begins a formula, and a legend leaves out what begins with an underscore. Control characters,
    which no font holds, are written as `\x1b`.

    Args:
        text: the label or the name of a run.
    """
    return (_JOINER if text.startswith("_") else "") + printable(text).replace("$", r"\$")


def by_label(group: Sequence[Curve]) -> list[tuple[LineStyle, list[Curve]]]:
    """Group curves by their label: those of one label are seeds of one experiment.

    Runs on different data are no seeds of each other: the name of the data then begins the label, once.

    Args:
        group: the curves of one figure.

    Returns:
        For each label, in order of appearance: the style of its lines, and its curves.

    Raises:
        FigureError: if a curve is empty.
    """
    several = len({curve.dataset for curve in group}) > 1
    groups: dict[str, list[Curve]] = {}
    for curve in group:
        clear = not several or not curve.dataset or curve.label.startswith(curve.dataset)
        groups.setdefault(curve.label if clear else f"{curve.dataset}, {curve.label}", []).append(curve)
    styles = {}
    for k, label in enumerate(groups):
        styles[label] = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k // len(COLOURS) % len(DASHES)]}
    return with_legend(groups, styles)


def with_legend(
    groups: Mapping[str, list[Curve]], styles: Mapping[str, LineStyle]
) -> list[tuple[LineStyle, list[Curve]]]:
    """Add the text of the legend and the width to line styles: lines are thin where a label has several seeds.

    Args:
        groups: the curves of each label.
        styles: the colour and the dashes of each label.

    Returns:
        For each label: the style of its lines, and its curves.

    Raises:
        FigureError: if a curve is empty.
    """
    for curve in (curve for seeds in groups.values() for curve in seeds):
        if not len(curve.t):
            raise FigureError(f"{curve.name}: no distances recorded; expected a run of at least one update")
    found = []
    for label, seeds in groups.items():
        alone = len(seeds) == 1
        shown = literal(label if alone else f"{label}, {len(seeds)} seeds")
        found.append((styles[label] | {"linewidth": 1.0 if alone else 0.6, "label": shown}, seeds))
    return found


def draw_distances(ax: Axes, groups: Sequence[tuple[LineStyle, list[Curve]]]) -> None:
    """Draw curves in their styles, with a triangle at each learning-rate drop.

    Args:
        ax: where to draw.
        groups: styles and their curves, as `by_label` returns them.
    """
    for style, seeds in groups:
        for curve in seeds:
            ax.plot(curve.t, curve.d, **style)
            mark(ax, curve.drops, curve.t, curve.d, style["color"])


def mark(ax: Axes, places: Sequence[float], x: Array, y: Array, colour: Hashable) -> None:
    """Draw a triangle on a line at each place that the line reaches.

    Args:
        ax: where to draw.
        places: values on the x axis.
        x: the line's points, (point,), in increasing order.
        y: their heights, (point,).
        colour: that of the line.
    """
    inside = [place for place in places if x[0] <= place <= x[-1]]
    if inside:
        ax.plot(inside, np.interp(inside, x, y), color=colour, label=DROP, **TRIANGLE)
