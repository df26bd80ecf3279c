"""What a store holds of each recorded step: rows, scalars and sketches, the journal's among them."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pandas as pd

from trajectory.errors import StoreError
from trajectory.schema.angle import angle
from trajectory.schema.layout import metric_name
from trajectory.storage.moment import Moment

_READ_AT_ONCE = 65536  # rows: what takes a fraction of a second


class TableReader:
    """Reads a store's arrays over steps, each when it is first asked for.

    Args:
        moment: the store as it stood when it was opened.
    """

    def __init__(self, moment: Moment):
        root, uncommitted = moment.root, moment.uncommitted
        self.metadata = root.metadata
        self._moment, self._path, self._commit = moment, moment.backend.path, root.commit
        self._newest = root.metadata.columns.split(uncommitted.rows)
        self._newest_metrics = uncommitted.metrics
        self._read: dict[str, np.ndarray] = {}

    def read_totals(self) -> None:
        """Read what was recorded and logged in total, unless that would take long.

        Raises:
            RewrittenError: the run was cut back or replaced since it was opened.
        """
        if max(self._commit.steps, self._commit.metrics) <= _READ_AT_ONCE:
            for name in ("step", *self.metadata.quantities):
                self.rows(name)
            self.metrics  # noqa: B018 (read once, then kept)

    @property
    def names(self) -> list[str]:
        """The arrays that have a row for each recorded step, but for `step`."""
        return [name for name in self._newest if name != "step"]

    @property
    def steps(self) -> pd.Index:
        """The recorded steps, in order."""
        return pd.Index(self.rows("step"), name="step")

    def rows(self, name: str) -> np.ndarray:
        """Read an array over the recorded steps: committed rows, then the journal's.

        Args:
            name: its path.

        Returns:
            The rows (step, ...).
        """
        if name not in self._read:
            committed, newest = self._moment.read(name, self._commit.steps), self._newest[name]
            self._read[name] = np.concatenate([committed, newest]) if len(newest) else committed
        return self._read[name]

    def displacement(self, origin: int) -> pd.Series:
        """Return the distance from the weights at an origin.

        Args:
            origin: a step that was measured from.

        Returns:
            ‖w_t − w_{origin}‖ for t > origin.

        Raises:
            StoreError: it was not measured from there.
        """
        values = self._measured_from(origin, "distance", "displacement")
        return pd.Series(values, index=self.steps, name="distance").loc[origin + 1 :]

    def total(self, quantity: str) -> pd.Series:
        """Return a quantity over all measured parameters.

        Args:
            quantity: one that was recorded, or "angle".

        Returns:
            The values by step.

        Raises:
            StoreError: it was not recorded.
        """
        if quantity == "angle":
            values = angle(self.rows("distance"), self.total("norm"), self.metadata.origin_norm)
        else:
            values = self.rows(self._known(quantity))
        return pd.Series(values, index=self.steps, name=quantity)

    def layers(self, quantity: str, origin: int = 0) -> pd.DataFrame:
        """Return a quantity by parameter, or by group of them.

        Args:
            quantity: one that was recorded, or "angle".
            origin: a step that was measured from; for the distance alone.

        Returns:
            The values for steps after `origin`: step × name.

        Raises:
            StoreError: it was not recorded, or not from that origin.
        """
        if origin and quantity != "distance":
            raise StoreError(f"{self._path}: layers({quantity!r}, origin={origin}); only the distance has an origin")
        if quantity == "angle":
            norm, start = self.layers("norm"), np.array(self.metadata.origin_norms)
            values = angle(self.rows("layer_distance"), norm, start)
        elif quantity == "distance":
            values = self._measured_from(origin, "layer_distance", "layer_displacement")
        else:
            values = self.rows(f"layer_{self._known(quantity)}")
        names = pd.Index(self.metadata.groups.names, name="parameter")
        return pd.DataFrame(values, index=self.steps, columns=names).loc[origin + 1 :]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Everything logged: step × name, NaN where a scalar was not logged at a step."""
        count = self._commit.metrics
        columns = {key: self._moment.read(f"metrics/{key}", count) for key in self._moment.names("metrics")}
        steps = columns.pop("step")
        committed = pd.DataFrame({metric_name(key): column for key, column in columns.items()}, index=steps)
        newest = pd.DataFrame.from_dict(self._newest_metrics, orient="index", dtype="float64")
        newest = newest.sort_index()  # pandas 2.2 lists the steps by what was logged
        frame = committed if newest.empty else pd.concat([committed, newest]) if len(committed) else newest
        return frame.rename_axis(index="step", columns=None).sort_index(axis="columns")

    @cached_property
    def sketch_steps(self) -> list[int]:
        """The steps that hold a sketch, in order."""
        count = self._commit.sketches
        return self._moment.read("sketches/step", count).tolist() if count else []

    def sketch(self, step: int) -> np.ndarray:
        """Read a sketch.

        Args:
            step: a step that holds one.

        Returns:
            float64 (layer, bucket).
        """
        k = self.sketch_steps.index(step)
        return self._moment.read("sketches/values", k + 1, k)[0].astype(float)

    def pairwise_distance(
        self, steps: Iterable[int] | None, others: Iterable[int] | None, layer: str | None
    ) -> pd.DataFrame:
        """Return distances between any two steps that hold a sketch.

        Args:
            steps: the steps s; None: all that hold a sketch.
            others: likewise the steps t.
            layer: one group's name; None: all measured parameters.

        Returns:
            ‖w_s − w_t‖, to the precision of the sketches: s × t.

        Raises:
            StoreError: a step holds no sketch, or there is no such layer.
        """
        rows, columns = (self.sketch_steps if chosen is None else list(chosen) for chosen in (steps, others))
        missing = sorted({*rows, *columns} - set(self.sketch_steps))
        if missing or not self.sketch_steps:
            raise StoreError(f"{self._path}: no sketch at steps {missing}; sketches are at {self.sketch_steps}")
        names = self.metadata.groups.names
        if layer is not None and layer not in names:
            raise StoreError(f"{self._path}: no layer {layer!r}; this run has {list(names)}")
        chosen_layers = slice(None) if layer is None else [names.index(layer)]
        left, right = (
            np.stack([self.sketch(step)[chosen_layers].sum(axis=0) for step in chosen]) for chosen in (rows, columns)
        )
        values = [np.linalg.norm(right - sketch, axis=1) for sketch in left]
        return pd.DataFrame(values, pd.Index(rows, name="step"), pd.Index(columns, name="other"))

    def _known(self, quantity: str) -> str:
        if quantity not in self.metadata.quantities:
            raise StoreError(
                f"{self._path}: no quantity {quantity!r}; this run holds: {', '.join(self.metadata.quantities)}"
                " (the recorder's `quantities` say what is recorded; an angle needs the norm)"
            )
        return quantity

    def _measured_from(self, origin: int, start: str, displaced: str) -> np.ndarray:
        """Return the array `start` for w_0, the origin's slice of `displaced` otherwise."""
        origins = [0, *self.metadata.origins]
        if origin not in origins:
            raise StoreError(f"{self._path}: no distances from step {origin}; this run holds origins {origins}")
        return self.rows(displaced)[:, origins.index(origin) - 1] if origin else self.rows(start)
