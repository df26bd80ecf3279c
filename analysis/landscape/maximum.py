"""The largest value of a function in a box: by following the gradient's sign, or by L-BFGS-B."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

Method = Literal["ascent", "l-bfgs-b"]
Function = Callable[[Tensor], tuple[float, Tensor]]
"""Of a point: the value and the gradient there."""


@dataclass(frozen=True, eq=False)
class Maximum:
    """The largest value seen in a box.

    Attributes:
        value: the value.
        gradients: the number of gradients that it took.
    """

    value: float
    gradients: int


def ascend(function: Function, low: Tensor, high: Tensor, start: Tensor, steps: int) -> Maximum:
    """Follow the sign of the gradient: x ← clip(x + s (high − low) sign g), s halved where the value does not rise.

    From s = 1 on, so that the first step leads to a corner of the box. At a corner where the gradient points outwards
    it ends.

    Args:
        function: what is maximised.
        low: (weight,) the box's lower bounds.
        high: (weight,) its upper bounds.
        start: (weight,) a point inside.
        steps: the most steps to take.

    Returns:
        The largest value seen.
    """
    value, gradient = function(start)
    x, sign, width, s, gradients = start, gradient.sign_(), high - low, 1.0, 1
    further = torch.empty_like(x)
    for _ in range(steps):
        torch.addcmul(x, width, sign, value=s, out=further)
        torch.clamp(further, low, high, out=further)
        if torch.equal(further, x):
            break
        there, gradient = function(further)
        gradients += 1
        if there > value:
            x, further, value, sign = further, x, there, gradient.sign_()
        else:
            s /= 2
    return Maximum(value, gradients)


def l_bfgs_b(function: Function, box: Tensor, steps: int) -> Maximum:
    """Maximise by L-BFGS-B from the middle of the box on, as Keskar et al. 2017 do with ten iterations.

    Args:
        function: what is maximised, of the displacement from the middle.
        box: (weight,) half widths b.
        steps: the most iterations.

    Returns:
        The largest value seen, on the way too.
    """
    values: list[float] = []

    def descended(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = function(torch.from_numpy(x).to(box))
        values.append(value)
        return -value, -gradient.double().cpu().numpy()

    half = box.double().cpu().numpy()
    optimize.minimize(
        descended,
        np.zeros(len(half)),
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(-half, half),
        options={"maxiter": steps},
    )
    return Maximum(max(values), len(values))
