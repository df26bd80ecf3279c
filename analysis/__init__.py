"""What the numbers of a run mean: the diffusion law, its rivals, and matching two runs by distance."""

from analysis.curve import Curve, curves, runs_in
from analysis.errors import AnalysisError, CurveError, TableError
from analysis.fitting.fit import Fit, fit
from analysis.fitting.model_comparison import Comparison, compare
from analysis.fitting.start_scan import scan
from analysis.matching.distance_matcher import DistanceMatcher, Match, Status
from analysis.matching.forecast import Forecast, predict_match
from analysis.matching.match import Matching, match
from analysis.matching.reference import Reference

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
]
