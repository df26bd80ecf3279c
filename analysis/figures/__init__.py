"""Figures for a paper, as functions from runs or results to a matplotlib figure.

Each function returns a figure that `save` writes and a notebook shows; none touches pyplot or its settings. They draw
what they are given: a fit, a comparison or a match is computed by its own function first.
"""

from analysis.figures.laws import compare, fit, scan
from analysis.figures.learning_curves import error
from analysis.figures.runs import distance, match
from analysis.figures.style import save

__all__ = ["compare", "distance", "error", "fit", "match", "save", "scan"]
