"""One goodness-of-fit test for whatever is fitted: `fit`, `scan` and `compare` give a law the same p-value.

From three seeds on it consists of t-tests over the seeds, which hold for any noise that seeds do not share, whichever
the curve is weighed for (`seed_noise`). Below, it
is an F-test under the noise model of the mixture that is likeliest if the law is right; of two curves, the smaller
p-value counts, times two. `bench/intervals.py` counts how often either rejects a true law.
"""

import numpy as np

from analysis.fitting.goodness_of_fit import deviations, seeds_p
from analysis.fitting.laws import Array
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.noise_models import Whitener
from analysis.fitting.seed_noise import seed_noise
from analysis.fitting.variable_projection import centred

_ROUNDING = 1e-6  # of the largest direction: a law at the end of its range can hardly bend in some


def goodness_test(n: int) -> str:
    """Name the test that a p-value of n curves comes from, and how often it rejects a true law, in words.

    The shares were counted by `bench/intervals.py` and `bench/widths.py`, of a nominal .05.

    Args:
        n: number of curves.

    Returns:
        A phrase.
    """
    of = "of two bends and two transients beside the law"
    if n >= 3:
        size = "under any noise that seeds do not share, a true law is rejected in .05 of cases"
        return f"t-tests over the seeds {of}; {size}"
    each = "" if n == 1 else " for each run"
    model = "under the noise model of the mixture that is likeliest if the law is right"
    return (
        f"F-test{each} {of}, {model}; it rejects a true law in .05 of cases, in up to .10 where noise is very smooth"
    )


def p_value(bins: Bins, curve: Array, tangent: Array, noise: Whitener | Mixture | None = None) -> float:
    """Test whether a law describes one or more curves.

    Args:
        bins: the curves.
        curve: (bin,) the law's log d, up to a constant.
        tangent: (parameter, bin) its derivatives by the law's parameters.
        noise: what makes the noise of three seeds or more white, by default that of `seed_noise`; or the noise
            mixture on these bins, if it is at hand, for fewer.

    Returns:
        The p-value.
    """
    tangent = _directions(tangent)
    if len(bins.z) >= 3:
        whiten = noise if callable(noise) else seed_noise(bins).on(bins)
        return seeds_p(whiten(bins.z - curve), whiten(tangent), whiten(deviations(centred(bins.u))))
    mixture = noise if isinstance(noise, Mixture) else Mixture(bins)
    return min(1.0, len(bins.z) * min(mixture.p_value(z, curve, tangent) for z in bins.z))


def _directions(tangent: Array) -> Array:
    """Return orthonormal directions into which a law can bend, but for constants and for what rounding leaves."""
    _, size, directions = np.linalg.svd(tangent - tangent.mean(axis=1, keepdims=True), full_matrices=False)
    return directions[size > _ROUNDING * size.max(initial=0.0)]
