"""What a store holds of each recorded step: rows, scalars and sketches, the journal's among them."""

from functools import cached_property
from typing import cast

import numpy as np
import pandas as pd
import zarr

from trajectory.schema.layout import metric_name
from trajectory.storage.arrays import read_rows
from trajectory.storage.reader import UncommittedRows
from trajectory.storage.root import Root


class TableReader:
    """Reads a store's arrays over steps, each when it is first asked for.

    Args:
        root: the store's root.
        uncommitted: the rows that its journal holds.
        group: its Zarr group, with the shapes of that root.
    """

    def __init__(self, root: Root, uncommitted: UncommittedRows, group: zarr.Group):
        self._commit, self._group = root.commit, group
        self._newest = root.metadata.columns.split(uncommitted.rows)
        self._newest_metrics = uncommitted.metrics
        self._read: dict[str, np.ndarray] = {}

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
            committed = read_rows(self._group, name, self._commit.steps)
            self._read[name] = np.concatenate([committed, self._newest[name]])
        return self._read[name]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Everything logged: step × name, NaN where a scalar was not logged at a step."""
        count = self._commit.metrics
        arrays = [key for key in cast(zarr.Group, self._group["metrics"]).array_keys() if key != "step"]
        columns = {metric_name(key): read_rows(self._group, f"metrics/{key}", count) for key in arrays}
        committed = pd.DataFrame(columns, index=read_rows(self._group, "metrics/step", count))
        newest = pd.DataFrame.from_dict(self._newest_metrics, orient="index", dtype="float64")
        newest = newest.sort_index()  # pandas 2.2 lists the steps by what was logged
        frame = committed if newest.empty else pd.concat([committed, newest]) if len(committed) else newest
        return frame.rename_axis(index="step", columns=None).sort_index(axis="columns")

    @cached_property
    def sketch_steps(self) -> list[int]:
        """The steps that hold a sketch, in order."""
        count = self._commit.sketches
        return read_rows(self._group, "sketches/step", count).tolist() if count else []

    def sketch(self, step: int) -> np.ndarray:
        """Read a sketch.

        Args:
            step: a step that holds one.

        Returns:
            float64 (layer, bucket).
        """
        k = self.sketch_steps.index(step)
        return read_rows(self._group, "sketches/values", k + 1, k)[0].astype(float)
