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

    def rows(
        self, steps: list[int], squares: np.ndarray, metrics: Mapping[int, Mapping[str, float]]
    ) -> tuple[Rows, np.ndarray]:
        """Take the roots of sums of squares, for subscribers and for the store.

        Args:
            steps: The recorded steps.
            squares: The sums (row, measurement, parameter). Parameters behind the measured ones count in the totals
                alone.
            metrics: What was logged, by step and name.

        Returns:
            The rows, and the table that the store appends.
        """
        own, more = np.split(squares, [len(self.measured)], axis=2)
        squares = self.groups.sum(own, self.measured)
        total, layers = np.sqrt(squares.sum(axis=2) + more.sum(axis=2)), np.sqrt(squares).reshape(len(steps), -1)
        table = np.column_stack([steps, total, layers])
        columns = self.columns.split(table)
        # the distance, then the displacements from the other origins
        displacement = dict(zip([0, *self.columns.origins], total.T, strict=False))
        totals = {name: columns[name] for name in self.columns.quantities}
        rates = np.array([metrics.get(step, {}).get(RATE, np.nan) for step in steps])
        rows = Rows(
            columns["step"], columns["distance"], columns["layer_distance"], displacement, totals, rates, metrics
        )
        return rows, table
