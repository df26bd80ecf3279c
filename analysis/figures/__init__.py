"""Figures for a paper, as functions from results to a matplotlib figure."""

from analysis.figures.runs import FIGURES, compare, distance, distance_adaptation, draw, error, fit, match, save, scan

__all__ = ["FIGURES", "compare", "distance", "distance_adaptation", "draw", "error", "fit", "match", "save", "scan"]
