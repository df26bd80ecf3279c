"""The figure of docs/landscape.md on lines between minima, from the packed results of bench/minima.py."""

from typing import Any

import numpy as np

from analysis.figures.colours import COLOURS
from analysis.figures.style import DOUBLE, PaperFigure, style
from study.minima_tables import Minima

_TITLES = {
    "SB, LB": "small (0) to large batch (1), one start",
    "SB, SB": "two small batches, two starts",
}


def lines(minima: Minima) -> PaperFigure:
    """The loss of training (solid) and test images (dotted) on straight lines between minima."""
    with style():
        figure = PaperFigure(DOUBLE, 2.3)
        for ax, (name, title) in zip(figure.subplots(1, 2, sharey=True), _TITLES.items(), strict=True):
            for kind, dash in (("train", "-"), ("test", ":")):
                x, loss = _points(minima["paths"][name][kind])
                ax.plot(x, loss, dash, color=COLOURS[0], label=kind)
            for end in (0, 1):
                ax.axvline(end, color="grey", linewidth=0.6, linestyle=":")
            ax.set(title=title, xlabel="place on the line", xticks=(-0.5, 0, 0.5, 1, 1.5), yscale="log")
        figure.axes[0].set_ylabel("loss, batch statistics")
        figure.axes[0].legend(fontsize=6, frameon=False)
    return figure


def _points(path: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    points = path["points"]
    return np.array([point["x"] for point in points]), np.array([point["loss"] for point in points])
