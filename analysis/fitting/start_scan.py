"""Where a fit may start: α, its interval and the goodness of fit against t_min.

The window matters more than the seeds: real curves begin with a transient, and α read across it is another
number. So a fit carries its scan, and starts by default at the earliest t_min at which the law holds.

An interval holds for one window, chosen beforehand. Chosen from the data, a window may still carry the end of a
transient, too small to be detected and large enough to bend α; a decade later it is gone. So a fit also carries the
hull of the intervals over those starts (`over_starts`); `bench/intervals.py --only start` counts how often either
holds the truth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.curve import Curve, Curves, curves
from analysis.errors import GrowthError, ShortCurveError
from analysis.fitting.estimator import Estimate, estimate
from analysis.fitting.log_bins import Bins, binned

STARTS_PER_DECADE = 4
ACCEPTED = 0.05
LATER = 10.0  # how many times later than the fit's start the starts lie that `over_starts` looks at


@dataclass(frozen=True, eq=False)
class Window:
    """One start tried: its bins, and the estimate there, None where the distance does not grow."""

    bins: Bins
    estimate: Estimate | None


def scan(
    data: Curves,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    level: float = 0.95,
    origin: int = 0,
) -> pd.DataFrame:
    """α, its interval and goodness of fit for every start from t_min on, four per decade of t.

    Columns: t_min, t_max (updates), bins, alpha, low, high, q, goodness (p-value), misfit (rms of log d).
    A row is NaN where the distance does not grow. Raises as `fit` does.
    """
    return table(windows(curves(data, origin=origin), t_min, t_max, level))


def windows(group: Sequence[Curve], t_min: float | None, t_max: float | None, level: float) -> list[Window]:
    """Estimates for starts from t_min to the last that leaves a decade and 12 bins; at least one."""
    first = binned(group, t_min, t_max)
    start, end = first.window
    found = [Window(first, _grown(first, level))]
    count = math.floor(STARTS_PER_DECADE * math.log10(end / start / 10) + 1e-9)
    for later in start * 10 ** (np.arange(1, count + 1) / STARTS_PER_DECADE):
        try:
            bins = binned(group, float(later), t_max)
        except ShortCurveError:
            break
        found.append(Window(bins, _grown(bins, level)))
    return found


def _grown(bins: Bins, level: float) -> Estimate | None:
    try:
        return estimate(bins, level)
    except GrowthError:
        return None


def _earliest_good(found: Sequence[Window]) -> tuple[Window | None, bool]:
    """The earliest window whose goodness of fit holds, at least 5 % there and at the start before it; and whether so.

    One good p-value is not enough: the start at which a decaying transient just escapes detection still bends α by
    more than its interval (`bench/intervals.py --only start` shows by how much). The very first start has none before
    it. Where only single starts are good, the last of them is returned, and False.
    """
    good = [w.estimate is not None and w.estimate.goodness >= ACCEPTED for w in found]
    settled = next((w for i, w in enumerate(found) if good[i] and (i == 0 or good[i - 1])), None)
    if settled is not None:
        return settled, True
    return next((w for w, holds in zip(reversed(found), reversed(good), strict=True) if holds), None), False


def choose(found: Sequence[Window], t_min: float | None) -> tuple[Window, tuple[str, ...]]:
    """The first window if t_min was given, else the earliest good one or the least bad; and a sentence."""
    if t_min is not None:
        return found[0], ()
    good, settled = _earliest_good(found)
    if good is not None:
        start = f"t_min was not given: the fit starts at t = {good.bins.window[0]:.4g}, "
        if settled:
            why = f"the earliest start at which the goodness of fit holds (p of at least {ACCEPTED:g}, there and one"
            return good, (f"{start}{why} start before).",)
        why = f"the last start at which the goodness of fit holds (p of at least {ACCEPTED:g}), at no two in a row."
        return good, (start + why,)
    grown = [window for window in found if window.estimate]
    best = max(grown, key=lambda window: window.estimate.goodness, default=found[0])  # type: ignore[union-attr]
    return best, ("t_min was not given and no start gives a good fit: the least bad one is shown.",)


def over_starts(found: Sequence[Window], chosen: Window) -> tuple[float, float] | None:
    """The hull of α's intervals over the starts at which the law holds, from the chosen one to a decade later.

    It holds the true α if the interval of any of these windows does, and is about as wide as the last of them.
    None where the law holds at none of these starts.
    """
    first = chosen.bins.window[0]
    held = [
        window.estimate.interval
        for window in found
        if window.estimate is not None
        and window.estimate.goodness >= ACCEPTED
        and first <= window.bins.window[0] <= LATER * first * (1 + 1e-9)
    ]
    return (min(low for low, _ in held), max(high for _, high in held)) if held else None


def table(found: Sequence[Window]) -> pd.DataFrame:
    """The scan as a table, one row per start."""
    return pd.DataFrame([_row(window) for window in found])


def _row(window: Window) -> dict[str, float]:
    bins, at = window.bins, window.estimate
    row: dict[str, float] = {"t_min": bins.window[0], "t_max": bins.window[1], "bins": len(bins.u)}
    names = ("alpha", "low", "high", "q", "goodness", "misfit")
    values = (at.alpha, *at.interval, at.q, at.goodness, at.misfit) if at else (math.nan,) * len(names)
    return row | dict(zip(names, values, strict=True))
