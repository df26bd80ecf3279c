"""The read side of a run: what `Recorder` wrote, as pandas, xarray and state dicts."""

from collections.abc import Iterable
from math import isfinite
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import ArrayLike

from trajectory.errors import StoreError
from trajectory.schema.layout import DIMENSIONS, Event
from trajectory.storage.backend import StoreLike, open_backend
from trajectory.storage.reader import read_store
from trajectory.storage.snapshot_reader import SnapshotReader
from trajectory.storage.table_reader import TableReader
from trajectory.summary import as_html, as_text, summary_rows

if TYPE_CHECKING:
    import torch
    import xarray

__all__ = ["Event", "Run", "angle"]


def angle(distance: ArrayLike, norm: ArrayLike, origin_norm: ArrayLike) -> np.ndarray:
    """Return the angle between w_t and w_0.

        tan²(θ/2) = (d² − (n − n_0)²) / ((n + n_0)² − d²),   d = ‖w_t − w_0‖, n = ‖w_t‖, n_0 = ‖w_0‖

    is the law of cosines, d² = n² + n_0² − 2 n n_0 cos θ, in a form that keeps the digits of a small angle.

    Args:
        distance: d; this and the others may be arrays, which are broadcast.
        norm: n.
        origin_norm: n_0.

    Returns:
        θ in radians, NaN where n or n_0 is 0.
    """
    d, n, n_0 = np.asarray(distance, float), np.asarray(norm, float), np.asarray(origin_norm, float)
    across, along = d**2 - (n - n_0) ** 2, (n + n_0) ** 2 - d**2
    theta = 2 * np.arctan2(np.sqrt(np.maximum(across, 0)), np.sqrt(np.maximum(along, 0)))  # rounding can leave < 0
    return np.where(n * n_0 > 0, theta, np.nan)


