"""The read side of a run: what `Recorder` wrote, as pandas, xarray and state dicts."""

from collections.abc import Iterable
from functools import cached_property
from itertools import count
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from trajectory.errors import StoreError
from trajectory.run_weights import RunWeights
from trajectory.schema.layout import DIMENSIONS, UNFROZEN, WARNING
from trajectory.storage.backend import Backend
from trajectory.storage.dataset import to_dataset
from trajectory.storage.location import StoreLike, open_backend
from trajectory.storage.moment import Moment, RewrittenError
from trajectory.storage.root import distance_attributes
from trajectory.storage.table_reader import TableReader
from trajectory.summary import as_html, as_text, summary_rows

if TYPE_CHECKING:
    import pandas as pd
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ATTEMPTS = 10  # to open a run that is resumed at an earlier step meanwhile


class Run(RunWeights):
    """One recorded run, read from its store; it can be read while it is still written and after it was killed.

    Everything returned is as of the moment of opening. Totals and metrics of up to 65,536 rows are read at once, all
    else when it is asked for: a StoreError then says if the run was resumed or replaced in the meantime.

    Args:
        path: the store's folder, its URL (`s3://bucket/sb.zarr`) or the Zarr store itself.
        skip_damaged: leave out the rows that cannot be read; `damage` names their files. Otherwise whatever holds
            such rows is refused by a StoreError when it is asked for, and all else can be read.

    Raises:
        RunNotFoundError: there is nothing at `path`; this is also a `FileNotFoundError`.
        StoreError: `path` is not a run, its root is damaged, or it has a newer format.

    Examples:
        >>> import torch
        >>> from trajectory import Recorder, Run
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> torch.nn.init.zeros_(model.weight).shape
        torch.Size([1, 2])
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        >>> with Recorder("example.zarr", model, optimizer):
        ...     for _ in range(2):
        ...         model.weight.grad = torch.tensor([[3.0, 4.0]])
        ...         optimizer.step()
        >>> run = Run("example.zarr")
        >>> run.distance.tolist()
        [2.5, 5.0]
        >>> run.status
        'complete'
    """

    def __init__(self, path: StoreLike, *, skip_damaged: bool = False):
        moment, self._table = _open(open_backend(path), skip_damaged)
        super().__init__(moment)

    def __repr__(self) -> str:
        return as_text(summary_rows(self.to_dict()))

    def _repr_html_(self) -> str:
        return as_html(summary_rows(self.to_dict()))

    @property
    def damage(self) -> list[str]:
        """What `skip_damaged` leaves out of rows and scalars, a sentence for each file; nothing of an intact run.

        Raises:
            StoreError: something is damaged, and not to be skipped.
        """
        return self._table.damage

    @property
    def distance(self) -> "pd.Series":
        """‖w_t − w_0‖ over all measured parameters; index `step` = t, the number of weight updates.

        Its `attrs` are those of `displacement`.
        """
        return self.displacement(0)

    def displacement(self, origin: int) -> "pd.Series":
        """Return the distance from the weights at an origin, ‖w_t − w_{origin}‖.

        Args:
            origin: a step that the recorder measured from, one of `origins`.

        Returns:
            The distances for t > origin; index `step` = t, counted from w_0. What the analysis has to know of them is
            in `attrs`: `run` (its name), `origin`, `lr_drops` (the steps of the learning-rate drops), `warmup_end`
            and `config` (the run's `settings`). pandas keeps `attrs` through slices and arithmetic.

        Raises:
            StoreError: the recorder did not measure from there.
        """
        displacement = self._table.displacement(origin)
        displacement.attrs.update(self._attributes(origin))
        return displacement

    def _attributes(self, origin: int) -> dict[str, Any]:
        """Return what the analysis has to know of distances from an origin, beside them."""
        drops = [event.step for event in self.drops]
        known = {"run": self.name, "origin": origin, "lr_drops": drops, "warmup_end": self.warmup_end}
        return {**known, "config": self.settings}

    def total(self, quantity: str = "distance") -> "pd.Series":
        """Return a recorded quantity over all measured parameters.

        Args:
            quantity: one of `quantities`; or "angle", that between w_t and w_0 in radians, which follows from the
                recorded distance and norm.

        Returns:
            The values; index `step`.

        Raises:
            StoreError: the quantity was not recorded.
        """
        return self._table.total(quantity)

    def layers(self, quantity: str = "distance", *, origin: int = 0) -> "pd.DataFrame":
        """Return a recorded quantity by parameter, or by group of them.

        The columns are those of the start: parameters that were unfrozen later count in the totals alone, where they
        make √(d² − Σ_l d_l²) together. `attrs["unfrozen"]` holds the recorder's sentence on each.

        Args:
            quantity: as for `total`; an angle is NaN for a layer that started from 0.
            origin: the step that the distance is measured from, one of `origins`; for the distance alone.

        Returns:
            The values for steps after `origin`: step × name. Distances carry the `attrs` of `displacement`.

        Raises:
            StoreError: the quantity was not recorded, or not from that origin.
        """
        frame = self._table.layers(quantity, origin)
        if unfrozen := [str(event.details.get(WARNING)) for event in self.events if event.name == UNFROZEN]:
            frame.attrs["unfrozen"] = unfrozen
        if quantity == "distance":
            frame.attrs.update(self._attributes(origin))
        return frame

    def layer_displacement(self, origin: int = 0) -> "pd.DataFrame":
        """Return ‖w_t − w_{origin}‖ of each parameter, or group of them, as recorded or else from the snapshots.

        Args:
            origin: a step that the recorder measured from, or one that holds a snapshot.

        Returns:
            The distances for t > origin: step × name; at the recorded steps, or at those of later snapshots.

        Raises:
            StoreError: the origin is neither.
        """
        if origin in self.origins:
            return self.layers("distance", origin=origin)
        if origin not in self.snapshots:
            raise StoreError(
                f"{self.path}: distances from update {origin} are unknown; its recorder measured from {self.origins}"
                f" and its snapshots are at {self.snapshots}: take one of those as the origin"
            )
        return self._snapshots.layer_displacement(origin)

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the distance from the initial weights against updates.

        Args:
            ax: axes to draw into, t on a logarithmic axis; by default a figure of its own, with a linear one too.

        Returns:
            The figure, as `analysis.figures.distance` makes it.
        """
        from analysis import figures  # a run draws itself: an import upwards that pyproject.toml excepts

        return figures.distance(self, ax)

    @property
    def metrics(self) -> "pd.DataFrame":
        """Everything logged: step × name, NaN where a scalar was not logged at a step."""
        return self._table.metrics

    @cached_property
    def warmup_end(self) -> int:
        """The first update made at (99 % of) the highest rate before the first drop; 0 where no rate is known."""
        steps, logged = self._table.scalars
        if "learning_rate" not in logged:
            return 0
        rate = logged["learning_rate"]
        known = ~np.isnan(rate) & (steps <= self.drops[0].step if self.drops else True)
        steps, rate = steps[known], rate[known]
        return int(steps[np.argmax(rate >= 0.99 * rate.max())]) if len(rate) else 0

    @property
    def sketches(self) -> list[int]:
        """The steps that hold a sketch of the weights."""
        return list(self._table.sketch_steps)

    def pairwise_distance(
        self,
        steps: int | Iterable[int] | None = None,
        others: int | Iterable[int] | None = None,
        *,
        layer: str | None = None,
    ) -> "pd.DataFrame":
        """Return ‖w_s − w_t‖ between any two steps that hold a sketch.

        The relative error is about 1/√(2K), K the recorder's `sketch`, but for a pair so close that the float32
        of a sketch shows.

        Args:
            steps: the steps s, or one; None: all that hold a sketch.
            others: likewise the steps t.
            layer: one column of `layers`; None: all measured parameters.

        Returns:
            The distances: s × t.

        Raises:
            StoreError: a step holds no sketch, or there is no such layer.
        """
        return self._table.pairwise_distance(steps, others, layer)

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the run, without its curves, fit for JSON."""
        steps, distance = self._table.distances(0)
        last = float(distance[-1]) if len(distance) else np.nan
        logged = {name: column[~np.isnan(column)] for name, column in self._table.scalars[1].items()}
        return {
            "path": str(self.path),
            "status": self.status,
            "steps": [int(steps[0]), int(steps[-1])] if len(steps) else [],
            "recorded": len(distance),
            "distance": last if isfinite(last) else None,
            "origin_norm": self.origin_norm,
            "origins": self.origins,
            "quantities": self.quantities,
            "parameters": len(self._metadata.measured),
            "weights": self.weight_count,
            "metrics": {name: float(column[-1]) for name, column in logged.items() if len(column)},
            "snapshots": self.snapshots,
            "resumed": self.resumed,
            "warnings": self.warnings,
            "events": [{"step": event.step, "name": event.name, **event.details} for event in self.events],
            "seed": self.seed,
            "config": self.config,
            "versions": self.versions,
        }

    def to_xarray(self) -> "xarray.Dataset":
        """Return what was recorded and logged in one Dataset over `step`, NaN where one of the two is absent.

        A metric with the name of a recorded quantity is called `metrics/<name>`. Distances carry the `attrs` of
        `displacement`, `config` as JSON text.
        """
        known = {"run": self.name, "warmup_end": self.warmup_end}
        distances = {name: distance_attributes(name, self.settings, self.events) for name in DIMENSIONS}
        described = {name: {**known, **attributes} for name, attributes in distances.items() if attributes}
        return to_dataset(self._table, {"run": self.name, "status": self.status}, described)


def _open(backend: Backend, skip_damaged: bool) -> tuple[Moment, TableReader]:
    """Read a store as of one moment: once more, if a recorder cuts it back meanwhile."""
    for attempt in count(1):
        moment = Moment.now(backend)
        table = TableReader(moment, skip_damaged=skip_damaged)
        try:
            table.read_totals()
        except RewrittenError:
            if attempt == _ATTEMPTS:
                raise
        else:
            break
    return moment, table
