"""Figures for a paper, as functions from runs or results to a matplotlib figure.

Each function returns a figure that `save` writes and a notebook shows, or draws on the axes given as `ax`; none
touches pyplot or its settings. They draw what they are given: a fit, a comparison or a match is computed by its own
function first. Colours and dashes mean the same in all of them (`analysis.figures.colours`).
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from analysis.figures.batches import collapse, critical_batch
from analysis.figures.landscape import density, path, rising, sharpness
from analysis.figures.law_comparison import compare
from analysis.figures.laws import fit, scan
from analysis.figures.learning_curves import error
from analysis.figures.motion import ageing, budget, equivalent
from analysis.figures.per_layer import layers, origins
from analysis.figures.random_potential import agreement, potential
from analysis.figures.runs import distance, match
from analysis.figures.style import save, use_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ageing",
    "agreement",
    "budget",
    "collapse",
    "compare",
    "critical_batch",
    "density",
    "distance",
    "equivalent",
    "error",
    "fit",
    "layers",
    "match",
    "origins",
    "path",
    "potential",
    "rising",
    "save",
    "scan",
    "sharpness",
    "use_style",
]


def __getattr__(name: str) -> "Callable[..., Figure]":
    """Give `draw`, a function of version 0.1 that also computed what it drew: by name, now the command's work."""
    if name != "draw":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "analysis.figures.draw is now ultraslow.cli.plot.draw; or compute, then draw: figures.scan(fit(runs))",
        DeprecationWarning,
        stacklevel=2,
    )
    found: Callable[..., Figure] = import_module("ultraslow.cli.plot").draw
    return found
