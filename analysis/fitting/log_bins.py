"""Log bins: curves averaged over twelve bins per decade of t inside one constant-learning-rate phase."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.curve import Curve
from analysis.errors import DistanceError, FitRangeError, ShortCurveError
from analysis.fitting.laws import Array

BINS_PER_DECADE = 12
FEWEST_BINS = 12
_LARGEST = 1e150  # whose square is a number; that of 1e-150 is one too
_AT_AN_EDGE = 1e-9  # of t: values so close to an edge lie on it, whatever its logarithm was rounded to


@dataclass(frozen=True, eq=False)
class Bins:
    """Curves averaged in common log bins.

    Attributes:
        u: (bin,) mean log t.
        z: (curve, bin) mean log d.
        points: (bin,) recorded values in the bin, of the curve that has fewest.
        steps: (bin,) updates that the bin covers.
        fit_range: the first and last t used.
        names: one per curve.
    """

    u: Array
    z: Array
    points: Array
    steps: Array
    fit_range: tuple[float, float]
    names: tuple[str, ...]

    def part(self, held: NDArray[np.bool_] | slice) -> "Bins":
        """Return some of the bins.

        Args:
            held: which.

        Returns:
            They alone.
        """
        u = self.u[held]
        ends = math.exp(u[0]), math.exp(u[-1])
        return Bins(u, self.z[:, held], self.points[held], self.steps[held], ends, self.names)


def constant_phase(group: Sequence[Curve], t_min: float | None, t_max: float | None) -> tuple[float, float]:
    """Return the fit range asked for, ended by the first learning-rate drop in it and by the shortest curve.

    A drop's t is the last update made at the old rate.

    Args:
        group: the curves.
        t_min: its start; None for the end of the learning rate's warm-up.
        t_max: its end; None for the first drop.

    Returns:
        The first and the last t; the last may lie before the first.

    Raises:
        ShortCurveError: where a curve holds no distances.
        FitRangeError: where t_max lies past a drop.
    """
    empty = next((curve for curve in group if not len(curve.t)), None)
    if empty is not None:
        raise ShortCurveError(f"{empty.name}: holds no distances after update {empty.origin}; expected a decade of t")
    first = max(float(curve.t[0]) for curve in group)
    start = max(first, max(curve.warmup_end for curve in group) if t_min is None else float(t_min))
    end = min(float(curve.t[-1]) for curve in group)
    for curve in group:
        drop = min((t for t in curve.drops if t > start), default=math.inf)
        if t_max is not None and t_max > drop:
            raise FitRangeError(
                f"{curve.name}: t_max = {t_max:g} lies past the learning-rate drop at update {drop:g}; the "
                f"laws hold at a constant learning rate: pass t_max <= {drop:g}, or t_min >= {drop:g}"
            )
        end = min(end, drop)
    return start, end if t_max is None else min(end, float(t_max))


@dataclass(frozen=True, eq=False)
class LogSums:
    """Sums of log t and log d over the halves of log bins: bins from any bin's centre on are sums of these.

    So each curve is read once for all starts of a scan, however long it is.

    Attributes:
        centres: (bin,) of the bins, log t.
        fit_range: the first and last t summed.
        u: (curve, half bin) sums of log t. The first bin is its right half alone, the last its left half.
        z: (curve, half bin) sums of log d.
        points: (curve, half bin) recorded values.
        names: one per curve.
    """

    centres: Array
    fit_range: tuple[float, float]
    u: Array
    z: Array
    points: Array
    names: tuple[str, ...]

    def bins(self, first: int = 0) -> Bins:
        """Average the bins from the centre of one of them on.

        Bins without a value in every curve are left out; where seeds were recorded at different steps they are
        interpolated to the mean u of the bin.

        Args:
            first: the bin at whose centre the fit range begins.

        Returns:
            The bins.

        Raises:
            ShortCurveError: where the fit range holds less than a decade of t or 12 bins.
        """
        start, end = self.fit_range
        start = math.exp(self.centres[first]) if first else start
        name = self.names[0] if len(self.names) == 1 else f"{len(self.names)} curves"
        _check_span(start, end, name)
        points, u, z = (_whole(halves[:, 2 * first :]) for halves in (self.points, self.u, self.z))
        shared = np.all(points > 0, axis=0)
        if shared.sum() < FEWEST_BINS:
            raise ShortCurveError(
                f"{name}: the fit range {start:g}..{end:g} holds {shared.sum()} log bins; expected {FEWEST_BINS} "
                "or more: record longer, or more steps"
            )
        points, u, z = points[:, shared], u[:, shared] / points[:, shared], z[:, shared] / points[:, shared]
        middle = u.mean(axis=0)
        z = np.stack([np.interp(middle, *pair) for pair in zip(u, z, strict=True)])
        return Bins(middle, z, points.min(axis=0), self._steps(first)[shared], (start, end), self.names)

    def _steps(self, first: int) -> Array:
        """Return the number of updates that each bin covers, at least 1."""
        edges = (self.centres[first:-1] + self.centres[first + 1 :]) / 2
        return np.maximum(np.diff(np.exp(np.concatenate([[self.centres[first]], edges, [self.centres[-1]]]))), 1.0)


def _whole(halves: Array) -> Array:
    """Add the left and the right half of each bin but the first and the last, which are halves."""
    inner = halves[:, 1:-1]
    return np.column_stack([halves[:, 0], inner[:, ::2] + inner[:, 1::2], halves[:, -1]])


def binned(group: Sequence[Curve], t_min: float | None = None, t_max: float | None = None) -> Bins:
    """Average curves in 12 bins per decade of t over the constant-learning-rate phase, common to all curves.

    Args:
        group: the curves.
        t_min: the first t; None for the end of the learning rate's warm-up.
        t_max: the last t; None for the first learning-rate drop.

    Returns:
        The bins.

    Raises:
        ShortCurveError: where the fit range holds less than a decade of t or 12 bins.
        FitRangeError: where t_max lies past a drop.
        DistanceError: where a distance is not a positive, finite number.
    """
    return log_sums(group, t_min, t_max).bins()


def log_sums(group: Sequence[Curve], t_min: float | None = None, t_max: float | None = None) -> LogSums:
    """Sum curves over halves of log bins, over the constant-learning-rate phase common to all curves.

    The bins, 12 per decade of t, are centred on the ends of the fit range and evenly between, so that a recording of
    12 steps per decade has one in each.

    Args:
        group: the curves.
        t_min: the first t; None for the end of the learning rate's warm-up.
        t_max: the last t; None for the first learning-rate drop.

    Returns:
        The sums.

    Raises:
        ShortCurveError: where the fit range holds less than a decade of t.
        FitRangeError: where t_max lies past a drop.
        DistanceError: where a distance is not a positive, finite number.
    """
    start, end = constant_phase(group, t_min, t_max)
    name = group[0].name if len(group) == 1 else f"{len(group)} curves"
    _check_span(start, end, name, _ends_in_words(group, start, end))
    count = round(BINS_PER_DECADE * math.log10(end / start))
    edges = np.exp(np.linspace(math.log(start), math.log(end), 2 * count + 1)) * (1 - _AT_AN_EDGE)
    edges[-1] = end * (1 + _AT_AN_EDGE)
    u, z, points = np.stack([_sums(curve, edges) for curve in group], axis=1)
    centres = np.linspace(math.log(start), math.log(end), count + 1)
    return LogSums(centres, (start, end), u, z, points, tuple(curve.name for curve in group))


def _ends_in_words(group: Sequence[Curve], start: float, end: float) -> str:
    """Say which ends of a fit range the learning rate sets: the end of its warm-up, and its first drop."""
    warm = "from the end of the warm-up" if 0 < start == max(curve.warmup_end for curve in group) else ""
    drop = "to the learning-rate drop" if any(end in curve.drops for curve in group) else ""
    words = " ".join(filter(None, (warm, drop)))
    return f", {words}," if words else ""


def _check_span(start: float, end: float, name: str, ends: str = "") -> None:
    if not end > start:
        raise ShortCurveError(
            f"{name}: the fit range would begin at t = {start:g} and end at {end:g}{ends.rstrip(',')}; expected at "
            "least one decade of t"
        )
    decades = math.log10(end / start)
    if decades < 1 - 1e-9:
        raise ShortCurveError(
            f"{name}: the fit range {start:g}..{end:g}{ends} spans {decades:.2f} decades of t; expected at least "
            "one: record longer, or lower t_min"
        )


def _sums(curve: Curve, edges: Array) -> Array:
    """Sum log t, log d and the number of values between neighbouring edges, (3, half bin)."""
    ends = np.searchsorted(curve.t, edges)
    inside = slice(ends[0], ends[-1])
    t, d = curve.t[inside], curve.d[inside]
    _check_distances(curve, t, d)
    points = np.diff(ends)
    held, firsts = points > 0, ends[:-1] - ends[0]
    sums = np.zeros((3, len(points)))
    sums[2] = points
    if len(t):
        for row, values in zip(sums, (t, d), strict=False):
            row[held] = np.add.reduceat(np.log(values), firsts[held])
    return sums


def _check_distances(curve: Curve, t: Array, d: Array) -> None:
    if not len(d) or (d.min() > 1 / _LARGEST and d.max() < _LARGEST):  # NaN is neither
        return
    good = (d > 1 / _LARGEST) & (d < _LARGEST)
    if not d.any():
        raise DistanceError(
            f"{curve.name}: the weights do not move after update {curve.origin}: every distance from there is 0, up "
            f"to t = {t[-1]:g}; expected distances that grow: measure from an earlier origin, or look whether the "
            "weights are trained"
        )
    wrong = np.flatnonzero(~good)
    first = d[wrong[0]]
    squared = " whose square is one too" if 0 < first < math.inf else ""
    raise DistanceError(
        f"{curve.name}: the distance at update {t[wrong[0]]:g} is {first:g}; expected a positive number{squared}: "
        f"{_range_without(wrong, t) or 'none of them is; give distances' + ', in another unit' * bool(squared)}"
    )


def _range_without(wrong: NDArray[np.intp], t: Array) -> str:
    """Advise on a fit range without the distances that are wrong; "" where all are."""
    begin, end = f"after t = {t[wrong[-1]]:g} with t_min", f"before t = {t[wrong[0]]:g} with t_max"
    if len(wrong) == len(t):
        return ""
    if wrong[-1] == len(t) - 1:
        return f"end the fit range {end}"
    at_start = wrong[-1] == len(wrong) - 1
    return f"begin the fit range {begin}" + ("" if at_start else f", or end it {end}")
