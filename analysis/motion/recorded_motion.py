"""What runs recorded of their motion, for the budget and the equilibrium."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.curve import Curve, Run
from analysis.errors import MotionError

Array = NDArray[np.float64]

ALL = "all"  # the row of all measured parameters
_STILL = 0.9  # of the range: an update or two without a gradient are no end of the motion
_ENOUGH_WEIGHTS = 400  # in all origins and runs: chance then leaves a correlation of 1/√400 = .05
HOW_TO_RECORD = (
    "record with Recorder(..., quantities=['distance', 'update_norm', 'norm']), or ultraslow train --quantities with "
    "those names"
)


class RecordedMotion:
    """What a run recorded of its motion, by parameter: distance, norm, and the squared update norms summed up.

    Attributes:
        steps: (row,) the recorded updates after the origin, counted from it.
        exact: whether these are all updates.

    Args:
        curve: of a run.
        per_layer: also of each parameter.

    Raises:
        MotionError: for arrays, and runs without `update_norm`.
    """

    def __init__(self, curve: Curve, per_layer: bool):
        run = curve.run
        self._name, self._origin = curve.name, curve.origin
        if run is None:
            raise MotionError(
                f"{curve.name}: the motion budget needs a recorded run with its update_norm; got arrays"
            )
        if "update_norm" not in run.quantities:
            raise MotionError(
                f"{curve.name}: records {', '.join(run.quantities)}; expected update_norm too: {HOW_TO_RECORD}"
            )
        self.steps = np.asarray(run.total("update_norm").index, float) - curve.origin
        after = self.steps > 0
        self.steps = self.steps[after]
        self.exact = bool(np.all(np.diff(self.steps) == 1))
        tables = [_tables(run, curve.origin, layers) for layers in ([False, True] if per_layer else [False])]
        self._distance, self._path, self._norm = (
            {name: values for table in tables for name, values in table[i].items()} for i in range(3)
        )
        self._path = {name: _summed(self.steps, values[after] ** 2) for name, values in self._path.items()}
        self._norm = {name: values[after] for name, values in self._norm.items()}

    @property
    def names(self) -> list[str]:
        """The parameters, with all together first."""
        return list(self._path)

    def check_finite(self, start: float, end: float) -> None:
        """Refuse a distance or an update that is no number.

        Args:
            start: the first update asked about, since the origin.
            end: the last.

        Raises:
            MotionError: for the first that is none.
        """
        asked = (self.steps >= start) & (self.steps <= end)
        for tables in (self._distance, self._path):
            for name, values in tables.items():
                lost = np.flatnonzero(asked & ~np.isfinite(values))
                if len(lost):
                    raise MotionError(
                        f"{self._name}: the motion of {name} is no number from t = {self.steps[lost[0]]:g} on; "
                        "expected finite weights: end the range before that with t_max"
                    )

    def budget(self, name: str, start: float, end: float) -> tuple[float, float, float]:
        """Return Σ‖Δw‖², and the gains of ‖w − w_origin‖² and ‖w‖² over a window.

        Args:
            name: of a parameter, or `ALL`.
            start: the update before the window, since the origin.
            end: its last update.
        """
        i, j = np.searchsorted(self.steps, (start, end))
        path = self._path[name]
        gains = [
            float(values[j] ** 2 - values[i] ** 2) if values is not None else math.nan
            for values in (self._distance[name], self._norm.get(name))
        ]
        return float(path[j] - path[i]), gains[0], gains[1]


def standing_still(group: Sequence[Curve], end: float) -> Iterator[str]:
    """Name the runs whose weights no longer move at the end of a range.

    Args:
        group: the curves of runs with `update_norm`.
        end: the last update of the range, since the origin.

    Yields:
        A sentence for each.
    """
    for curve in group:
        if curve.run is None:
            continue
        norm = curve.run.total("update_norm")
        norm = norm[(norm.index > curve.origin) & (norm.index <= curve.origin + end)]
        last = float(norm.index[norm > 0].max()) - curve.origin if (norm > 0).any() else 0.0
        if last < _STILL * end:
            yield (
                f"{curve.name} stands still from t = {last:g} on, as when weights have become 0 or are no longer "
                "updated (look at the loss and the norm); end the range before that with t_max, or leave it out."
            )


def neighbour_correlations(group: Sequence[Curve], per_layer: bool = False) -> dict[str, float]:
    """Return the correlation of neighbouring updates, from the first two after each origin but w_0.

    With d_1 and d_2 the distances from an origin after them,

        ⟨Δw_1, Δw_2⟩ = (d_2² − ‖Δw_1‖² − ‖Δw_2‖²)/2,

    exactly; the correlation is its sum over origins and runs, over that of ‖Δw_1‖‖Δw_2‖. From w_0 the momentum has
    not built up yet.

    Args:
        group: of runs with `update_norm`.
        per_layer: also of each parameter.

    Returns:
        The correlation of all weights together (`ALL`), and of each parameter; NaN where no origin has both updates
        recorded, or where so few weights leave it to chance.
    """
    products, sizes, weights = (pd.Series({ALL: 0.0}) for _ in range(3))
    for run in (curve.run for curve in group if curve.run is not None):
        norm, counts = _by_name(run.total("update_norm"), run, "update_norm", per_layer), _counts(run, per_layer)
        for origin in (origin for origin in run.origins if origin):
            two = [origin + 1, origin + 2]
            distance = _by_name(run.displacement(origin), run, "distance", per_layer, origin=origin)
            if not (set(two) <= set(norm.index) and two[1] in distance.index):
                continue
            first, second = (norm.loc[step] for step in two)
            product = (distance.loc[two[1]] ** 2 - first**2 - second**2) / 2
            finite = np.isfinite(product)
            products, sizes, weights = (
                sums.add(added.where(finite, 0.0), fill_value=0.0)
                for sums, added in ((products, product), (sizes, first * second), (weights, counts))
            )
    enough = (sizes > 0) & (weights >= _ENOUGH_WEIGHTS)
    return {str(name): float(value) for name, value in (products / sizes).where(enough).items()}


def _by_name(whole: "pd.Series[float]", run: Run, quantity: str, per_layer: bool, **origin: int) -> pd.DataFrame:
    """Return a quantity of all weights together, and of each parameter, by name."""
    frame = whole.to_frame(ALL)
    return frame.join(run.layers(quantity, **origin)) if per_layer else frame


def _counts(run: Run, per_layer: bool) -> "pd.Series[float]":
    """Return the number of weights, of all and of each parameter; 0 of a group of several, which is not known."""
    shapes = {str(name): shape for name, shape, _ in run.parameter_specs["parameters"]}
    names = map(str, run.layers("update_norm").columns) if per_layer else ()
    return pd.Series(
        {ALL: float(run.weight_count)} | {name: float(math.prod(shapes.get(name, (0,)))) for name in names}
    )


def _tables(run: Any, origin: int, layers: bool) -> tuple[Mapping[str, Array], ...]:
    """Read distance (after the origin), update norm and norm (at all steps): by parameter, or of all together."""
    quantities = ["update_norm", *(["norm"] if "norm" in run.quantities else [])]
    if not layers:
        tables = [{ALL: run.displacement(origin).to_numpy(float)}]
        tables += [{ALL: run.total(name).to_numpy(float)} for name in quantities]
    else:
        frames = [run.layers("distance", origin=origin), *(run.layers(name) for name in quantities)]
        tables = [{str(name): frame[name].to_numpy(float) for name in frame.columns} for frame in frames]
    return (*tables, {}) if len(tables) < 3 else tuple(tables)


def _summed(steps: Array, values: Array) -> Array:
    """Sum a quantity of each update up to the recorded ones, linear in t between those."""
    gaps = np.diff(steps)
    between = gaps * values[:-1] + np.diff(values) * (gaps + 1) / 2
    return np.concatenate([[0.0], np.cumsum(between)])
