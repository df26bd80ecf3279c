"""Recorded rows, as subscribers receive them and as the store keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trajectory.schema.layout import RowColumns
from trajectory.schema.parameter_groups import Groups

BLOCK = 64  # updates between two flushes, and so the rows the ring holds: what a killed process can lose
EARLY = frozenset({1, 2, 4, 8, 16, 32})  # updates that are flushed as well, so that a run shows itself from the start
RATE = "learning_rate"  # the metric of the rate that each recorded update was made with
NON_FINITE = "non_finite_weights"  # the event of the first row that is not finite


class Rows(NamedTuple):
    """Recorded steps in order, as subscribers receive them.

    Attributes:
        step: The steps, in updates since w_0 (int64, shape (n,)).
        distance: ‖w_t − w_0‖ (float64, shape (n,)).
        layers: The same by parameter, or by group of parameters (float64, shape (n, groups)).
        displacement: By origin t_w, 0 first: ‖w_t − w_{t_w}‖, NaN for t ≤ t_w > 0 (float64, shape (n,) each).
        totals: The chosen quantities by name (float64, shape (n,) each).
        learning_rate: The first parameter group's rate that each update was made with (float64, shape (n,)).
        metrics: What was logged since the rows before, by step and name; the last step's may come with the next rows.
    """

    step: np.ndarray
    distance: np.ndarray
    layers: np.ndarray
    displacement: Mapping[int, np.ndarray]
    totals: Mapping[str, np.ndarray]
    learning_rate: np.ndarray
    metrics: Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class RowLayout:
    """What the numbers of a row are of.

    Attributes:
        columns: The columns of a row.
        groups: The groups of parameters that are measured apart.
        measured: The names of the measured parameters.
    """

    columns: RowColumns
    groups: Groups
    measured: Sequence[str]

    def table(self, steps: list[int], squares: np.ndarray) -> np.ndarray:
        """Take the roots of sums of squares.

        Args:
            steps: The recorded steps.
            squares: The sums (row, measurement, parameter). Parameters behind the measured ones count in the totals
                alone.

        Returns:
            The table that the store appends.
        """
        n, totals = len(steps), 1 + self.columns.measurements
        measured = len(self.measured)
        by_group = self.groups.sum(squares[:, :, :measured], self.measured)
        table = np.empty((n, self.columns.width))
        table[:, 0] = steps
        table[:, 1:totals] = by_group.sum(axis=2) + squares[:, :, measured:].sum(axis=2)
        table[:, totals:] = by_group.reshape(n, -1)
        np.sqrt(table[:, 1:], out=table[:, 1:])
        return table

    def rows(self, table: np.ndarray, metrics: Mapping[int, Mapping[str, float]]) -> Rows:
        """Name what a table holds, for subscribers.

        Args:
            table: The table.
            metrics: What was logged, by step and name.

        Returns:
            The rows.
        """
        columns = self.columns.split(table)
        # the distance, then the displacements from the other origins
        totals = table[:, 1:].T
        displacement = dict(zip([0, *self.columns.origins], totals, strict=False))
        quantities = {name: columns[name] for name in self.columns.quantities}
        rates = np.array([metrics.get(step, {}).get(RATE, np.nan) for step in columns["step"].tolist()])
        return Rows(
            columns["step"], columns["distance"], columns["layer_distance"], displacement, quantities, rates, metrics
        )
