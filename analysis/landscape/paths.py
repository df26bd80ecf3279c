"""The loss on a straight line between two points in weight space, and along a recorded trajectory."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.errors import LandscapeError
from analysis.inputs import is_count, is_finite_number
from analysis.landscape.directions import check_snapshots, rounding_of
from analysis.landscape.objective import Objective, Origin
from analysis.serialize import Part, Table, Tabulated, jsonable, records
from trajectory.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Progress = Callable[[int, int], None]
"""Called as progress(done, total) with numbers of evaluations."""


@dataclass(frozen=True, eq=False, repr=False)
class LossPath(Tabulated):
    """The loss on the line a + x (b − a).

    Attributes:
        table: columns `x` and `loss`.
        barrier: the largest rise of the loss above its chord from a to b, on 0 ≤ x ≤ 1; 0 if there is none.
        distance: ‖b − a‖.
        statistics: what normalization layers used, "running" or "batch".

    Examples:
        >>> import pandas as pd
        >>> from analysis.landscape import LossPath
        >>> table = pd.DataFrame({"x": [0.0, 0.5, 1.0], "loss": [1.0, 3.0, 1.0]})
        >>> LossPath(table, 2.0, 5.0, "batch").to_dict()["barrier"]
        2.0
    """

    table: pd.DataFrame
    barrier: float
    distance: float
    statistics: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result, fit for JSON."""
        found: dict[str, Any] = jsonable({name: value for name, value in vars(self).items() if name != "table"})
        return found | {"points": records(self.table)}

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row for each point: x and the loss."""
        return self.table.copy()

    def plot(self, test: "LossPath | None" = None, ax: "Axes | None" = None) -> "Figure":
        """Draw the loss along the line.

        Args:
            test: the same line on the test set, drawn dotted.
            ax: draw there.

        Returns:
            The figure, as `analysis.figures.path` makes it.
        """
        from analysis import figures  # results draw themselves: the one import upwards that pyproject.toml excepts

        return figures.path(self, test, ax)

    def _summary(self) -> Sequence[Part]:
        ends = self.table.set_index("x")["loss"]
        rows = [
            ("loss", f"{ends[0.0]:.4g} at the first end, {ends[1.0]:.4g} at the second"),
            ("barrier", f"{self.barrier:.4g} above the chord"),
            ("distance", f"{self.distance:.4g}"),
            ("normalization", f"{self.statistics} statistics"),
        ]
        return [Table(rows)]


def path(
    objective: Objective,
    a: Origin,
    b: Origin,
    points: int = 25,
    span: tuple[float, float] = (-1, 2),
    *,
    progress: Progress | None = None,
) -> LossPath:
    """Evaluate the loss on the line through two points, L(a + x (b − a)) (Goodfellow et al. 2015).

    Take batch statistics: running ones belong to one point, and interpolated beyond the ends variances turn negative.

    Args:
        objective: the loss.
        a: the first point, flat or a state dict.
        b: the second.
        points: the number of points, evenly spaced; 0 and 1 are added where they are not among them.
        span: the first and the last x.
        progress: called as progress(done, total).

    Returns:
        The loss on the line, and the barrier between the two points.

    Raises:
        LandscapeError: with running statistics in a model that normalizes, for a span without 0 and 1, for weights
            that do not fit the model or whose frozen parts differ, and for a loss that is not finite.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, path
        >>> model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
        >>> x = torch.ones(1, 1, dtype=torch.float64)
        >>> hill = Objective(model, [(x, x)], lambda output, _: -output.square().sum(1))
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> path(hill, -one, one).barrier
        1.0
    """
    if objective.statistics == "running" and objective.normalizes:
        raise LandscapeError(
            "running statistics belong to one point of a path, and interpolated ones turn negative beyond its ends;"
            " take Objective(..., statistics='batch')"
        )
    if not (_holds_ends(span) and is_count(points, 2)):
        raise LandscapeError(f"span = {span}, points = {points}: expected a span that holds 0 and 1, and two points")
    start, end = objective.at(a), objective.at(b)
    if apart := start.frozen_apart(end):
        raise LandscapeError(
            f"the two ends differ in {apart}, which the model has frozen: no line of weights joins them"
        )
    first, second = start.weights, end.weights
    x = np.union1d(np.linspace(*span, points), [0.0, 1.0])
    way, losses = second.double() - first.double(), []
    for position in x:
        losses.append(start.loss((first.double() + float(position) * way).to(first)))
        if progress is not None:
            progress(len(losses), len(x))
    table = pd.DataFrame({"x": x, "loss": losses})
    return LossPath(table, _barrier(table), float(way.norm()), objective.statistics)


def along(
    run: Run, objective: Objective, *, steps: Sequence[int] | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Evaluate the loss at the snapshots of a run.

    With running statistics each snapshot brings its own.

    Args:
        run: the run.
        objective: the loss.
        steps: which snapshots; None for all.
        progress: called as progress(done, total).

    Returns:
        By step: `loss`, and `distance`, that from the first of the snapshots.

    Raises:
        LandscapeError: for a run without snapshots, weights that do not fit the model, and a loss that is not finite.
        StoreError: where a snapshot is not there.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective, along
        >>> from trajectory import Recorder, Run
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        >>> with Recorder("run.zarr", model, optimizer, snapshots=1):
        ...     for _ in range(2):
        ...         model.weight.grad = torch.ones(1, 1)
        ...         optimizer.step()
        >>> x = torch.ones(1, 1)
        >>> frame = along(Run("run.zarr"), Objective(model, [(x, x)], lambda output, y: (output - y).square()))
        >>> frame["distance"].tolist()
        [0.0, 0.5, 1.0]
    """
    check_snapshots(run)
    if sentence := rounding_of(run):
        warnings.warn(sentence, stacklevel=2)
    chosen = run.snapshots if steps is None else list(steps)
    rows, start = [], None
    for step in chosen:
        here = objective.at(run.state_dict(step))
        start = here.weights if start is None else start
        rows.append([here.loss(), float((here.weights.double() - start.double()).norm())])
        if progress is not None:
            progress(len(rows), len(chosen))
    return pd.DataFrame(rows, pd.Index(chosen, name="step"), ["loss", "distance"])


def _holds_ends(span: tuple[float, float]) -> bool:
    """Return whether a span is a pair of numbers around 0 and 1."""
    pair = isinstance(span, Sequence | np.ndarray) and len(span) == 2 and all(map(is_finite_number, span))
    return pair and span[0] <= 0 and span[1] >= 1


def _barrier(table: pd.DataFrame) -> float:
    x, loss = table["x"].to_numpy(), table["loss"].to_numpy()
    inside = (x >= 0) & (x <= 1)
    start, end = loss[x == 0][0], loss[x == 1][0]
    return float((loss - (start + x * (end - start)))[inside].max())
