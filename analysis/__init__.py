"""What the numbers of a run mean: the diffusion law, its rivals, and matching two runs by distance."""

from analysis.compare import Comparison, compare
from analysis.curve import Curve, curves, runs_in
from analysis.errors import AnalysisError, CurveError, TableError
from analysis.fit import Fit, fit
from analysis.forecast import Forecast, predict_match
from analysis.match import DistanceMatcher, Match, Status
from analysis.reference import Reference
from analysis.replay import Matching, match
from analysis.table import table
from analysis.window import scan

__all__ = [
    "AnalysisError",
    "Comparison",
    "Curve",
    "CurveError",
    "DistanceMatcher",
    "Fit",
    "Forecast",
    "Match",
    "Matching",
    "Reference",
    "Status",
    "TableError",
    "compare",
    "curves",
    "fit",
    "match",
    "predict_match",
    "runs_in",
    "scan",
    "table",
]
