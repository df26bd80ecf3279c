"""The read side of a run: what `Recorder` wrote, as pandas, xarray and state dicts."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import zarr

from trajectory.errors import StoreError
from trajectory.schema.layout import DIMENSIONS, Event, RowColumns, TensorSpec, hash_array, metric_name, part_array
from trajectory.schema.parameter_groups import Groups
from trajectory.schema.shards import assemble, from_table, missing_copies
from trajectory.storage import reader as tail
from trajectory.storage.arrays import hash_of
from trajectory.storage.backend import Where, place

if TYPE_CHECKING:
    import torch
    import xarray

__all__ = ["Event", "Run", "angle"]


def angle(distance: Any, norm: Any, origin_norm: Any) -> np.ndarray:
    """The angle between w_t and w_0 in radians, NaN if one of them is 0.

        tan²(θ/2) = (d² − (n − n_0)²) / ((n + n_0)² − d²),   d = ‖w_t − w_0‖, n = ‖w_t‖, n_0 = ‖w_0‖

    is the law of cosines, d² = n² + n_0² − 2 n n_0 cos θ, in a form that keeps the digits of a small angle.
    """
    d, n, n_0 = np.asarray(distance, float), np.asarray(norm, float), np.asarray(origin_norm, float)
    across, along = d**2 - (n - n_0) ** 2, (n + n_0) ** 2 - d**2
    theta = 2 * np.arctan2(np.sqrt(np.maximum(across, 0)), np.sqrt(np.maximum(along, 0)))  # rounding can leave < 0
    return np.where(n * n_0 > 0, theta, np.nan)


class Run:
    """One recorded run, read from its store; works while it is still written and after it was killed.

    path: the store's folder, its URL (`s3://bucket/sb.zarr`) or the Zarr store itself. What is returned is as
        of the moment of opening.
    Raises StoreError if the path is missing, is no run, or has a newer format.
    """

    def __init__(self, path: Where):
        self._place = at = place(path)
        self.path = at.path
        self._facts, self._tail = tail.read(at)
        self._group = zarr.open_group(at.root, mode="r")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}): {self.status}, {len(self._steps)} recorded steps"

    @property
    def name(self) -> str:
        """The folder's name without `.zarr`."""
        return PurePosixPath(self.path).name.removesuffix(".zarr")

    @property
    def status(self) -> str:
        """How the run ended: `complete`, `interrupted (...)`, or `recording`, also after a kill."""
        return self._facts["status"]

    @property
    def config(self) -> dict[str, Any]:
        """What the recorder was told about the run."""
        return dict(self._facts["config"])

    @property
    def seed(self) -> int | None:
        """The run's seed, if the recorder was told."""
        return self._facts["seed"]

    @property
    def versions(self) -> dict[str, str]:
        """Versions of Python and of the packages that made the run."""
        return dict(self._facts["versions"])

    @property
    def resumed(self) -> list[int]:
        """The steps at which the run was gone on with after an interruption, in order."""
        return list(self._facts.get("resumed", []))

    @property
    def host(self) -> str | None:
        """The machine that made the run."""
        return self._facts.get("host")

    @property
    def commit(self) -> str | None:
        """The git commit of the folder the run was started in, `-dirty` if files differed; None outside one."""
        return self._facts.get("commit")

    @property
    def origin_norm(self) -> float:
        """‖w_0‖, Euclidean over the parameters the distance is taken over."""
        return self._facts["origin_norm"]

    @property
    def signature(self) -> dict[str, Any]:
        """Names, shapes and types of the measured parameters: equal where distances can be compared."""
        return {"parameters": [[spec.name, list(spec.shape), spec.dtype] for spec in self._measured]}

    @property
    def weight_count(self) -> int:
        """The number of weights the distance is taken over."""
        return sum(spec.size for spec in self._measured)

    @property
    def quantities(self) -> list[str]:
        """What was recorded at every step: "distance" first; "angle" follows from distance and norm."""
        return list(self._columns.quantities)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The measured parameters by the column of `layers` that they are in: each alone, unless grouped."""
        groups = Groups.of(self._facts)
        return {name: list(members) for name, members in zip(groups.names, groups.members, strict=True)}

    @property
    def origins(self) -> list[int]:
        """The steps t_w that distances were measured from, 0 first."""
        return [0, *self._facts["origins"]]

    @property
    def distance(self) -> pd.Series:
        """‖w_t − w_0‖ over all measured parameters; index `step` = t, the number of weight updates."""
        return self.displacement(0)

    def displacement(self, origin: int) -> pd.Series:
        """‖w_t − w_{origin}‖ for t > origin; index `step` = t, counted from w_0.

        Raises StoreError if the recorder was not told of that origin.
        """
        values = self._measured_from(origin, "distance", "displacement")
        return pd.Series(values, index=self._steps, name="distance").loc[origin + 1 :]

    def total(self, quantity: str = "distance") -> pd.Series:
        """A recorded quantity over all measured parameters; index `step`.

        "angle" is that between w_t and w_0 in radians, from the recorded distance and norm.
        Raises StoreError for a quantity that was not recorded.
        """
        if quantity == "angle":
            norm, distance = self.total("norm"), self.distance
            return pd.Series(angle(distance, norm, self.origin_norm), index=self._steps, name="angle")
        return pd.Series(self._rows[self._known(quantity)], index=self._steps, name=quantity)

    def layers(self, quantity: str = "distance", *, origin: int = 0) -> pd.DataFrame:
        """A recorded quantity by parameter, or by group of them: step × name, for steps after `origin`.

        "angle" as in `total`; NaN for a layer that started from 0. origin: for the distance alone.
        Raises StoreError for a quantity that was not recorded, and for an unknown origin.
        """
        if origin and quantity != "distance":
            raise StoreError(f"{self.path}: layers({quantity!r}, origin={origin}); only the distance has an origin")
        if quantity == "angle":
            norm, distance = self.layers("norm"), self.layers("distance")
            return pd.DataFrame(
                angle(distance, norm, np.array(self._facts["origin_norms"])), self._steps, distance.columns
            )
        if quantity == "distance":
            values = self._measured_from(origin, "layer_distance", "layer_displacement")
        else:
            values = self._rows[f"layer_{self._known(quantity)}"]
        names = pd.Index(self._columns.layers, name="parameter")
        return pd.DataFrame(values, index=self._steps, columns=names).loc[origin + 1 :]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Everything logged: step × name, NaN where a scalar was not logged at a step."""
        count = self._facts["committed"]["metrics"]
        arrays = [key for key in cast(zarr.Group, self._group["metrics"]).array_keys() if key != "step"]
        columns = {metric_name(key): self._read(f"metrics/{key}", count) for key in arrays}
        committed = pd.DataFrame(columns, index=self._read("metrics/step", count))
        newest = pd.DataFrame.from_dict(self._tail.metrics, orient="index", dtype="float64")
        frame = committed if newest.empty else pd.concat([committed, newest]) if len(committed) else newest
        return frame.rename_axis(index="step", columns=None).sort_index(axis="columns")

    @property
    def events(self) -> list[Event]:
        """What happened, in order."""
        return [Event(*entry) for entry in self._facts["events"]] + self._tail.events

    @property
    def drops(self) -> list[Event]:
        """The learning-rate drops; an event's step is the number of updates made before the new rate."""
        return [event for event in self.events if event.name == "lr_drop"]

    @property
    def snapshots(self) -> list[int]:
        """The steps that hold weights."""
        return self._read("snapshots/step", self._facts["committed"]["snapshots"]).tolist()

    def state_dict(self, step: int) -> "dict[str, torch.Tensor]":
        """Weights and buffers after `step` updates, in their own types, on the CPU.

        Weights are exact, unless the recorder was told to round them (`snapshot_dtype="bfloat16"`).

        Raises StoreError if no snapshot was taken at that step or its stored bytes are damaged.
        """
        import torch

        if step not in self.snapshots:
            raise StoreError(f"{self.path}: no snapshot at step {step}; snapshots are at {self.snapshots}")
        k = self.snapshots.index(step)
        try:
            raw, weights = self._copy("snapshots/buffers", k), self._weights(k)
        except StoreError:
            raise
        except (ValueError, RuntimeError) as error:
            raise StoreError(f"{self.path}: the snapshot at step {step} is damaged ({error}); use another") from error
        tensors = {}
        for spec, values in zip(self._parameters, weights, strict=True):
            tensors[spec.name] = torch.from_numpy(values).to(getattr(torch, spec.dtype))
        for spec in self._buffers:
            dtype = getattr(torch, spec.dtype)
            flat = torch.from_numpy(raw[spec.offset : spec.offset + spec.size * dtype.itemsize])
            tensors[spec.name] = flat.clone().view(dtype).reshape(spec.shape)
        tied = {name: tensors[source] for name, source in self._facts["tied"].items()}
        return tensors | tied

    @property
    def sketches(self) -> list[int]:
        """The steps that hold a sketch of the weights."""
        count = self._facts["committed"].get("sketches", 0)
        return self._read("sketches/step", count).tolist() if count else []

    def pairwise_distance(
        self, steps: Iterable[int] | None = None, others: Iterable[int] | None = None, *, layer: str | None = None
    ) -> pd.DataFrame:
        """‖w_s − w_t‖ for s in `steps` and t in `others`, from sketches: s × t.

        The relative error is about 1/√(2K), K the recorder's `sketch`, but for a pair so close that the float32
        of a sketch shows. steps, others: steps that hold a sketch, default all. layer: over one column of `layers`
        alone; default over all measured parameters.
        Raises StoreError for a step without a sketch, and for an unknown layer.
        """
        rows, columns = (self.sketches if chosen is None else list(chosen) for chosen in (steps, others))
        missing = sorted({*rows, *columns} - set(self.sketches))
        if missing or not self.sketches:
            raise StoreError(f"{self.path}: no sketch at steps {missing}; sketches are at {self.sketches}")
        if layer is not None and layer not in self._columns.layers:
            raise StoreError(f"{self.path}: no layer {layer!r}; this run tells apart {list(self._columns.layers)}")
        left, right = (np.stack([self._sketch(step, layer) for step in chosen]) for chosen in (rows, columns))
        values = [np.linalg.norm(right - sketch, axis=1) for sketch in left]
        return pd.DataFrame(values, pd.Index(rows, name="step"), pd.Index(columns, name="other"))

    def _sketch(self, step: int, layer: str | None) -> np.ndarray:
        """The sketch at a step: of a layer, or the sum of all."""
        k = self.sketches.index(step)
        by_layer = self._read("sketches/values", k + 1, k)[0].astype(float)
        return by_layer.sum(axis=0) if layer is None else by_layer[self._columns.layers.index(layer)]

    def load_into(self, model: "torch.nn.Module", step: int) -> None:
        """Puts the weights and buffers after `step` updates into `model`, in place.

        Names are compared without the prefixes that wrappers add (`module.`, `_orig_mod.`). A shard takes its part.
        Raises StoreError if the model's names or shapes differ from the run's.
        """
        from trajectory.measure.observables import plain_name
        from trajectory.measure.ranks import put

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

    def to_xarray(self) -> "xarray.Dataset":
        """What was recorded and logged in one Dataset over `step`, NaN where one of the two is absent.

        A metric with the name of a recorded quantity is called `metrics/<name>`.
        """
        import xarray

        values = {name: (DIMENSIONS[name], array) for name, array in self._rows.items() if name != "step"}
        if "norm" in self.quantities:
            values["angle"] = (DIMENSIONS["norm"], self.total("angle").to_numpy())
            values["layer_angle"] = (DIMENSIONS["layer_norm"], self.layers("angle").to_numpy())
        distances = xarray.Dataset(
            values,
            coords={
                "step": self._steps.to_numpy(),
                "parameter": list(self._columns.layers),
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

    @cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        """The store's arrays over `step`: committed rows, then the journal's."""
        count, newest = self._facts["committed"]["step"], self._columns.split(self._tail.rows)
        return {name: np.concatenate([self._read(name, count), rest]) for name, rest in newest.items()}

    def _known(self, quantity: str) -> str:
        if quantity not in self.quantities:
            raise StoreError(
                f"{self.path}: no quantity {quantity!r}; this run holds: {', '.join(self.quantities)}"
                " (the recorder's `quantities` say what is recorded; an angle needs the norm)"
            )
        return quantity

    def _measured_from(self, origin: int, start: str, further: str) -> np.ndarray:
        """The array `start` for w_0, the origin's slice of `further` otherwise."""
        if origin not in self.origins:
            raise StoreError(f"{self.path}: no distances from step {origin}; this run holds origins {self.origins}")
        return self._rows[further][:, self.origins.index(origin) - 1] if origin else self._rows[start]

    def _read(self, name: str, stop: int | None, start: int = 0) -> np.ndarray:
        return np.asarray(cast(zarr.Array, self._group[name])[start:stop])

    def _copy(self, name: str, k: int) -> np.ndarray:
        """A row of an array of `snapshots`. Raises ValueError unless it has the hash that was kept, if one was."""
        row, hashes = self._read(name, k + 1, k)[0], hash_array(name)
        if hashes in self._group and not np.array_equal(hash_of(row), self._read(hashes, k + 1, k)[0]):
            raise ValueError("its bytes are not those whose hash was kept")
        return row

    def _weights(self, k: int) -> list[np.ndarray]:
        """The k-th snapshot's parameters, put together from the ranks' parts where the model was sharded."""
        ranks = self._facts.get("ranks", ())
        for part in missing_copies(self._place, ranks, k).values():
            raise StoreError(
                f"{self.path}: {part}the snapshot at step {self.snapshots[k]} is missing;"
                " restore the folder as it was written, or use another snapshot"
            )
        if not ranks:
            flat = self._widened(self._copy("snapshots/weights", k))
            return [flat[spec.offset : spec.offset + spec.size].reshape(spec.shape) for spec in self._parameters]
        table = from_table(self._read("part", None), self._parameters)
        parts = {rank: self._copy(f"snapshots/{part_array(rank)}", k) for rank in ranks}
        return assemble(self._parameters, table, {rank: self._widened(part) for rank, part in parts.items()})

    def _widened(self, row: np.ndarray) -> np.ndarray:
        """A snapshot's weights as numbers: bfloat16 are kept as their bits, the upper half of a float32's."""
        if self._facts.get("snapshot", {}).get("dtype") != "bfloat16":
            return row
        return (row.astype("uint32") << 16).view("float32")

    @property
    def _steps(self) -> pd.Index:
        return pd.Index(self._rows["step"], name="step")

    @cached_property
    def _columns(self) -> RowColumns:
        return RowColumns.of(self._facts)

    @property
    def _measured(self) -> list[TensorSpec]:
        measured = set(Groups.of(self._facts).parameters)
        return [spec for spec in self._parameters if spec.name in measured]

    @property
    def _parameters(self) -> list[TensorSpec]:
        return [TensorSpec.from_json(entry) for entry in self._facts["parameters"]]

    @property
    def _buffers(self) -> list[TensorSpec]:
        return [TensorSpec.from_json(entry) for entry in self._facts["buffers"]]
