"""How far a law lies from its curve, beside the p-value: a law may be rejected and close, or not rejected and far.

With enough seeds, a test rejects every formula, by misfits of a few thousandths. So size and p-value are told
together, and a rejected law is one of two things:

- close, where its rms residual is at most 1 % of d, which is what seeds of real runs differ by, its largest residual
  at most 3 %, and the rms residual at most a twentieth of what log d grows by over the fit range, since anything
  describes to 1 % a distance that hardly grows;
- wrong otherwise.

A law that is not rejected holds, unless its rms residual is 5 % of d or more: then the noise is too large, or the
noise model too lenient, for the test to say anything, and the law is far.
"""

import math
from dataclasses import dataclass

import numpy as np

from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.fitting.laws import Array

CLOSE = 0.01  # of d: what seeds of real runs differ by
CLOSE_EVERYWHERE = 0.03
SHARE_OF_GROWTH = 0.05
FAR = 0.05  # of d: five times what seeds of real runs differ by


@dataclass(frozen=True)
class EffectSize:
    """The misfit of a law on one fit range, in log d: .01 is 1 % of d.

    Attributes:
        rms: root mean square of the mean log d about the law.
        largest: the largest distance of the mean log d from the law.
        seed_spread: root mean square, over the bins, of the seeds' standard deviation; NaN for one curve.
        growth: by how much the mean log d grows over the range.
    """

    rms: float
    largest: float
    seed_spread: float
    growth: float

    @property
    def in_spreads(self) -> float:
        """The rms residual in units of the seeds' spread; NaN for one curve."""
        return self.rms / self.seed_spread if self.seed_spread > 0 else math.nan

    @property
    def close(self) -> bool:
        """Whether the law describes the curve to what seeds differ by, by the module's rule."""
        return self.rms <= min(CLOSE, SHARE_OF_GROWTH * self.growth) and self.largest <= CLOSE_EVERYWHERE

    def __str__(self) -> str:
        spreads = "" if math.isnan(self.in_spreads) else f", {self.in_spreads:.2g} of the seeds' spread"
        return f"rms residual {self.rms:.2%} of d{spreads}, largest {self.largest:.2%}"


class Judged:
    """Mixin for results that hold a p-value and an effect size: what the two say together.

    Attributes:
        p_value: of the law's goodness of fit.
        size: of its misfit.
    """

    p_value: float
    size: EffectSize

    @property
    def rejected(self) -> bool:
        """Whether the p-value is below .05."""
        return self.p_value < ACCEPTED

    @property
    def agreement(self) -> str:
        """One of: holds; not rejected, though far; rejected, though close; wrong.

        `analysis.fitting.effect_size` states the rule.
        """
        if not self.rejected:
            return "holds" if self.size.rms < FAR else "not rejected, though far"
        return "rejected, though close" if self.size.close else "wrong"

    @property
    def rms_residual(self) -> float:
        """Root mean square of the mean log d about the law: .01 is 1 % of d."""
        return self.size.rms

    @property
    def max_residual(self) -> float:
        """The largest distance of the mean log d from the law."""
        return self.size.largest

    @property
    def residual_in_spreads(self) -> float:
        """The rms residual in units of the seeds' spread; NaN for one curve."""
        return self.size.in_spreads


def effect_size(z: Array, curve: Array) -> EffectSize:
    """Measure how far a law lies from the mean of some curves.

    Args:
        z: (curve, bin) log d.
        curve: (bin,) the law's log d.

    Returns:
        The effect size.
    """
    mean = z.mean(axis=0)
    residual = np.abs(mean - curve)
    spread = float(np.sqrt(np.mean(z.var(axis=0, ddof=1)))) if len(z) > 1 else math.nan
    return EffectSize(float(np.sqrt(np.mean(residual**2))), float(residual.max()), spread, float(mean[-1] - mean[0]))
