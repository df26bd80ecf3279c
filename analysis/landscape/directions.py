"""Directions in weight space: isotropic, filter-normalised, and from one snapshot to another."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from analysis.errors import LandscapeError
from analysis.inputs import is_count
from analysis.landscape.objective import Objective
from trajectory.run import Run


def generator(seed: int | Sequence[int]) -> torch.Generator:
    """Make the source of random numbers of a seed, on the host, so that every device draws the same.

    Args:
        seed: whole numbers; neighbouring ones give unrelated streams.

    Returns:
        The generator; torch's global one is not touched.

    Raises:
        LandscapeError: for a seed below 0.
    """
    numbers = list(seed) if isinstance(seed, Sequence) else [seed]
    if not all(is_count(number, 0) for number in numbers):
        raise LandscapeError(f"seed = {numbers[0]!r}: expected a whole number, 0 or more")
    words = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]))


def isotropic(objective: Objective, seed: int | Sequence[int] = 0) -> Tensor:
    """Draw a direction uniform on the unit sphere.

    Args:
        objective: whose weights are to be moved.
        seed: of the random numbers.

    Returns:
        (weight,), of length 1.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, isotropic
        >>> model = torch.nn.Linear(2, 3)
        >>> objective = Objective(model, [(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))])
        >>> v = isotropic(objective, seed=1)
        >>> v.shape, round(float(v.norm()), 5)
        (torch.Size([9]), 1.0)
    """
    v = _normal(objective, seed)
    return v.div_(v.norm())


def filter_normalised(objective: Objective, seed: int | Sequence[int] = 0) -> Tensor:
    """Draw a Gaussian direction whose filters have the norms of the weights' (Li et al. 2018, section 4).

    A filter is what one output of a layer is computed with: a row of a matrix, a kernel of a convolution. Biases and
    the scales and shifts of normalization, vectors all, do not move, as in the authors' code.

    Args:
        objective: at whose `weights` the filters' norms are taken.
        seed: of the random numbers.

    Returns:
        (weight,).

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, filter_normalised
        >>> model = torch.nn.Linear(2, 3)
        >>> objective = Objective(model, [(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))])
        >>> d = objective.by_name(filter_normalised(objective))
        >>> torch.allclose(d["weight"].norm(dim=1), model.weight.norm(dim=1)), float(d["bias"].norm())
        (True, 0.0)
    """
    drawn, weights = objective.by_name(_normal(objective, seed)), objective.by_name(objective.weights)
    return objective.flat({name: _with_filter_norms(d, weights[name]) for name, d in drawn.items()})


def between(run: Run, start: int, end: int) -> dict[str, Tensor]:
    """Return the way from one snapshot to another, by name; `Objective.flat` joins it to a vector.

    Args:
        run: the run.
        start: the step of its first snapshot.
        end: that of the second.

    Returns:
        w_end − w_start of each floating-point tensor, in float64.

    Raises:
        LandscapeError: for a run without snapshots.
        StoreError: where it holds none at these steps.

    Examples:
        >>> import torch
        >>> from analysis.landscape import between
        >>> from trajectory import Recorder, Run
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        >>> with Recorder("run.zarr", model, optimizer, snapshots=1):
        ...     model.weight.grad = torch.tensor([[3.0]])
        ...     optimizer.step()
        >>> between(Run("run.zarr"), 0, 1)["weight"].tolist()
        [[-1.5]]
    """
    check_snapshots(run)
    if sentence := rounding_of(run):
        warnings.warn(sentence, stacklevel=2)
    first, second = run.state_dict(start), run.state_dict(end)
    return {name: second[name].double() - w.double() for name, w in first.items() if w.is_floating_point()}


def check_snapshots(run: Run) -> None:
    """Refuse a run that holds no weights.

    Args:
        run: the run.

    Raises:
        LandscapeError: where it was recorded without snapshots.
    """
    if not run.snapshots:
        raise LandscapeError(
            f"{run.path}: holds no snapshot; expected a run recorded with snapshots (Recorder(..., snapshots=...))"
        )


def rounding_of(run: Run) -> str:
    """Say what the rounding of a run's snapshots costs.

    A bfloat16 has 8 bits: rounding moves a weight by up to 2^-8 of it, and w by about 2^-7/√12 over the root mean
    square of numbers that are even on a logarithmic scale.

    Args:
        run: the run.

    Returns:
        A sentence; empty where the snapshots are exact.
    """
    if run.snapshot_dtype != "bfloat16":
        return ""
    return (
        f"{run.name}: its snapshots are bfloat16, which moves each weight by up to 0.4 % and w by about 0.0015 ‖w‖:"
        " nothing nearer than that is the run's own"
    )


def _normal(objective: Objective, seed: int | Sequence[int]) -> Tensor:
    w = objective.weights
    dtype = torch.float64 if w.dtype == torch.float64 else torch.float32
    return torch.randn(len(w), generator=generator(seed), dtype=dtype, device="cpu").to(w)


def _with_filter_norms(d: Tensor, w: Tensor) -> Tensor:
    if w.dim() < 2:
        return torch.zeros_like(w)
    axes = tuple(range(1, w.dim()))
    return d * (w.norm(dim=axes, keepdim=True) / d.norm(dim=axes, keepdim=True))
