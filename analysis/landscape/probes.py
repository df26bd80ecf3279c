"""The random potential: differences of the loss at distances from origins, in random directions."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike

from analysis.errors import LandscapeError
from analysis.inputs import is_count, numbers
from analysis.landscape.directions import isotropic
from analysis.landscape.objective import Objective, Origin
from analysis.potential_result import Array, Probe

Progress = Callable[[int, int], None]
"""Called as progress(done, total) with numbers of evaluations."""


def probe(
    objective: Objective,
    origins: Iterable[Origin],
    z: ArrayLike,
    directions: int = 8,
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> Probe:
    """Measure L(w₀ ± z v) − L(w₀) for origins w₀ and isotropic unit vectors v (Hoffer et al. 2017, section 3).

    It costs an evaluation of the loss for each point, and one of the loss and its gradient for each origin.

    Args:
        objective: the loss.
        origins: flat weights, or state dicts: initial weights, or snapshots of different seeds at one t. Snapshots of
            one run are not independent.
        z: (distance,) the distances; choose them beforehand from those that the run covers.
        directions: the number of directions for each origin; each is taken in both senses.
        seed: of the directions.
        progress: called as progress(done, total) with numbers of evaluations, after each direction.

    Returns:
        The differences, for `analysis.potential`.

    Raises:
        LandscapeError: for distances that the weights' precision does not resolve, weights that do not fit the model,
            and a loss that is not finite.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, potential, probe
        >>> model = torch.nn.Linear(2, 3)
        >>> objective = Objective(model, [(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))])
        >>> origins = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
        >>> found = probe(objective, origins, z=[0.01, 0.02, 0.04])
        >>> found.delta.shape
        (5, 8, 2, 3)
        >>> round(potential(found).alpha, 1)  # what Taylor's expansion gives for any smooth loss
        2.0
    """
    return Probe.joined(list(probe_each(objective, origins, z, directions, seed, progress=progress)))


def probe_each(
    objective: Objective,
    origins: Iterable[Origin],
    z: ArrayLike,
    directions: int = 8,
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> Iterator[Probe]:
    """Yield the probe of one origin after another, so that what is done stays when a later one is interrupted.

    Args:
        objective: the loss.
        origins: as for `probe`.
        z: (distance,) the distances.
        directions: the number of directions for each origin.
        seed: of the directions.
        progress: as for `probe`.

    Raises:
        LandscapeError: as `probe`.
    """
    distances, _ = numbers(z, lambda got: LandscapeError(f"z: expected distances, an array of numbers; it {got}"))
    if distances.ndim != 1 or not len(distances) or not (distances[0] > 0 and (np.diff(distances) > 0).all()):
        raise LandscapeError("z: expected distances that increase from above 0")
    if not is_count(directions):
        raise LandscapeError(f"directions = {directions}; expected 1 or more")
    listed = list(origins)
    each = 2 * directions * len(distances)

    for i, origin in enumerate(listed):

        def advance(done: int, before: int = i * each) -> None:
            if progress is not None:
                progress(before + done, len(listed) * each)

        yield _probe_one(objective.at(origin), distances, directions, (seed, i), advance)


def _probe_one(
    objective: Objective, z: Array, directions: int, seed: tuple[int, int], advance: Callable[[int], None]
) -> Probe:
    w = objective.weights
    precision, norm = objective.precision, float(w.double().norm())
    if z[0] < objective.smallest_step:
        raise LandscapeError(
            f"z = {z[0]:.2g} is lost in the rounding of {precision} weights of norm {norm:.3g}; expected"
            f" {objective.smallest_step:.2g} or more"
        )
    loss, gradient = objective.loss_and_gradient()
    moved = torch.empty_like(w)
    delta = np.empty((1, directions, 2, len(z)))
    for j in range(directions):
        v = isotropic(objective, (*seed, j))
        for k, sense in enumerate((1, -1)):
            for m, distance in enumerate(z):
                delta[0, j, k, m] = objective.loss(torch.add(w, v, alpha=sense * float(distance), out=moved)) - loss
            advance((2 * j + k + 1) * len(z))
    return Probe(
        z=z,
        delta=delta,
        gradient_norm=np.array([float(gradient.double().norm())]),
        dimension=len(w),
        loss=np.array([loss]),
        weight_norm=np.array([norm]),
        statistics=objective.statistics,
        precision=precision,
    )
