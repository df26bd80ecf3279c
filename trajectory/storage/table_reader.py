"""What a store holds of each recorded step: rows, scalars and sketches, the journal's among them."""

from collections.abc import Iterable
from functools import cached_property
from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.angle import angle
from trajectory.schema.layout import UNFROZEN, metric_name
from trajectory.storage.array_reader import Damage
from trajectory.storage.moment import Moment, RewrittenError

if TYPE_CHECKING:
    import pandas as pd

_READ_AT_ONCE = 65536  # rows: what takes a fraction of a second


class TableReader:
    """Reads a store's arrays over steps, each when it is first asked for.

    pandas, whose import takes longer than reading a run, is imported where a Series or a DataFrame is made.

    Args:
        moment: the store as it stood when it was opened.
        skip_damaged: leave out rows that cannot be read, instead of raising a StoreError that names their file.
    """

    def __init__(self, moment: Moment, *, skip_damaged: bool = False):
        root, uncommitted = moment.root, moment.uncommitted
        self.metadata = root.metadata
        self._moment, self._path, self._commit = moment, moment.backend.path, root.commit
        self._newest = root.metadata.columns.split(uncommitted.rows)
        self._newest_metrics = uncommitted.metrics
        self._skip_damaged = skip_damaged
        events = [*root.commit.events, *uncommitted.events]
        self._unfrozen_at = min((event.step for event in events if event.name == UNFROZEN), default=inf)
        self._read: dict[str, np.ndarray] = {}
        self._damage: dict[str, list[Damage]] = {}

    def read_totals(self) -> None:
        """Read what was recorded and logged in total, unless that would take long.

        What is damaged is refused when it is asked for, so that all else can be read.

        Raises:
            RewrittenError: the run was cut back or replaced since it was opened.
        """
        if max(self._commit.steps, self._commit.metrics) > _READ_AT_ONCE:
            return
        for name in ("step", *self.metadata.quantities, "metrics"):
            try:
                self.scalars if name == "metrics" else self.rows(name)
            except RewrittenError:
                raise
            except StoreError:
                continue

    @property
    def damage(self) -> list[str]:
        """What cannot be read of all rows and scalars, a sentence for each file."""
        for name in ("step", *self.names):
            self.rows(name)
        self.scalars  # noqa: B018 (read once, then kept)
        journal = [self._moment.uncommitted.damage] if self._moment.uncommitted.damage else []
        return journal + [
            f"{bad.message}: rows {bad.start} to {bad.stop - 1} of {name} are left out"
            for name, found in self._damage.items()
            for bad in found
        ]

    @property
    def names(self) -> list[str]:
        """The arrays that have a row for each recorded step, but for `step`."""
        return [name for name in self._newest if name != "step"]

    @property
    def steps(self) -> "pd.Index":
        """The recorded steps, in order."""
        import pandas as pd

        return pd.Index(self.rows("step"), name="step")

    def rows(self, name: str) -> np.ndarray:
        """Read an array over the recorded steps: committed rows, then the journal's.

        Args:
            name: its path.

        Returns:
            The rows (step, ...).
        """
        if name not in self._read:
            committed, newest = self._committed(name, self._commit.steps), self._newest[name]
            if self._skip_damaged:
                committed = committed[self._known_rows("step", self._commit.steps)]
            rows = np.concatenate([committed, newest]) if len(newest) else committed
            if name == "step":
                self._check_order(name, rows)
            self._read[name] = rows
        return self._read[name]

    def _committed(self, name: str, count: int) -> np.ndarray:
        """Read committed rows; where they are damaged and to be skipped, NaN or -1."""
        damage = self._moment.uncommitted.damage
        if not self._skip_damaged:
            if damage:
                raise StoreError(f"{self._path}: {damage}, or leave them out by Run(..., skip_damaged=True)")
            return self._moment.read(name, count)
        values, self._damage[name] = self._moment.read_intact(name, count)
        return values

    def _known_rows(self, steps: str, count: int) -> np.ndarray:
        """Return which of the committed rows have a step that can be read: bool (row,)."""
        known = np.ones(count, dtype=bool)
        if self._skip_damaged and steps not in self._damage:
            self._committed(steps, count)
        for bad in self._damage.get(steps, ()):
            known[bad.start : bad.stop] = False
        return known

    def _readable(self, name: str) -> np.ndarray:
        """Return which of the rows that have a step can be read of an array: bool (row,)."""
        readable = np.ones(self._commit.steps, dtype=bool)
        self.rows(name)
        for bad in self._damage.get(name, ()):
            readable[bad.start : bad.stop] = False
        newest = np.ones(len(self._newest[name]), dtype=bool)
        return np.concatenate([readable[self._known_rows("step", self._commit.steps)], newest])

    def _check_order(self, name: str, steps: np.ndarray) -> None:
        if np.any(np.diff(steps) <= 0) or (len(steps) and steps[0] < 0):
            raise StoreError(
                f"{self._path}: {name} is damaged (the steps in it do not increase); restore it as it was written"
            )

    def distances(self, origin: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance from the weights at an origin.

        Args:
            origin: a step that was measured from.

        Returns:
            The steps t > origin, and ‖w_t − w_{origin}‖ after them.

        Raises:
            StoreError: it was not measured from there.
        """
        values, readable = self._measured_from(origin, "distance", "displacement")
        steps = self.rows("step")
        kept = readable & (steps > origin)
        return steps[kept], values[kept]

    def displacement(self, origin: int) -> "pd.Series":
        """Return `distances` as a Series.

        Args:
            origin: a step that was measured from.

        Returns:
            ‖w_t − w_{origin}‖ by step t > origin.

        Raises:
            StoreError: it was not measured from there.
        """
        import pandas as pd

        steps, values = self.distances(origin)
        return pd.Series(values, index=pd.Index(steps, name="step"), name="distance")

    def total(self, quantity: str) -> "pd.Series":
        """Return a quantity over all measured parameters.

        Args:
            quantity: one that was recorded, or "angle".

        Returns:
            The values by step.

        Raises:
            StoreError: it was not recorded.
        """
        import pandas as pd

        if quantity == "angle":
            values = angle(self.rows("distance"), self.rows(self._known("norm")), self.metadata.origin_norm)
            values = np.where(self.rows("step") > self._unfrozen_at, np.nan, values)  # w_0 had fewer weights
            readable = self._readable("distance") & self._readable("norm")
        else:
            values, readable = self.rows(self._known(quantity)), self._readable(quantity)
        return pd.Series(values, index=self.steps, name=quantity)[readable]

    def layers(self, quantity: str, origin: int = 0) -> "pd.DataFrame":
        """Return a quantity by parameter, or by group of them.

        Args:
            quantity: one that was recorded, or "angle".
            origin: a step that was measured from; for the distance alone.

        Returns:
            The values for steps after `origin`: step × name.

        Raises:
            StoreError: it was not recorded, or not from that origin.
        """
        import pandas as pd

        if origin and quantity != "distance":
            raise StoreError(f"{self._path}: layers({quantity!r}, origin={origin}); only the distance has an origin")
        if quantity == "angle":
            norm, start = self.rows(f"layer_{self._known('norm')}"), np.array(self.metadata.origin_norms)
            values = angle(self.rows("layer_distance"), norm, start)
            readable = self._readable("layer_distance") & self._readable("layer_norm")
        elif quantity == "distance":
            values, readable = self._measured_from(origin, "layer_distance", "layer_displacement")
        else:
            values = self.rows(f"layer_{self._known(quantity)}")
            readable = self._readable(f"layer_{quantity}")
        names = pd.Index(self.metadata.groups.names, name="parameter")
        return pd.DataFrame(values, index=self.steps, columns=names)[readable].loc[origin + 1 :]

    @cached_property
    def scalars(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Everything logged: its steps, and for each name a column, NaN where it was not logged at a step."""
        count, newest = self._commit.metrics, self._newest_metrics
        columns = {key: self._committed(f"metrics/{key}", count) for key in self._moment.names("metrics")}
        known = self._known_rows("metrics/step", count)
        steps = columns.pop("step")[known]
        self._check_order("metrics/step", steps)
        committed = {metric_name(key): column[known] for key, column in columns.items()}
        late = sorted(newest)
        names = sorted({*committed, *(name for logged in newest.values() for name in logged)})
        absent = np.full(len(steps), nan)
        return np.concatenate([steps, np.array(late, dtype=np.int64)]), {
            name: np.concatenate([committed.get(name, absent), [newest[step].get(name, nan) for step in late]])
            for name in names
        }

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """`scalars` as a DataFrame: step × name."""
        import pandas as pd

        steps, columns = self.scalars
        return pd.DataFrame(columns, index=pd.Index(steps, name="step"))

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
        self, steps: int | Iterable[int] | None, others: int | Iterable[int] | None, layer: str | None
    ) -> "pd.DataFrame":
        """Return distances between any two steps that hold a sketch.

        Args:
            steps: the steps s, or one; None: all that hold a sketch.
            others: likewise the steps t.
            layer: one group's name; None: all measured parameters.

        Returns:
            ‖w_s − w_t‖, to the precision of the sketches: s × t.

        Raises:
            StoreError: a step holds no sketch, or there is no such layer.
        """
        import pandas as pd

        rows, columns = (
            self.sketch_steps if chosen is None else list(chosen) if isinstance(chosen, Iterable) else [chosen]
            for chosen in (steps, others)
        )
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

    def _measured_from(self, origin: int, start: str, displaced: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the array `start` for w_0, the origin's slice of `displaced` otherwise; and which rows it has."""
        origins = [0, *self.metadata.origins]
        if origin not in origins:
            raise StoreError(f"{self._path}: no distances from step {origin}; this run holds origins {origins}")
        if not origin:
            return self.rows(start), self._readable(start)
        return self.rows(displaced)[:, origins.index(origin) - 1], self._readable(displaced)
