"""The density of the Hessian's eigenvalues, by stochastic Lanczos quadrature."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh_tridiagonal

from analysis.errors import LandscapeError
from analysis.inputs import is_count
from analysis.landscape.hessian_product import CountedProduct, Progress, signs
from analysis.landscape.objective import Objective
from analysis.potential_result import Array
from analysis.serialize import jsonable

_BROKEN_DOWN = 1e-6  # of the largest |θ|: below it Lanczos' vectors span an invariant subspace
_AGREE = 1e-3  # of the largest |θ|: nodes that differ by less are one eigenvalue and its rounding
_POINTS = 1024


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """The distribution of the Hessian's eigenvalues, as nodes with weights.

    Attributes:
        nodes: (node,) eigenvalues of Lanczos' tridiagonal matrices.
        weights: (node,) the share of eigenvalues near each; they add up to 1.
        dimension: the number of weights.
        steps: Lanczos steps for each random vector.
        probes: the number of random vectors.
        statistics: what normalization layers used, "running" or "batch".
        samples: the number of samples.

    Examples:
        >>> import numpy as np
        >>> from analysis.landscape import SpectralDensity
        >>> density = SpectralDensity(np.array([0.0, 1.0]), np.array([0.9, 0.1]), 10, 2, 1, "running", 100)
        >>> density.trace, density.share_above(0.5)
        (1.0, 0.1)
    """

    nodes: Array
    weights: Array
    dimension: int
    steps: int
    probes: int
    statistics: str
    samples: int

    @property
    def trace(self) -> float:
        """The trace that the nodes imply."""
        return float(self.dimension * (self.weights @ self.nodes))

    def share_above(self, value: float) -> float:
        """Return the share of eigenvalues above a value.

        Args:
            value: the value.
        """
        return float(self.weights[self.nodes > value].sum())

    def density(self, at: ArrayLike, width: float | None = None) -> Array:
        """Return the density, each node drawn as a Gaussian.

        Args:
            at: (point,) where to evaluate it.
            width: the Gaussians' standard deviation; None for 1 % of the nodes' range.

        Returns:
            (point,) values that integrate to 1.
        """
        spread = self.width if width is None else width
        gaussians = np.exp(-0.5 * ((np.asarray(at, float)[:, None] - self.nodes) / spread) ** 2)
        return np.asarray(gaussians @ self.weights / (spread * math.sqrt(2 * math.pi)))

    @property
    def width(self) -> float:
        """A hundredth of the nodes' range; of the largest node, or of 1, where they all but agree."""
        largest = float(np.abs(self.nodes).max())
        spread = float(np.ptp(self.nodes))
        return (spread if spread > _AGREE * largest else largest or 1.0) / 100

    @property
    def peak(self) -> float:
        """The density at an eigenvalue that stands alone, drawn as a Gaussian of that width."""
        return 1 / (self.dimension * self.width * math.sqrt(2 * math.pi))

    def grid(self) -> Array:
        """Return (point,) values over the nodes' range, for drawing."""
        margin = 4 * self.width
        return np.linspace(self.nodes.min() - margin, self.nodes.max() + margin, _POINTS)

    def to_dict(self) -> dict[str, Any]:
        """Return the result, fit for JSON."""
        found: dict[str, Any] = jsonable({**vars(self), "trace": self.trace})
        return found


def spectral_density(
    objective: Objective, *, steps: int = 40, probes: int = 4, seed: int = 0, progress: Progress | None = None
) -> SpectralDensity:
    """Estimate the density of the Hessian's eigenvalues by stochastic Lanczos quadrature (Ghorbani et al. 2019).

    Each random vector starts a Lanczos iteration, all of whose vectors are kept orthogonal; the eigenvalues of its
    tridiagonal matrix are nodes, weighted by the squared first components of the eigenvectors. Memory: `steps`
    vectors of weights.

    Args:
        objective: the loss.
        steps: Lanczos steps for each vector.
        probes: the number of random vectors.
        seed: of the vectors.
        progress: called as progress(done, total).

    Returns:
        Nodes and weights.

    Raises:
        LandscapeError: for no steps or no probes.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, spectral_density
        >>> model = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
        >>> x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
        >>> bowl = Objective(model, [(x, x)], lambda output, _: 1.5 * output.square().sum(1))
        >>> round(spectral_density(bowl).trace, 6)
        14.0
    """
    if not (is_count(steps) and is_count(probes)):
        raise LandscapeError(f"steps = {steps!r}, probes = {probes!r}: expected one or more of each")
    n = len(objective.weights)
    product = CountedProduct(objective, progress, total=probes * min(steps, n))
    nodes, weights = [], []
    for i in range(probes):
        diagonal, off = lanczos(product, signs(objective, (seed, 5, i)), min(steps, n))
        theta, vectors = eigh_tridiagonal(diagonal, off)
        nodes.append(theta)
        weights.append(vectors[0] ** 2 / probes)
    return SpectralDensity(
        np.concatenate(nodes), np.concatenate(weights), n, steps, probes, objective.statistics, objective.samples
    )


def lanczos(product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int) -> tuple[Array, Array]:
    """Make Lanczos' tridiagonal matrix; each new vector is orthogonalised twice against all.

    Args:
        product: v → H v.
        start: (weight,) the first vector.
        steps: the most steps.

    Returns:
        Its diagonal (step,), and what stands beside it (step - 1,).
    """
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    off: list[float] = []
    for _ in range(steps):
        r = product(basis[-1])
        diagonal.append(float(basis[-1] @ r))
        for _ in range(2):
            for q in basis:
                r = r - (q @ r) * q
        length = float(np.linalg.norm(r))
        if length <= _BROKEN_DOWN * max(map(abs, diagonal)) or len(diagonal) == steps:
            break
        off.append(length)
        basis.append(r / length)
    return np.array(diagonal), np.array(off)
