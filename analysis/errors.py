"""The analysis' branch of the error tree. Every message is one line: what was got, expected, to do."""

from trajectory.errors import UltraslowError
from trajectory.errors import printable as printable


class AnalysisError(UltraslowError):
    """A curve, a fit range or a question that the analysis refuses."""


class CurveError(AnalysisError):
    """What was given is not a curve: its type, its shape, or steps that do not increase."""


class DistanceError(AnalysisError):
    """A distance inside the fit range is zero, negative, NaN or infinite."""


class FitRangeError(AnalysisError):
    """The fit range crosses a learning-rate drop, or is empty."""


class ShortCurveError(FitRangeError):
    """The fit range holds fewer than 12 log bins, or spans less than a decade of t."""


class GrowthError(AnalysisError):
    """The distance does not grow over the fit range, so that α = 2 s / q is not defined."""


class SeedError(AnalysisError):
    """The curves given as seeds are not independent repetitions of one experiment."""


class OffsetError(AnalysisError):
    """An additive offset and t₀ cannot both be free: at α = 2 they are the same parameter."""


class LawError(AnalysisError):
    """An unknown law, or one that the called function does not fit."""


class MatchError(AnalysisError):
    """A target, a bandwidth or a question that the matcher refuses."""


class ReferenceRunError(MatchError):
    """Runs that cannot serve as a reference: no drop, cut short before it, or disagreeing."""


class DifferentNetworksError(MatchError):
    """Reference and run have other parameters, so that their distances do not compare."""


class FigureError(AnalysisError):
    """An unknown figure or file format, a run without what a figure shows, or a file that cannot be written."""


class MotionError(AnalysisError):
    """Runs that do not hold what the motion budget, the equilibrium or a collapse need."""


class LandscapeError(AnalysisError):
    """Weights, batches, a loss or a distance at which the loss landscape cannot be measured."""
