"""The Hessian's largest eigenvalues and its trace, from Hessian-vector products.

Products are by reverse over reverse (`Objective.hessian_vector_product`). Take at least 4096 samples: the largest
eigenvalue of a few samples is not that of the data set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh

from analysis.errors import LandscapeError
from analysis.inputs import is_count, is_finite_number
from analysis.landscape.directions import generator
from analysis.landscape.hessian_product import CountedProduct, Progress, signs
from analysis.landscape.objective import Objective
from analysis.potential_result import Array
from analysis.serialize import Part, Table, Tabulated, jsonable


@dataclass(frozen=True, eq=False, repr=False)
class Eigenvalues(Tabulated):
    """The largest eigenvalues of the Hessian.

    Attributes:
        values: (k,) from the largest on, algebraically.
        vectors: (k, weight) their unit eigenvectors.
        products: the number of Hessian-vector products.
        statistics: what normalization layers used, "running" or "batch".
        samples: the number of samples.

    Examples:
        >>> import numpy as np
        >>> from analysis.landscape import Eigenvalues
        >>> Eigenvalues(np.array([2.0, 1.0]), np.eye(2), 7, "running", 100).to_dict()["values"]
        [2.0, 1.0]
    """

    values: Array
    vectors: np.ndarray
    products: int
    statistics: str
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result without the eigenvectors, fit for JSON."""
        found: dict[str, Any] = jsonable({name: value for name, value in vars(self).items() if name != "vectors"})
        return found

    def _summary(self) -> Sequence[Part]:
        rows = [
            ("largest eigenvalues", ", ".join(f"{value:.4g}" for value in self.values)),
            ("made from", f"{self.products} Hessian-vector products on {self.samples} samples"),
            ("normalization", f"{self.statistics} statistics"),
        ]
        return [Table(rows)]


@dataclass(frozen=True, repr=False)
class Trace(Tabulated):
    """The Hessian's trace, estimated from random vectors.

    Attributes:
        value: the estimate.
        error: its standard error.
        probes: the number of random vectors.
        statistics: what normalization layers used, "running" or "batch".
        samples: the number of samples.

    Examples:
        >>> from analysis.landscape import Trace
        >>> Trace(9.0, 2.0, 32, "running", 4096)
        trace          9 ± 2 (one standard error, 32 probes, 4096 samples)
        normalization  running statistics
    """

    value: float
    error: float
    probes: int
    statistics: str
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result, fit for JSON."""
        found: dict[str, Any] = jsonable(vars(self))
        return found

    def _summary(self) -> Sequence[Part]:
        made = f"one standard error, {self.probes} probes, {self.samples} samples"
        value = f"{self.value:.4g} ± {self.error:.2g} ({made})"
        return [Table([("trace", value), ("normalization", f"{self.statistics} statistics")])]


def eigenvalues(
    objective: Objective, k: int = 5, *, tol: float = 1e-3, seed: int = 0, progress: Progress | None = None
) -> Eigenvalues:
    """Find the largest eigenvalues of the Hessian at the objective's weights, by restarted Lanczos (ARPACK).

    They are the algebraically largest; the largest in magnitude would mix in negative ones. It takes 22 to 29
    Hessian-vector products for five eigenvalues of F1 on MNIST.

    Args:
        objective: the loss.
        k: the number of eigenvalues.
        tol: relative accuracy.
        seed: of the start.
        progress: called as progress(done, total); the total is a guess.

    Returns:
        The eigenvalues with their eigenvectors.

    Raises:
        LandscapeError: for more eigenvalues than there are weights, or where the iteration does not converge.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, eigenvalues
        >>> model = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
        >>> x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
        >>> bowl = Objective(model, [(x, x)], lambda output, _: 1.5 * output.square().sum(1))
        >>> eigenvalues(bowl, k=2).values.round(6).tolist()
        [9.0, 4.0]
    """
    check_eigenvalues(k, objective)
    n = len(objective.weights)
    if not (is_finite_number(tol) and tol >= 0):
        raise LandscapeError(f"tol = {tol!r}: expected a relative accuracy, such as 1e-3, or 0 for the machine's")
    product = CountedProduct(objective, progress, total=6 * k)
    if n <= 3 * k:
        dense = np.stack([product(row) for row in np.eye(n)])
        values, vectors = np.linalg.eigh((dense + dense.T) / 2)
        values, vectors = values[-k:], vectors[:, -k:]
    else:
        start = torch.randn(n, generator=generator((seed, 3)), dtype=torch.float64, device="cpu").numpy()
        operator = LinearOperator((n, n), matvec=product, dtype=product.dtype)
        try:
            values, vectors = eigsh(
                operator, k=k, which="LA", tol=tol, ncv=max(3 * k, 4), v0=start.astype(product.dtype)
            )
        except ArpackNoConvergence as error:
            raise LandscapeError(
                f"{len(error.eigenvalues)} of {k} eigenvalues converged in {product.count} products; ask for fewer,"
                f" or for less accuracy than tol = {tol:g}"
            ) from None
        except ArpackError as error:
            raise LandscapeError(
                f"{str(error).rstrip('.')}; expected a loss with curvature: a linear one has only 0"
            ) from None
    order = np.argsort(values)[::-1]
    return Eigenvalues(
        np.asarray(values[order], float), vectors[:, order].T, product.count, objective.statistics, objective.samples
    )


def check_eigenvalues(k: int, objective: Objective) -> None:
    """Refuse a number of eigenvalues that the Hessian does not have.

    Args:
        k: the number.
        objective: the loss.

    Raises:
        LandscapeError: for none, or more than there are weights.
    """
    n = len(objective.weights)
    if not is_count(k, 1, n):
        raise LandscapeError(f"k = {k!r}: expected a number of eigenvalues from 1 to the {n} weights")


def check_probes(probes: int) -> None:
    """Refuse a number of random vectors whose spread says nothing.

    Args:
        probes: the number.

    Raises:
        LandscapeError: for fewer than two.
    """
    if not is_count(probes, 2):
        raise LandscapeError(f"probes = {probes!r}: expected two or more, whose spread gives the error")


def trace(objective: Objective, probes: int = 32, *, seed: int = 0, progress: Progress | None = None) -> Trace:
    """Estimate the Hessian's trace at the objective's weights: the mean of vᵀHv, v of random signs (Hutchinson 1990).

    Args:
        objective: the loss.
        probes: the number of random vectors, 2 or more; of 8 the error is 5 to 24 %.
        seed: of the vectors.
        progress: called as progress(done, total).

    Returns:
        The trace with its standard error.

    Raises:
        LandscapeError: for fewer than two probes.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, trace
        >>> model = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
        >>> x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
        >>> bowl = Objective(model, [(x, x)], lambda output, _: 1.5 * output.square().sum(1))
        >>> round(trace(bowl).value, 6)
        14.0
    """
    check_probes(probes)
    product = CountedProduct(objective, progress, total=probes)
    draws = np.array([float(v @ product(v)) for v in (signs(objective, (seed, 4, i)) for i in range(probes))])
    error = float(draws.std(ddof=1) / math.sqrt(probes))
    return Trace(float(draws.mean()), error, probes, objective.statistics, objective.samples)
