"""The law as a curve on one fit range: what follows from α, q, s and a without the data."""

import math

import numpy as np
from numpy.typing import ArrayLike

from analysis.fitting.laws import Array, growth, log_amplitude, log_t0


class LawCurve:
    """Mixin for results that hold z = a + q g_s(u − u_m) with α = 2 s / q (`analysis.fitting.laws`).

    Attributes:
        alpha: α.
        local_exponent: q.
        s: the bend.
        a: log d at the middle of the fit range.
        u: (bin,) log t of the fit range.
    """

    alpha: float
    local_exponent: float
    s: float
    a: float
    u: Array

    @property
    def middle(self) -> float:
        """The t at the middle of the fit range in log t, where the local exponent is taken."""
        return math.exp(self._u_middle)

    @property
    def _u_middle(self) -> float:
        return float(self.u[0] + self.u[-1]) / 2

    @property
    def exponent(self) -> float:
        """2/α, infinite for the power law."""
        return 2 / self.alpha if self.alpha else math.inf

    @property
    def t0(self) -> float:
        """t₀ in updates: 0 for the power law, beyond the fit range for α < 0."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(log_t0(self.s, self._u_middle)))

    @property
    def amplitude(self) -> float:
        """A, in units of d; may overflow to infinity as α → 0, where d = A t^q takes over."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(log_amplitude(self.a, self.local_exponent, self.s, self._u_middle)))

    @property
    def formula(self) -> str:
        """The law with its numbers; as a power of t, where t₀ or A is no number."""
        if 0 < self.t0 < math.inf and 0 < self.amplitude < math.inf:
            return f"{self.amplitude:.4g} · |log(t/{self.t0:.3g})|^{self.exponent:.3g}"
        return f"{math.exp(self.a):.4g} · (t/{self.middle:.0f})^{self.local_exponent:.3g}"

    def predict(self, t: ArrayLike) -> Array:
        """Return the law's distance after t updates.

        Args:
            t: updates since the origin, of any shape.

        Returns:
            Distances of the same shape; NaN on the far side of t₀, and where t has no logarithm.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.log(np.asarray(t, float)) - self._u_middle
            return np.exp(self.a + self.local_exponent * growth(self.s, np.where(self.s * x > -1, x, np.nan)))
