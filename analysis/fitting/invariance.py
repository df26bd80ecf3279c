"""Does α move? A law holds only if α is the same from a later start on, up to an earlier end, and from other origins.

A goodness test asks whether the curve bends about the law; this asks for what a wrong law does first, to drift. Each
change of α is estimated seed by seed, so that what the two ranges share drops out of its error:

- from three seeds on, the mean change over its standard error is Student's t on n − 1 degrees of freedom, for any
  noise that seeds do not share;
- below, the change is linearised in log d, and its error follows from the noise model of the mixture that is
  likeliest if the law is right; of two runs, the smaller p-value counts, times two.

The smallest p-value counts, times the number of changes (Bonferroni).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.fitting.laws import Array, growth, growth_slope
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.noise_models import CELLS, correlations, step_variance
from analysis.fitting.seed_noise import SeedNoise, seed_noise
from analysis.fitting.variable_projection import centred, variable_projection
from analysis.serialize import jsonable

THIRD = 1 / 3  # of the range in log t, which is left out at its start or at its end
SHORTEST = 1.5  # decades: under them, what is left after a third says nothing about α
_SMEAR = 5e-4  # of α, by which a law's mean over a bin changes it
_NUDGE = 1e-5  # of log d, for derivatives of α


@dataclass(frozen=True)
class Change:
    """How a parameter changes with the fit range, or with the origin.

    Attributes:
        what: the range or the origin, in words.
        parameter: what changes, such as "alpha".
        value: its value there, the mean over curves.
        difference: by how much that differs from the value on the whole range, or from the first origin.
        error: the standard error of the difference.
        p_value: of no change.
        origin: the update that d is measured from there; None for a part of the fit range.
    """

    what: str
    parameter: str
    value: float
    difference: float
    error: float
    p_value: float
    origin: int | None = None

    def __str__(self) -> str:
        name = "α" if self.parameter == "alpha" else self.parameter
        compared = "on the whole range" if self.origin is None else "from the fit's own origin"
        moved = f"{self.difference:+.2g} ± {self.error:.2g}"
        return f"{name} is {self.value:.3g} {self.what}, {moved} beside its value {compared}"


@dataclass(frozen=True)
class Invariance:
    """Whether a law's parameters stay the same, with a p-value of its own.

    Attributes:
        changes: with the start, the end, or the origins; empty where the range is too short to ask.
    """

    changes: tuple[Change, ...]

    @property
    def p_value(self) -> float:
        """Of no change at all, over all changes; NaN where there is nothing to compare."""
        known = [change.p_value for change in self.changes if math.isfinite(change.p_value)]
        return min(1.0, len(known) * min(known)) if known else math.nan

    @property
    def worst(self) -> Change:
        """The change with the smallest p-value, of changes that there are."""
        return min(self.changes, key=lambda change: change.p_value if math.isfinite(change.p_value) else math.inf)

    @property
    def moves_with(self) -> str:
        """What the parameter moves with most clearly: "the fit range" or "the origin"."""
        return "the fit range" if self.worst.origin is None else "the origin"

    @property
    def moves(self) -> bool:
        """Whether the p-value is below .05."""
        return self.p_value < ACCEPTED

    def to_dict(self) -> dict[str, Any]:
        """Return the p-value and each change, fit for JSON."""
        found: dict[str, Any] = jsonable(
            {"p_value": self.p_value, "moves": self.moves, "changes": [asdict(change) for change in self.changes]}
        )
        return found


def range_invariance(bins: Bins, noise: SeedNoise | Mixture | None = None) -> Invariance:
    """Test whether α is the same without the first third of a fit range, and without the last, in log t.

    Args:
        bins: one curve, or one per seed.
        noise: of three curves or more, if it is not to be chosen (`seed_noise`); or the noise mixture on these bins,
            if it is at hand, for fewer.

    Returns:
        The test.
    """
    parts = range_parts(bins.u)
    if not parts:
        return Invariance(())
    if len(bins.z) >= 3:
        noise = noise if isinstance(noise, SeedNoise) else seed_noise(bins)
        whole = _alpha_of_seeds(bins, noise)
        pairs = [(name, _alpha_of_seeds(bins.part(part), noise)) for name, part in parts]
        return Invariance(tuple(over_seeds(name, "alpha", alpha, whole) for name, alpha in pairs))
    mixture = noise if isinstance(noise, Mixture) else Mixture(bins)
    return Invariance(tuple(_of_few(name, bins, part, mixture) for name, part in parts))


def range_parts(u: Array) -> list[tuple[str, NDArray[np.bool_]]]:
    """Leave out the first third of a fit range, and the last, in log t.

    Args:
        u: (bin,) log t.

    Returns:
        The two parts in words, and which bins lie in each; none where the range is too short to ask.
    """
    if u[-1] - u[0] < SHORTEST * math.log(10) * (1 - 1e-6):
        return []
    cut = THIRD * (u[-1] - u[0])
    later, earlier = u >= u[0] + cut, u <= u[-1] - cut
    names = f"from t = {math.exp(u[later][0]):.3g} on", f"up to t = {math.exp(u[earlier][-1]):.3g}"
    return list(zip(names, (later, earlier), strict=True))


def origin_invariance(pairs: Sequence[tuple[int, Bins, Bins]], noise: SeedNoise | None = None) -> Invariance:
    """Test whether α is the same from other origins, seed by seed: what origins of one seed share drops out.

    Below three seeds the curves of two origins are taken for independent, which exaggerates the error of their
    difference if they are not.

    Args:
        pairs: for each other origin the update that d is measured from, the bins from there, and those of the same
            seeds from the origin that it is compared with, on one range of t.
        noise: of three seeds or more; None to choose it from what it is compared with (`seed_noise`).

    Returns:
        The test.
    """
    return Invariance(tuple(_from_origin(*pair, noise) for pair in pairs))


def _from_origin(origin: int, there: Bins, here: Bins, noise: SeedNoise | None) -> Change:
    what = f"from update {origin}"
    if len(here.z) >= 3:
        noise = noise or seed_noise(here)
        return over_seeds(what, "alpha", _alpha_of_seeds(there, noise), _alpha_of_seeds(here, noise), origin)
    mixtures = [Mixture(one) for one in (there, here)]
    rows = [
        _apart(*(_with_error(*of) for of in zip((there, here), pair, mixtures, strict=True)))
        for pair in zip(there.z, here.z, strict=True)
    ]
    return _combined(what, rows, origin)


def _apart(there: tuple[float, float, int], here: tuple[float, float, int]) -> tuple[float, float, float, float]:
    """Compare two independent estimates of α: that there, the difference, its error and p-value."""
    difference, error, freedom = there[0] - here[0], math.hypot(there[1], here[1]), min(there[2], here[2])
    size = max(error, _SMEAR * (1 + abs(here[0])))
    return there[0], difference, error, 2 * float(special.stdtr(freedom, -abs(difference) / size))


def _with_error(bins: Bins, z: Array, mixture: Mixture) -> tuple[float, float, int]:
    """Estimate α of one curve, with its standard error under the noise model that is likeliest, and its freedom."""
    alpha = _alpha(bins.u, np.vstack([z, z + _NUDGE * np.eye(len(z))]))
    gradient = (alpha[1:] - alpha[0]) / _NUDGE
    return float(alpha[0]), _error(bins, z, gradient, mixture), len(z) - 3


def _alpha_of_seeds(bins: Bins, noise: SeedNoise) -> Array:
    return variable_projection(bins.u, bins.z, noise.on(bins)).alpha


def _alpha(u: Array, z: Array) -> Array:
    return variable_projection(u, z).alpha


def standard_error(values: Array) -> float:
    """Compute the standard error of the mean of independent seeds, of numbers whose squares may be none too.

    Args:
        values: (seed,) a number of each.

    Returns:
        It.
    """
    scale = max(float(np.abs(values).max()), 1e-300)
    return scale * float((values / scale).std(ddof=1)) / math.sqrt(len(values))


def over_seeds(
    what: str, parameter: str, values: Array, whole: Array, origin: int | None = None, unit: float = 1.0
) -> Change:
    """Test over the seeds whether a parameter changes.

    Args:
        what: the range or the origin, in words.
        parameter: its name.
        values: (seed,) the parameter there.
        whole: (seed,) the parameter on the whole range, or from the fit's own origin.
        origin: that the values were measured from, if they were from another.
        unit: what the parameter is measured against, where it is near 0.

    Returns:
        The change.
    """
    difference = values - whole
    mean, error = float(difference.mean()), standard_error(difference)
    size = max(error, _SMEAR * (unit + abs(float(whole.mean()))))  # bins of noiseless seeds are off by it
    p_value = 2 * float(special.stdtr(len(values) - 1, -abs(mean) / size))
    return Change(what, parameter, float(values.mean()), mean, error, p_value, origin)


def _of_few(what: str, bins: Bins, part: NDArray[np.bool_], mixture: Mixture) -> Change:
    """Return the change of one or two curves, its error from the noise model that is likeliest for each."""
    return _combined(what, [_of_one(bins, z, part, mixture) for z in bins.z])


def _combined(what: str, rows: Sequence[tuple[float, float, float, float]], origin: int | None = None) -> Change:
    """Combine the changes of one or two curves: value, difference, error and p-value of each."""
    alpha, difference, error, p_value = (np.array(column) for column in zip(*rows, strict=True))
    combined = float(np.sqrt(np.sum(error**2)) / len(rows))
    smallest = min(1.0, len(rows) * float(p_value.min()))
    return Change(what, "alpha", float(alpha.mean()), float(difference.mean()), combined, smallest, origin)


def _of_one(bins: Bins, z: Array, part: NDArray[np.bool_], mixture: Mixture) -> tuple[float, float, float, float]:
    u, n = bins.u, len(bins.u)
    nudged = np.vstack([z, z + _NUDGE * np.eye(n)])
    parted, whole = _alpha(u[part], nudged[:, part]), variable_projection(u, nudged)
    change = parted - whole.alpha
    gradient = (change[1:] - change[0]) / _NUDGE
    error = _error(bins, z, gradient, mixture)
    size = max(error, _SMEAR * (1 + abs(float(whole.alpha[0]))))
    p_value = 2 * float(special.stdtr(n - 3, -abs(change[0]) / size))
    return float(parted[0]), float(change[0]), error, p_value


def _error(bins: Bins, z: Array, gradient: Array, mixture: Mixture) -> float:
    """Return the standard error of what has that gradient by log d, under the likeliest noise model."""
    x = centred(bins.u)
    s = float(variable_projection(bins.u, z[None]).s[0])
    tangent = np.stack([growth(s, x), growth_slope(s, x)])
    cell = mixture.likeliest(z, tangent)
    y, *columns = mixture.white_under(cell, np.vstack([z, tangent]))
    design = np.stack(columns, axis=1)
    rss = float(np.sum((y - design @ np.linalg.lstsq(design, y)[0]) ** 2))
    correlation = correlations(bins.u, step_variance(bins.points, bins.steps), [CELLS[cell]])[0]
    return math.sqrt(max(rss / (len(z) - 3) * float(gradient @ correlation @ gradient), 0.0))
