"""Curves that no seed should be: broken down, far from the others, or another one of them in other units."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from analysis.fitting.laws import Array
from analysis.fitting.log_bins import Bins

_APART = 0.05  # root mean square in log d: five times what seeds differ by on real runs
_SPREADS = 8.0  # how many of the others' spreads a seed lies from their median before it is named: real seeds reach 6
_DISAGREE = 0.3  # root mean square in log d of two curves, of which neither can be told to be the odd one
_STD = 1.4826  # a normal variable's standard deviation over its median absolute deviation
_BALLISTIC = 1.5  # local exponent: weights that move on a straight line at a constant speed have 1
_LAST = 4  # log bins, a third of a decade
_STILL_FOR = 2  # log bins: the last quarter of t
_STILL = 1e-6  # of log d: rounding, where weights are not updated; saturated distances go on fluctuating by 1e-3
_ROUNDED = 1e-6  # of log d: single precision rounds by a tenth of it, and seeds differ by ten thousand times as much


def standing_apart(bins: Bins) -> list[str]:
    """Name the seeds that are one curve in two units, run away, stand still or fall, or lie far from the others.

    Args:
        bins: the log bins of one curve, or one per seed.

    Returns:
        A sentence for each.
    """
    broken = broken_down(bins)
    return [*_scaled(bins), *broken.values(), *_far(bins, broken)]


def broken_down(bins: Bins) -> dict[str, str]:
    """Name the curves that run away, stand still or fall, whatever the others do.

    Args:
        bins: the log bins of one curve or more.

    Returns:
        A sentence for each, by its name.
    """
    named = {}
    ends = (bins.z[:, -1] - bins.z[:, -_LAST]) / (bins.u[-1] - bins.u[-_LAST])
    for name, z, exponent in zip(bins.names, bins.z, ends, strict=True):
        still = int(np.flatnonzero(np.abs(z - z[-1]) >= _STILL).max(initial=-1)) + 1
        top = int(z.argmax())
        if exponent > _BALLISTIC:
            named[name] = (
                f"{name} runs away: by t = {math.exp(bins.u[-1]):.4g} its distance grows as t^{exponent:.2g}, faster "
                "than on a straight line; end the range before that with t_max, or leave the curve out."
            )
        elif still <= len(z) - _STILL_FOR:
            named[name] = (
                f"{name} stands still from t = {math.exp(bins.u[still]):.4g} on: its distance does not change, as "
                "when weights have become 0 or are no longer updated (look at the loss and the norm); end the range "
                "before that with t_max, or leave it out."
            )
        elif z[top] - z[-1] > _APART:
            named[name] = (
                f"{name} falls: its distance goes down by {-math.expm1(z[-1] - z[top]):.0%} from "
                f"t = {math.exp(bins.u[top]):.4g} to {math.exp(bins.u[-1]):.4g}, as when training breaks down (look "
                "at the loss); the laws describe growth: end the range before that with t_max, or leave it out."
            )
    return named


def _far(bins: Bins, broken: Mapping[str, str]) -> Iterator[str]:
    """Name the seeds, but for those that broke down, that lie far from the others; of two, neither is the odd one."""
    for i, name in enumerate(bins.names if len(bins.z) >= 3 else ()):
        others = np.delete(bins.z, i, axis=0)
        middle = np.median(others, axis=0)
        away, spread = bins.z[i] - middle, _STD * np.median(np.abs(others - middle), axis=0)
        typical, at = _rms(spread), int(np.argmax(np.abs(away)))
        if name not in broken and _rms(away) > max(_APART, _SPREADS * typical):
            times = f"{math.exp(away[at]):.3g} times the others' median"
            yield (
                f"{name} lies apart: at t = {math.exp(bins.u[at]):.4g} its distance is {times}, while they differ by "
                f"{typical:.1%} among themselves; α and its interval rest on it."
            )
    if len(bins.z) == 2 and not broken and _rms(np.diff(bins.z, axis=0)) > _DISAGREE:
        ratio = math.exp(float(np.ptp(bins.z, axis=0).max()))
        yield f"{' and '.join(bins.names)} lie apart: their distances differ by up to {ratio:.3g} times."


def _scaled(bins: Bins) -> Iterator[str]:
    """Name the seeds that are another one times a number: an interval over them has no width, and means nothing."""
    for i, one in enumerate(bins.z):
        for j, other in enumerate(bins.z[:i]):
            if np.ptp(one - other) <= _ROUNDED < np.ptp(one):
                yield (
                    f"{bins.names[i]} is {bins.names[j]} times {math.exp(one[0] - other[0]):.4g}, one curve in two "
                    "units and no second seed: an interval over them is too narrow. Give it once."
                )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
