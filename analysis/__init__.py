"""What the numbers of a run mean: the diffusion law, its rivals, and matching two runs by distance."""

from typing import TYPE_CHECKING

from trajectory.lazy import lazy_exports

if TYPE_CHECKING:
    from analysis.agreement import Agreement
    from analysis.curve import Curve
    from analysis.errors import AnalysisError, CurveError
    from analysis.fitting.comparison_result import Comparison, LawFit
    from analysis.fitting.directions import directions
    from analysis.fitting.fit import fit
    from analysis.fitting.fit_result import Fit
    from analysis.fitting.model_comparison import compare
    from analysis.fitting.origin_average import OriginAverage, average_origins
    from analysis.fitting.origins import OriginComparison, compare_origins
    from analysis.fitting.per_layer import fit_layers
    from analysis.fitting.seed_estimate import SeedEstimate
    from analysis.fitting.start_scan import scan
    from analysis.matching.distance_matcher import DistanceMatcher
    from analysis.matching.equivalence import Equivalence, equivalent
    from analysis.matching.forecast import Forecast, predict_match
    from analysis.matching.match import Matching, match
    from analysis.matching.outcome import Match, Status
    from analysis.matching.reference import Reference
    from analysis.motion.ageing import TwoTime, two_time
    from analysis.motion.budget import MotionBudget, budget
    from analysis.motion.collapse import Collapse, collapse
    from analysis.motion.critical_batch import CriticalBatch, critical_batch_size
    from analysis.motion.equilibrium import Equilibrium, equilibrium
    from analysis.motion.time_average import TimeAveraged, time_averaged
    from analysis.potential_result import Potential, Probe
    from analysis.reading import curves, read_curves
    from analysis.run_curves import runs_in
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "analysis.agreement": ["Agreement"],
            "analysis.curve": ["Curve"],
            "analysis.errors": ["AnalysisError", "CurveError"],
            "analysis.fitting.comparison_result": ["Comparison", "LawFit"],
            "analysis.fitting.directions": ["directions"],
            "analysis.fitting.fit": ["fit"],
            "analysis.fitting.fit_result": ["Fit"],
            "analysis.fitting.model_comparison": ["compare"],
            "analysis.fitting.origin_average": ["OriginAverage", "average_origins"],
            "analysis.fitting.origins": ["OriginComparison", "compare_origins"],
            "analysis.fitting.per_layer": ["fit_layers"],
            "analysis.fitting.seed_estimate": ["SeedEstimate"],
            "analysis.fitting.start_scan": ["scan"],
            "analysis.matching.distance_matcher": ["DistanceMatcher"],
            "analysis.matching.equivalence": ["Equivalence", "equivalent"],
            "analysis.matching.forecast": ["Forecast", "predict_match"],
            "analysis.matching.match": ["Matching", "match"],
            "analysis.matching.outcome": ["Match", "Status"],
            "analysis.matching.reference": ["Reference"],
            "analysis.motion.ageing": ["TwoTime", "two_time"],
            "analysis.motion.budget": ["MotionBudget", "budget"],
            "analysis.motion.collapse": ["Collapse", "collapse"],
            "analysis.motion.critical_batch": ["CriticalBatch", "critical_batch_size"],
            "analysis.motion.equilibrium": ["Equilibrium", "equilibrium"],
            "analysis.motion.time_average": ["TimeAveraged", "time_averaged"],
            "analysis.potential_result": ["Potential", "Probe"],
            "analysis.reading": ["curves", "read_curves"],
            "analysis.run_curves": ["runs_in"],
        },
    )

__all__ = [
    "Agreement",
    "AnalysisError",
    "Collapse",
    "Comparison",
    "CriticalBatch",
    "Curve",
    "CurveError",
    "DistanceMatcher",
    "Equilibrium",
    "Equivalence",
    "Fit",
    "Forecast",
    "LawFit",
    "Match",
    "Matching",
    "MotionBudget",
    "OriginAverage",
    "OriginComparison",
    "Potential",
    "Probe",
    "Reference",
    "SeedEstimate",
    "Status",
    "TimeAveraged",
    "TwoTime",
    "average_origins",
    "budget",
    "collapse",
    "compare",
    "compare_origins",
    "critical_batch_size",
    "curves",
    "directions",
    "equilibrium",
    "equivalent",
    "fit",
    "fit_layers",
    "match",
    "predict_match",
    "read_curves",
    "runs_in",
    "scan",
    "time_averaged",
    "two_time",
]
