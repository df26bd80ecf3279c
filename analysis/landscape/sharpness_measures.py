"""How much higher the loss gets near a minimum: Keskar's sharpness, an adaptive one, and whether all directions rise.

    φ = 100 (max_{|d_i| ≤ b_i} L(w + d) − L(w)) / (1 + L(w)),    b_i = ε (|w_i| + 1)       (Keskar et al. 2017, eq. 3)

In a subspace d = A y with A ~ N(0, 1) of n × p numbers, and b_i = ε (|(A⁺w)_i| + 1). The adaptive one has
b_i = ρ |w_i| (Kwon et al. 2021): rescaling layers that leaves the function as it is leaves it too, unlike φ (Dinh et
al. 2017).
None of them predicts generalisation well (Andriushchenko et al. 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from analysis.errors import LandscapeError
from analysis.inputs import is_count, is_finite_number
from analysis.landscape.directions import generator
from analysis.landscape.maximum import Maximum, Method, ascend, l_bfgs_b
from analysis.landscape.objective import Objective
from analysis.landscape.subspace import RandomSubspace
from analysis.potential_result import Probe
from analysis.serialize import Part, Table, Tabulated, jsonable

_START = 0.1  # of the box: where ascent begins; at w itself a minimum has no gradient to follow


@dataclass(frozen=True, repr=False)
class Sharpness(Tabulated):
    """How much higher the loss gets in a box around the weights.

    Attributes:
        phi: 100 (largest − loss) / (1 + loss).
        loss: L(w).
        largest: the largest loss seen in the box.
        measure: "box" for b_i = ε (|w_i| + 1), "adaptive" for b_i = ρ |w_i|.
        radius: ε or ρ.
        method: "ascent" or "l-bfgs-b".
        subspace: the dimension of the random subspace; None for the full space.
        statistics: what normalization layers used, "running" or "batch".
        gradients: the number of gradient evaluations.

    Examples:
        >>> from analysis.landscape import Sharpness
        >>> Sharpness(50.0, 1.0, 2.0, "box", 1e-3, "ascent", None, "running", 11).to_dict()["phi"]
        50.0
    """

    phi: float
    loss: float
    largest: float
    measure: Literal["box", "adaptive"]
    radius: float
    method: Method
    subspace: int | None
    statistics: str
    gradients: int

    @property
    def note(self) -> str:
        """What the number is and is not worth."""
        bound = "The largest loss seen: a lower bound of the maximum"
        if self.method == "l-bfgs-b":
            bound += ", which ten iterations of L-BFGS-B may miss by far"
        return f"{bound}. No sharpness predicts generalisation well (Andriushchenko et al. 2023)."

    def to_dict(self) -> dict[str, Any]:
        """Return the result, fit for JSON."""
        found: dict[str, Any] = jsonable({**vars(self), "note": self.note})
        return found

    def _summary(self) -> Sequence[Part]:
        box = "ε (|w| + 1), ε" if self.measure == "box" else "ρ |w|, ρ"
        where = "full space" if self.subspace is None else f"random subspace of {self.subspace}"
        rows = [
            ("sharpness φ", f"{self.phi:.4g}"),
            ("loss", f"{self.loss:.4g} at the weights, {self.largest:.4g} at most"),
            ("box", f"{box} = {self.radius:g}, {where}"),
            ("method", f"{self.method}, {self.gradients} gradients"),
            ("normalization", f"{self.statistics} statistics"),
        ]
        return [Table(rows), self.note]


def sharpness(
    objective: Objective,
    eps: float = 1e-3,
    subspace: int | None = None,
    method: Method = "ascent",
    *,
    steps: int = 10,
    seed: int = 0,
) -> Sharpness:
    """Measure Keskar's sharpness φ of the objective's weights.

    "ascent" follows the sign of the gradient to a corner of the box, from a random point of its inner tenth.
    "l-bfgs-b" is the paper's method, from w on: at an exact minimum it finds no way up and returns 0. Both give a
    lower bound, the largest loss seen.

    Args:
        objective: the loss, its `weights` at the minimum.
        eps: ε, half the box's width for a weight of 0.
        subspace: the dimension p of a random subspace (the paper: 100); None for the full space.
        method: "ascent" or "l-bfgs-b".
        steps: gradient steps or iterations.
        seed: of the start and of the subspace.

    Returns:
        φ, and how it was found.

    Raises:
        LandscapeError: for a box below the weights' precision, a subspace larger than the space, an unknown method,
            and a loss that is not finite.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, sharpness
        >>> model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> x = torch.eye(2, dtype=torch.float64)
        >>> bowl = Objective(model, [(x, x)], lambda output, _: output.square().sum(1))
        >>> round(sharpness(bowl, eps=0.1).phi, 9)  # the maximum is (.1² + .1²)/2 on two samples
        1.0
    """
    w = objective.weights
    check_radius("eps", eps, objective)
    _check_steps(steps)
    if subspace is None:
        found = _maximise(objective, eps * (w.abs() + 1), method, steps, seed)
    else:
        basis = RandomSubspace.of(objective, subspace, seed)
        found = _maximise(objective, eps * (basis.coordinates(w).abs() + 1), method, steps, seed, basis)
    return _result(objective, found, "box", eps, method, subspace)


def adaptive_sharpness(objective: Objective, rho: float = 0.01, *, steps: int = 10, seed: int = 0) -> Sharpness:
    """Measure the adaptive sharpness of the objective's weights, with b_i = ρ |w_i| (Kwon et al. 2021).

    Args:
        objective: the loss, its `weights` at the minimum.
        rho: ρ, the share by which every weight may change.
        steps: gradient steps.
        seed: of the start.

    Returns:
        φ with this box, found by ascent.

    Raises:
        LandscapeError: for a box below the weights' precision, and a loss that is not finite.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, adaptive_sharpness
        >>> model = torch.nn.Linear(2, 3)
        >>> objective = Objective(model, [(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))])
        >>> adaptive_sharpness(objective).measure
        'adaptive'
    """
    w = objective.weights
    check_radius("rho", rho, objective)
    _check_steps(steps)
    found = _maximise(objective, rho * w.abs(), "ascent", steps, seed)
    return _result(objective, found, "adaptive", rho, "ascent", None)


def rising(probe: Probe) -> pd.DataFrame:
    """Count the directions in which the loss rises, by radius, beside the rise in the worst of them.

    Near by it is half of them for any smooth loss, whatever its minimum looks like: the fraction means nothing alone.

    Args:
        probe: differences of the loss in both senses of each direction.

    Returns:
        By origin and distance z: `rises`, the fraction of directions with a higher loss, each sense by itself;
        `both_ways`, the fraction that rise in both; `worst`, the largest rise; and `phi`, 100 worst / (1 + L).

    Raises:
        LandscapeError: for a loss of -1 or below, by which φ would divide wrongly.

    Examples:
        >>> import numpy as np
        >>> from analysis import Probe
        >>> from analysis.landscape import rising
        >>> delta = np.array([[[[1.0, 2.0], [-1.0, 3.0]]]])
        >>> one = np.ones(1)
        >>> probe = Probe(np.array([0.1, 0.2]), delta, one, 5, one, one, "running", "float32")
        >>> rising(probe)[["rises", "both_ways", "worst"]].values.tolist()
        [[0.5, 0.0, 1.0], [1.0, 1.0, 3.0]]
    """
    _above_minus_one(float(probe.loss.min()))
    up = probe.delta > 0
    worst = probe.delta.max(axis=(1, 2))
    index = pd.MultiIndex.from_product([range(len(up)), probe.z], names=["origin", "z"])
    columns = {
        "rises": up.mean(axis=(1, 2)),
        "both_ways": up.all(axis=2).mean(axis=1),
        "worst": worst,
        "phi": 100 * worst / (1 + probe.loss[:, None]),
    }
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index)


def _maximise(
    objective: Objective, box: Tensor, method: Method, steps: int, seed: int, basis: RandomSubspace | None = None
) -> Maximum:
    w = objective.weights

    def at_displacement(y: Tensor) -> tuple[float, Tensor]:
        loss, gradient = objective.loss_and_gradient(w + (y if basis is None else basis.expand(y)))
        return loss, gradient if basis is None else basis.project(gradient)

    if method == "ascent":
        dtype = torch.float64 if box.dtype == torch.float64 else torch.float32
        uniform = torch.rand(len(box), generator=generator((seed, 1)), dtype=dtype, device="cpu").to(box)
        start = uniform.mul_(2).sub_(1).mul_(_START).mul_(box)
        if basis is not None:
            return ascend(at_displacement, -box, box, start, steps)
        return ascend(objective.loss_and_gradient, w - box, w + box, start.add_(w), steps)
    if method == "l-bfgs-b":
        return l_bfgs_b(at_displacement, box, steps)
    raise LandscapeError(f"method = {method!r}; expected 'ascent' or 'l-bfgs-b'")


def _result(
    objective: Objective,
    found: Maximum,
    measure: Literal["box", "adaptive"],
    radius: float,
    method: Method,
    subspace: int | None,
) -> Sharpness:
    loss = _above_minus_one(objective.loss())
    largest = max(loss, found.value)
    phi = 100 * (largest - loss) / (1 + loss)
    return Sharpness(phi, loss, largest, measure, radius, method, subspace, objective.statistics, found.gradients)


def _above_minus_one(loss: float) -> float:
    if loss <= -1:
        raise LandscapeError(
            f"the loss is {loss:.4g}: φ divides by 1 + L, and expects a loss above -1; add a constant"
        )
    return loss


def check_radius(name: str, radius: float, objective: Objective) -> None:
    """Refuse a box that the weights' precision does not resolve.

    Args:
        name: what the radius is called.
        radius: ε or ρ.
        objective: the loss.

    Raises:
        LandscapeError: where it is too small, or no finite number.
    """
    least = 50 * objective.rounding
    if not (is_finite_number(radius) and radius >= least):
        raise LandscapeError(
            f"{name} = {radius!r}: expected a radius that {objective.precision} weights resolve, {least:.1g} or more"
        )


def _check_steps(steps: int) -> None:
    if not is_count(steps):
        raise LandscapeError(f"steps = {steps!r}: expected one or more")
