"""What the numbers of a run mean: the diffusion law, its rivals, and matching two runs by distance."""

from typing import TYPE_CHECKING

from trajectory.lazy import lazy_exports

if TYPE_CHECKING:
    from analysis.curve import Curve, curves, runs_in
    from analysis.errors import AnalysisError, CurveError
    from analysis.fitting.fit import Fit, fit
    from analysis.fitting.model_comparison import Comparison, compare
    from analysis.fitting.start_scan import scan
    from analysis.matching.distance_matcher import DistanceMatcher, Match, Status
    from analysis.matching.forecast import Forecast, predict_match
    from analysis.matching.match import Matching, match
    from analysis.matching.reference import Reference
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "analysis.curve": ["Curve", "curves", "runs_in"],
            "analysis.errors": ["AnalysisError", "CurveError"],
            "analysis.fitting.fit": ["Fit", "fit"],
            "analysis.fitting.model_comparison": ["Comparison", "compare"],
            "analysis.fitting.start_scan": ["scan"],
            "analysis.matching.distance_matcher": ["DistanceMatcher", "Match", "Status"],
            "analysis.matching.forecast": ["Forecast", "predict_match"],
            "analysis.matching.match": ["Matching", "match"],
            "analysis.matching.reference": ["Reference"],
        },
    )

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
    "compare",
    "curves",
    "fit",
    "match",
    "predict_match",
    "runs_in",
    "scan",
]