class Run:
    """One recorded run, read from its store; it can be read while it is still written and after it was killed.

    Everything returned is as of the moment of opening.

    Args:
        path: the store's folder, its URL (`s3://bucket/sb.zarr`) or the Zarr store itself.

    Raises:
        RunNotFoundError: there is nothing at `path`; a `FileNotFoundError` too.
        StoreError: what is there is no run, is damaged, or has a newer format.

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

    def __init__(self, path: StoreLike):
        backend = open_backend(path)
        self.path = backend.path
        root, self._uncommitted = read_store(backend)
        self._metadata, self._commit = root.metadata, root.commit
        group = zarr.open_group(backend.root, mode="r")
        self._table = TableReader(root, self._uncommitted, group)
        self._snapshots = SnapshotReader(backend, root, group)

    def __repr__(self) -> str:
        return as_text(summary_rows(self.to_dict()))

    def _repr_html_(self) -> str:
        return as_html(summary_rows(self.to_dict()))

    @property
    def name(self) -> str:
        """The folder's name without `.zarr`."""
        return PurePosixPath(self.path).name.removesuffix(".zarr")

    @property
    def status(self) -> str:
        """How the run ended: `complete`, `interrupted (...)`, or `recording`, also after a kill."""
        return self._commit.status

    @property
    def config(self) -> dict[str, Any]:
        """The description of the run that was given to the recorder."""
        return dict(self._metadata.config)

    @property
    def seed(self) -> int | None:
        """The run's seed, if it was given to the recorder."""
        return self._metadata.seed

    @property
    def versions(self) -> dict[str, str]:
        """Versions of Python and of the packages that made the run."""
        return dict(self._metadata.versions)

    @property
    def resumed(self) -> list[int]:
        """The steps at which the run was resumed after an interruption, in order."""
        return list(self._metadata.resumed)

    @property
    def host(self) -> str | None:
        """The machine that made the run."""
        return self._metadata.host

    @property
    def commit(self) -> str | None:
        """The git commit of the folder the run was started in, `-dirty` if files differed; None outside one."""
        return self._metadata.commit

    @property
    def origin_norm(self) -> float:
        """‖w_0‖, Euclidean over the parameters the distance is taken over."""
        return self._metadata.origin_norm

    @property
    def parameter_specs(self) -> dict[str, list[list[Any]]]:
        """Names, shapes and types of the measured parameters: equal where distances can be compared."""
        return {"parameters": [[spec.name, list(spec.shape), spec.dtype] for spec in self._metadata.measured]}

    @property
    def weight_count(self) -> int:
        """The number of weights the distance is taken over."""
        return sum(spec.size for spec in self._metadata.measured)

    @property
    def quantities(self) -> list[str]:
        """The quantities recorded at every step, "distance" first; "angle" follows from distance and norm."""
        return list(self._metadata.quantities)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The measured parameters by the column of `layers` that they are in: each alone, unless grouped."""
        groups = self._metadata.groups
        return {name: list(members) for name, members in zip(groups.names, groups.members, strict=True)}

    @property
    def origins(self) -> list[int]:
        """The steps that distances were measured from, 0 first."""
        return [0, *self._metadata.origins]

    @property
    def distance(self) -> pd.Series:
        """‖w_t − w_0‖ over all measured parameters; index `step` = t, the number of weight updates."""
        return self.displacement(0)

    def displacement(self, origin: int) -> pd.Series:
        """Return the distance from the weights at an origin, ‖w_t − w_{origin}‖.

        Args:
            origin: a step that the recorder measured from, one of `origins`.

        Returns:
            The distances for t > origin; index `step` = t, counted from w_0.

        Raises:
            StoreError: the recorder did not measure from there.
        """
        values = self._measured_from(origin, "distance", "displacement")
        return pd.Series(values, index=self._table.steps, name="distance").loc[origin + 1 :]

    def total(self, quantity: str = "distance") -> pd.Series:
        """Return a recorded quantity over all measured parameters.

        Args:
            quantity: one of `quantities`; or "angle", that between w_t and w_0 in radians, which follows from the
                recorded distance and norm.

        Returns:
            The values; index `step`.

        Raises:
            StoreError: the quantity was not recorded.
        """
        if quantity == "angle":
            norm, distance = self.total("norm"), self.distance
            return pd.Series(angle(distance, norm, self.origin_norm), index=self._table.steps, name="angle")
        return pd.Series(self._table.rows(self._known(quantity)), index=self._table.steps, name=quantity)

    def layers(self, quantity: str = "distance", *, origin: int = 0) -> pd.DataFrame:
        """Return a recorded quantity by parameter, or by group of them.

        Args:
            quantity: as for `total`; an angle is NaN for a layer that started from 0.
            origin: the step that the distance is measured from, one of `origins`; for the distance alone.

        Returns:
            The values for steps after `origin`: step × name.

        Raises:
            StoreError: the quantity was not recorded, or not from that origin.
        """
        if origin and quantity != "distance":
            raise StoreError(f"{self.path}: layers({quantity!r}, origin={origin}); only the distance has an origin")
        names = pd.Index(self._metadata.groups.names, name="parameter")
        if quantity == "angle":
            norm, distance = self.layers("norm"), self.layers("distance")
            values = angle(distance, norm, np.array(self._metadata.origin_norms))
        elif quantity == "distance":
            values = self._measured_from(origin, "layer_distance", "layer_displacement")
        else:
            values = self._table.rows(f"layer_{self._known(quantity)}")
        return pd.DataFrame(values, index=self._table.steps, columns=names).loc[origin + 1 :]

    def layer_displacement(self, origin: int = 0) -> pd.DataFrame:
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

    @property
    def metrics(self) -> pd.DataFrame:
        """Everything logged: step × name, NaN where a scalar was not logged at a step."""
        return self._table.metrics

    @property
    def events(self) -> list[Event]:
        """What happened, in order."""
        return [*self._commit.events, *self._uncommitted.events]

    @property
    def drops(self) -> list[Event]:
        """The learning-rate drops; an event's step is the number of updates made before the new rate."""
        return [event for event in self.events if event.name == "lr_drop"]

    @property
    def snapshots(self) -> list[int]:
        """The steps that hold weights."""
        return list(self._snapshots.steps)

    def state_dict(self, step: int) -> "dict[str, torch.Tensor]":
        """Return weights and buffers.

        Weights are exact, unless the recorder rounded them (`snapshot_dtype="bfloat16"`).

        Args:
            step: the number of updates made, one of `snapshots`.

        Returns:
            Tensors by name, in their own types, on the CPU.

        Raises:
            StoreError: no snapshot was taken at that step, or its stored bytes are damaged or missing.
        """
        return self._snapshots.state_dict(step)

    def load_into(self, model: "torch.nn.Module", step: int) -> None:
        """Put weights and buffers into a model, in place.

        Args:
            model: the network that was recorded. Names are compared without the prefixes that wrappers add
                (`module.`, `_orig_mod.`); a sharded parameter takes its shard.
            step: the number of updates made, one of `snapshots`.

        Raises:
            StoreError: as `state_dict`, or the model's names or shapes differ from the run's.
        """
        from trajectory.measure.sharding import put
        from trajectory.measure.tracked_parameters import plain_name

        state = self.state_dict(step)
        own = {plain_name(name): tensor for name, tensor in model.state_dict(keep_vars=True).items()}
        wrong = sorted(name for name, tensor in state.items() if name not in own or own[name].shape != tensor.shape)
        if wrong:
            raise StoreError(
                f"{self.path}: does not fit this model: {wrong[0]} is missing or has another shape"
                f" ({len(wrong)} such tensors); build the network the run was recorded with"
            )
        for name, tensor in state.items():
            put(tensor, own[name])

    @property
    def sketches(self) -> list[int]:
        """The steps that hold a sketch of the weights."""
        return list(self._table.sketch_steps)

    def pairwise_distance(
        self, steps: Iterable[int] | None = None, others: Iterable[int] | None = None, *, layer: str | None = None
    ) -> pd.DataFrame:
        """Return ‖w_s − w_t‖ between any two steps that hold a sketch.

        The relative error is about 1/√(2K), K the recorder's `sketch`, but for a pair so close that the float32
        of a sketch shows.

        Args:
            steps: the steps s; None: all that hold a sketch.
            others: likewise the steps t.
            layer: one column of `layers`; None: all measured parameters.

        Returns:
            The distances: s × t.

        Raises:
            StoreError: a step holds no sketch, or there is no such layer.
        """
        rows, columns = (self.sketches if chosen is None else list(chosen) for chosen in (steps, others))
        missing = sorted({*rows, *columns} - set(self.sketches))
        if missing or not self.sketches:
            raise StoreError(f"{self.path}: no sketch at steps {missing}; sketches are at {self.sketches}")
        names = self._metadata.groups.names
        if layer is not None and layer not in names:
            raise StoreError(f"{self.path}: no layer {layer!r}; this run has {list(names)}")
        chosen_layers = slice(None) if layer is None else [names.index(layer)]
        left, right = (
            np.stack([self._table.sketch(step)[chosen_layers].sum(axis=0) for step in chosen])
            for chosen in (rows, columns)
        )
        values = [np.linalg.norm(right - sketch, axis=1) for sketch in left]
        return pd.DataFrame(values, pd.Index(rows, name="step"), pd.Index(columns, name="other"))

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the run, without its curves, fit for JSON."""
        distance = self.distance
        last = float(distance.iloc[-1]) if len(distance) else np.nan
        logged = {name: column.dropna() for name, column in self.metrics.items()}
        return {
            "path": str(self.path),
            "status": self.status,
            "steps": [int(distance.index[0]), int(distance.index[-1])] if len(distance) else [],
            "recorded": len(distance),
            "distance": last if isfinite(last) else None,
            "origin_norm": self.origin_norm,
            "origins": self.origins,
            "quantities": self.quantities,
            "parameters": len(self._metadata.measured),
            "weights": self.weight_count,
            "metrics": {name: float(column.iloc[-1]) for name, column in logged.items() if len(column)},
            "snapshots": self.snapshots,
            "resumed": self.resumed,
            "events": [{"step": event.step, "name": event.name, **event.details} for event in self.events],
            "seed": self.seed,
            "config": self.config,
            "versions": self.versions,
        }

    def to_xarray(self) -> "xarray.Dataset":
        """Return what was recorded and logged in one Dataset over `step`, NaN where one of the two is absent.

        A metric with the name of a recorded quantity is called `metrics/<name>`.
        """
        import xarray

        values = {name: (DIMENSIONS[name], self._table.rows(name)) for name in self._table.names}
        if "norm" in self.quantities:
            values["angle"] = (DIMENSIONS["norm"], self.total("angle").to_numpy())
            values["layer_angle"] = (DIMENSIONS["layer_norm"], self.layers("angle").to_numpy())
        distances = xarray.Dataset(
            values,
            coords={
                "step": self._table.steps.to_numpy(),
                "parameter": list(self._metadata.groups.names),
                "origin": self.origins[1:],
            },
            attrs={"run": self.name, "status": self.status},
        )
        taken = distances.variables
        metrics = xarray.Dataset(
            {
                f"metrics/{name}" if name in taken else name: ("step", column.to_numpy())
                for name, column in self.metrics.items()
            },
            coords={"step": self.metrics.index.to_numpy()},
        )
        return xarray.merge([distances, metrics], join="outer", combine_attrs="override")

    def _known(self, quantity: str) -> str:
        if quantity not in self.quantities:
            raise StoreError(
                f"{self.path}: no quantity {quantity!r}; this run holds: {', '.join(self.quantities)}"
                " (the recorder's `quantities` say what is recorded; an angle needs the norm)"
            )
        return quantity

    def _measured_from(self, origin: int, start: str, displaced: str) -> np.ndarray:
        """Return the array `start` for w_0, the origin's slice of `displaced` otherwise."""
        if origin not in self.origins:
            raise StoreError(f"{self.path}: no distances from step {origin}; this run holds origins {self.origins}")
        return self._table.rows(displaced)[:, self.origins.index(origin) - 1] if origin else self._table.rows(start)
