"""What figures of runs share: which runs are seeds of one experiment, their line styles, and where rates dropped."""

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import reduce
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.curve import Curve
from analysis.errors import FigureError, printable
from analysis.figures.colours import COLOURS, DASHES, shade
from analysis.figures.legends import DROP, SEEDS, TRIANGLE
from analysis.figures.thinning import thinned
from analysis.fitting.laws import Array

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

    Labels of different batch sizes come in families: a hue for each size, small batches first, and in it a shade and
    dashes for each method, which is what a label says beside the size. Otherwise each label has a hue of its own.

    Args:
        group: the curves of one figure.

    Returns:
        For each label: the style of its lines, and its curves.

    Raises:
        FigureError: if a curve is empty.
    """
    groups = experiments(group)
    styles = line_styles(groups)
    return with_legend({label: groups[label] for label in styles}, styles)


def experiments(group: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Return curves by their label, as their runs have it.

    Runs on different data are no seeds of each other: the name of the data then begins the label, once.

    Args:
        group: curves of runs.
    """
    several = len({curve.dataset for curve in group}) > 1
    groups: dict[str, list[Curve]] = {}
    for curve in group:
        clear = not several or not curve.dataset or curve.label.startswith(curve.dataset)
        groups.setdefault(curve.label if clear else f"{curve.dataset}, {curve.label}", []).append(curve)
    return groups


def line_styles(groups: Mapping[str, Sequence[Curve]]) -> dict[str, LineStyle]:
    """Return the colour and the dashes of each label, small batches first where labels come in families.

    Args:
        groups: the curves of each label.
    """
    sizes = {label: seeds[0].batch_size for label, seeds in groups.items()}
    if len(set(sizes.values())) == 1 or None in sizes.values():
        return {label: _own_hue(k) for k, label in enumerate(groups)}
    return _families({label: int(size or 0) for label, size in sizes.items()})


def _own_hue(k: int) -> LineStyle:
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k // len(COLOURS) % len(DASHES)]}


def _families(sizes: Mapping[str, int]) -> dict[str, LineStyle]:
    """Return styles by label: hues by batch size, shades and dashes by method; the method of fewest letters first."""
    hues = sorted(set(sizes.values()))
    methods = {label: re.sub(rf"\b{size}\b", "", label).strip(" ,") for label, size in sizes.items()}
    members = {hue: [label for label in sizes if sizes[label] == hue] for hue in hues}
    shared = {methods[label] for labels in members.values() if len(labels) > 1 for label in labels}
    order = sorted(shared, key=lambda method: (len(method), method))
    styles = {}
    for label in sorted(sizes, key=lambda label: (sizes[label], len(methods[label]))):
        member = order.index(methods[label]) if methods[label] in shared else 0
        colour = shade(hues.index(sizes[label]), member)
        styles[label] = {"color": colour, "linestyle": DASHES[member % len(DASHES)]}
    return styles


def with_legend(
    groups: Mapping[str, list[Curve]], styles: Mapping[str, LineStyle]
) -> list[tuple[LineStyle, list[Curve]]]:
    """Add the text of the legend to line styles, with the number of seeds.

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
        shown = literal(label if len(seeds) == 1 else f"{label}, {len(seeds)} seeds")
        found.append((styles[label] | {"label": shown}, seeds))
    return found


def draw_distances(ax: Axes, groups: Sequence[tuple[LineStyle, list[Curve]]]) -> None:
    """Draw curves in their styles, with a triangle at each learning-rate drop.

    Args:
        ax: where to draw.
        groups: styles and their curves, as `by_label` returns them.
    """
    for style, seeds in groups:
        draw_seeds(ax, [(curve.t, curve.t, curve.d) for curve in seeds], style)
        mark_drops(ax, [(curve.drops, curve.t, curve.d) for curve in seeds], style["color"])


def draw_seeds(ax: Axes, seeds: Sequence[tuple[Array, Array, Array]], style: LineStyle) -> list[tuple[Array, ...]]:
    """Draw the mean of seeds, and the band from the lowest to the highest, at the updates that all of them hold.

    Seeds that have fewer than half of their updates in common are drawn as thin lines, one each.

    Args:
        ax: where to draw.
        seeds: of each: its updates (point,), their places on the x axis (point,), and its values there (point,).
        style: of their lines.

    Returns:
        What was drawn: the places, and the lowest and the highest value at each.
    """
    common = reduce(np.intersect1d, (t for t, _, _ in seeds))
    if len(seeds) > 1 and 2 * len(common) >= max(len(t) for t, _, _ in seeds):
        rows = [np.searchsorted(t, common) for t, _, _ in seeds]
        x = np.mean([x[row] for (_, x, _), row in zip(seeds, rows, strict=True)], axis=0)
        values = np.array([y[row] for (_, _, y), row in zip(seeds, rows, strict=True)])
        x, low, mean, high = thinned(x, values.min(axis=0), values.mean(axis=0), values.max(axis=0))
        ax.fill_between(x, low, high, color=style["color"], alpha=0.25, linewidth=0, label=SEEDS)
        ax.plot(x, mean, marker="." if len(x) == 1 else None, **style)
        return [(x, low, high)]
    drawn: list[tuple[Array, ...]] = []
    look: LineStyle = {"linewidth": 1.0 if len(seeds) == 1 else 0.6} | style
    for _, x, y in seeds:
        x, y = thinned(x, y)
        ax.plot(x, y, marker="." if len(x) == 1 else None, **look)
        drawn.append((x, y, y))
    return drawn


def mark_drops(ax: Axes, seeds: Sequence[tuple[Sequence[float], Array, Array]], colour: Hashable) -> None:
    """Draw a triangle at each drop of the learning rate, at the mean place and height of the seeds that reach it.

    Args:
        ax: where to draw.
        seeds: of each: the places of its drops on the x axis, its line's places (point,), increasing, and their
            heights (point,).
        colour: that of the line.
    """
    reached = [[(at, np.interp(at, x, y)) for at in drops if x[0] <= at <= x[-1]] for drops, x, y in seeds]
    marks = [np.mean([one for one in drop if one], axis=0) for drop in zip_longest(*reached)]
    if marks:
        ax.plot(*np.transpose(marks), color=colour, label=DROP, **TRIANGLE)
