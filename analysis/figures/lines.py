"""What figures of runs share: which runs are seeds of one experiment, how lines look, and where rates dropped."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.curve import Curve
from analysis.errors import FigureError
from analysis.figures.style import COLOURS, DROP, TRIANGLE
from analysis.fitting.laws import Array

DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)))

Look = dict[str, Any]


def label_of(curve: Curve) -> str:
    """The label of the run, or its name."""
    label = curve.run.config.get("label") if curve.run is not None else None
    return str(label or curve.name)


def by_label(group: Sequence[Curve]) -> list[tuple[Look, list[Curve]]]:
    """For each label, in order of appearance: how its lines look, and its curves (seeds).

    Runs on different data are told apart by the name of the data. Raises FigureError for an empty run.
    """
    several = len({_data(curve) for curve in group}) > 1
    labels: dict[str, list[Curve]] = {}
    for curve in group:
        label = f"{_data(curve)}, {label_of(curve)}" if several and _data(curve) else label_of(curve)
        labels.setdefault(label, []).append(curve)
    looks = {}
    for k, label in enumerate(labels):
        looks[label] = {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k // len(COLOURS) % len(DASHES)]}
    return lines(labels, looks)


def lines(groups: Mapping[str, list[Curve]], looks: Mapping[str, Look]) -> list[tuple[Look, list[Curve]]]:
    """Looks with their legend and width: thin lines where a label has several seeds."""
    for curve in (curve for seeds in groups.values() for curve in seeds):
        if not len(curve.t):
            raise FigureError(f"{curve.name}: no distances recorded; expected a run of at least one update")
    found = []
    for label, seeds in groups.items():
        alone = len(seeds) == 1
        look = looks[label] | {"linewidth": 1.0 if alone else 0.6}
        found.append((look | {"label": label if alone else f"{label}, {len(seeds)} seeds"}, seeds))
    return found


def mark(ax: Axes, at: Sequence[float], x: Array, y: Array, colour: Hashable) -> None:
    """A triangle on the line (x, y) at each of the places `at` that it reaches."""
    inside = [place for place in at if x[0] <= place <= x[-1]]
    if inside:
        ax.plot(inside, np.interp(inside, x, y), color=colour, label=DROP, **TRIANGLE)


def row_of(figure: Figure, count: int) -> Sequence[Axes]:
    """So many axes side by side."""
    return figure.subplots(1, count, squeeze=False)[0]


def _data(curve: Curve) -> str:
    return str(curve.run.config.get("dataset", "")) if curve.run is not None else ""
