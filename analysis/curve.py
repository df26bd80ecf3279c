"""Distance curves: from whatever a user holds to t and d. The only module here that reads a run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.errors import CurveError
from analysis.inputs import FrameLike, LabelledArray, SeriesLike, update_number, vector, whole_and_increasing
from analysis.logs import is_log, read_series
from trajectory.run import Run

SETTINGS = (
    *("network", "dataset", "train_size", "batch_size", "lr", "momentum", "weight_decay", "protocol", "optimizer"),
)
"""What the analysis reads of a run's configuration, beside its `label`.

`Recorder(config={...})` takes any names; these are understood whoever notes them: network and dataset (names),
train_size (samples in the training set), batch_size (samples in an update), lr, momentum, weight_decay (as the
optimizer has them at first; β₁ is the momentum of Adam and AdamW), protocol (a name for how else it was trained), and
optimizer (sgd, adam or adamw). `label` names the experiment: runs
with one label are drawn as its seeds.
"""


@dataclass(frozen=True, eq=False)
class Curve:
    """A distance curve.

    Attributes:
        t: (point,) updates since the origin, strictly increasing from above 0.
        d: (point,) the distance ‖w − w_origin‖ after them. What is masked, here or in t, is left out.
        name: what messages and legends call it.
        drops: the t at which the learning rate dropped.
        warmup_end: the t at which the learning rate's warm-up ended, 0 without one.
        run: the run it comes from; None for arrays.
        origin: the update from which t counts and d is measured.
        config: what is noted of the run (`SETTINGS`, `label`).
        drops_known: False where nothing says when the learning rate dropped, as of bare arrays.

    Raises:
        CurveError: where t and d are no vectors of numbers of one length, or t does not increase from above 0.

    Examples:
        >>> import numpy as np
        >>> from analysis import Curve
        >>> Curve(np.arange(1.0, 4.0), np.array([0.5, 0.7, 0.8]), "mine").d.max()
        np.float64(0.8)
    """

    t: NDArray[np.float64]
    d: NDArray[np.float64]
    name: str = "curve"
    drops: tuple[float, ...] = ()
    warmup_end: float = 0.0
    run: Run | None = field(default=None, repr=False)
    origin: int = 0
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    drops_known: bool = True

    def __post_init__(self) -> None:
        if not all(type(values) is np.ndarray and values.dtype == float for values in (self.t, self.d)):
            t, d = _unmasked(self.t, self.d, self.name)
            object.__setattr__(self, "t", t)
            object.__setattr__(self, "d", d)
        if self.t.ndim != 1 or self.t.shape != self.d.shape:
            raise CurveError(
                f"{self.name}: t has shape {self.t.shape} and d {self.d.shape}; expected vectors of one length"
            )
        if not np.all(np.isfinite(self.t)):
            raise CurveError(f"{self.name}: t holds NaN or infinite values; expected numbers of updates")
        stuck = np.flatnonzero(np.diff(self.t) <= 0)
        if len(stuck):
            i = int(stuck[0])
            raise CurveError(
                f"{self.name}: t goes from {self.t[i]:g} to {self.t[i + 1]:g} at position {i + 1}; "
                "expected strictly increasing updates (sort the curve, or drop repeated rows)"
            )
        if len(self.t) and self.t[0] <= 0:
            raise CurveError(
                f"{self.name}: t begins at {self.t[0]:g}; expected updates since the origin, above 0: at the origin "
                "the distance is 0 and has no logarithm"
            )

    @property
    def label(self) -> str:
        """The label that its run was given, or else its name."""
        return str(self.config.get("label") or self.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of `SETTINGS` that its run noted; none for bare arrays."""
        return {name: self.config[name] for name in SETTINGS if name in self.config}

    @property
    def dataset(self) -> str | None:
        """The name of the data its run was trained on, if noted."""
        return self.settings.get("dataset")

    @property
    def batch_size(self) -> int | None:
        """The number of samples in an update of its run, if noted."""
        return self.settings.get("batch_size")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its run's recorder saw that a reader of d has to know; none for arrays."""
        return tuple(f"{self.name}, {sentence}" for sentence in (self.run.warnings if self.run is not None else ()))


CurveLike: TypeAlias = Curve | Run | str | Path | tuple[ArrayLike, ArrayLike] | SeriesLike | LabelledArray
"""One curve: as it is, a run or its path, (t, d), a pandas Series with index t, or an xarray DataArray over t.

A path may also be a table's or a log's, with several curves in it: `read_curves`.
"""

CurvesLike: TypeAlias = CurveLike | FrameLike | Sequence[CurveLike | FrameLike]
"""One curve, or several: a list, or a pandas DataFrame with index t and a column for each."""


def curves(data: CurvesLike, *, origin: int = 0) -> list[Curve]:
    """Read curves from whatever holds them.

    With an origin t_w, d is ‖w_{t_w + t} − w_{t_w}‖ and **t counts from t_w**, in what is returned and in every
    range, start and warning made of it. A walk's laws speak of the time since it was at distance zero, and from t_w
    that is t; counted from w_0 the curve would start with a jump at log t_w. A walk that ages depends on t_w too:
    compare several origins. To count from w_0 all the same, give the index and the values of `run.displacement(t_w)`
    as (t, d).

    A tuple of two is (t, d), unless it can be seen to hold two curves: two runs, paths, `Curve`s or tuples, or two
    Series (or DataArrays) whose index is t. In a DataFrame, NaN stands for an update that the seed did not record.

    A run's displacement is what was recorded from t_w, or is read from its snapshots; of arrays, d is taken to be
    measured from t_w already, and t to count from w_0. A Series or DataArray that came from a run says in its `attrs`
    from which update it was measured, when the learning rate dropped and what the run was (`Run.displacement`), and
    is read as the run is; of other arrays that is not known, unless `attrs` is given: `series.attrs["lr_drops"] = []`
    for a constant rate. At t_w itself the distance is 0, and that row is left out; a
    distance there that is not 0 is refused, since then t is off by one, or d measured from elsewhere.

    Args:
        data: a `Curve`, a Run, a run's path or that of a table or log (`read_curves`), (t, d), a pandas Series, an
            xarray DataArray, a list of those, or a pandas DataFrame with index t and a column for each seed.
        origin: the update t_w that d is measured from.

    Returns:
        The curves, in order.

    Raises:
        CurveError: where the data are no curve, or a curve measured from elsewhere.
        AnalysisError: where the origin is no update's number.
        StoreError: for a path that is no run, or a run that holds no distances from that origin.

    Examples:
        >>> from analysis import curves
        >>> [curve.name for curve in curves([([1, 2, 3], [0.5, 0.7, 0.8]), ([1, 2], [0.4, 0.6])])]
        ['curve 1', 'curve 2']
    """
    origin = update_number(origin, "origin")
    given: Any = data
    if _is_pair(given):
        return [_from_arrays(*given, name="curve", origin=origin)]
    parts = _columns(given) if isinstance(given, pd.DataFrame) else given
    if isinstance(parts, list | tuple):
        if not parts:
            raise CurveError("got an empty list of curves; expected at least one run or (t, d)")
        found = [curve for part in parts for curve in curves(part, origin=origin)]
        return [_renamed(curve, i) if curve.name == "curve" else curve for i, curve in enumerate(found, 1)]
    if isinstance(given, str | Path) and is_log(given):
        return read_curves(given, origin=origin)
    return [_single(given, origin)]


def read_curves(path: str | Path, *, scalar: str | None = None, origin: int = 0) -> list[Curve]:
    r"""Read curves from a table, from TensorBoard's event files or from an export of W&B or trackio.

    Args:
        path: a table (`.csv`, `.tsv`, `.parquet`; columns step and distance, several columns being seeds, or a column
            run_name telling them apart), an export of W&B (`.csv`), trackio's project (`.db`, `.parquet`), an event
            file of TensorBoard, or a folder of those.
        scalar: the distance's name there. By default the column `distance`; the only column; or all, as seeds, where
            no name is that of something else.
        origin: the update that the distances were measured from; steps count from w_0.

    Returns:
        A curve for each run or seed, by name.

    Raises:
        CurveError: the file cannot be read, holds no curve, or does not say which column is the distance.

    Examples:
        >>> from pathlib import Path
        >>> from analysis import read_curves
        >>> _ = Path("curve.csv").write_text("step,distance\n1,0.5\n2,0.7\n3,0.8\n")
        >>> read_curves("curve.csv")[0].d
        array([0.5, 0.7, 0.8])
    """
    return [_from_labelled(series.index, series, series.attrs, origin) for series in read_series(path, scalar)]


def _is_pair(data: Any) -> bool:
    """Tell (t, d) from two curves in a tuple; refuse two Series that may be either."""
    if not (isinstance(data, tuple) and len(data) == 2) or any(map(_stands_alone, data)):
        return False
    indices = [_index(part) for part in data]
    if any(index is None for index in indices) or whole_and_increasing(data[0], "curve"):
        return True
    if any(isinstance(index, pd.RangeIndex) and index.start == 0 for index in indices):
        raise CurveError(
            "got a tuple of two Series whose index counts from 0, and the first holds no updates; expected (t, d) as "
            "arrays, or seeds as a list of Series with index t"
        )
    return False


def _stands_alone(part: Any) -> bool:
    return isinstance(part, Curve | Run | str | Path | tuple | pd.DataFrame) or hasattr(part, "data_vars")


def _index(part: Any) -> Any:
    """Return the index of a Series, or the coordinate of a DataArray; None for what has neither."""
    if isinstance(part, pd.Series):
        return part.index
    if hasattr(part, "coords") and hasattr(part, "dims"):
        return part.coords[part.dims[0]] if len(part.dims) == 1 and part.dims[0] in part.coords else None
    return None


def _columns(frame: Any) -> list[Any]:
    """Return a DataFrame's columns as Series, without the rows that a seed did not record."""
    numbered = isinstance(frame.columns, pd.RangeIndex)
    columns = []
    for i, column in enumerate(frame.columns):
        series = frame.iloc[:, i].dropna()
        if whole_and_increasing(series, str(column)):
            raise CurveError(
                f"column {column!r} of the DataFrame holds increasing whole numbers, updates rather than distances; "
                f"expected t as the index and a column for each seed: use frame.set_index({column!r})"
            )
        name = None if numbered else column if isinstance(column, str) else f"column {column}"
        columns.append(series.rename(name))
    return columns


def _renamed(curve: Curve, number: int) -> Curve:
    return replace(curve, name=f"curve {number}")


def _single(data: Any, origin: int) -> Curve:
    if isinstance(data, Curve):
        if origin in (0, data.origin):
            return data
        if data.run is not None and data.origin == 0:
            return _from_run(data.run, origin)
        raise CurveError(
            f"{data.name}: a curve measured from update {data.origin} holds no distances from update {origin}; "
            "give the run, or a curve measured from there"
        )
    if isinstance(data, str | Path):
        return _from_run(Run(data), origin)
    if isinstance(data, Run):
        return _from_run(data, origin)
    if isinstance(data, pd.Series):
        return _from_labelled(data.index, data, data.attrs, origin)
    if hasattr(data, "data_vars"):
        names = ", ".join(map(str, data.data_vars))
        raise CurveError(f"got a Dataset of {names}; expected one variable of it, such as dataset['distance']")
    if hasattr(data, "coords") and hasattr(data, "dims"):  # an xarray.DataArray, without importing xarray
        if (t := _index(data)) is None:
            raise CurveError(f"got a DataArray over {tuple(data.dims)}; expected one dimension with its coordinate")
        at = (
            {"origin": int(data.coords["origin"])}
            if "origin" in data.coords and not data.coords["origin"].dims
            else {}
        )
        return _from_labelled(t, data, {**data.attrs, **at}, origin)
    raise CurveError(
        f"got {type(data).__name__}; expected a Run, a run's path, (t, d) as a tuple, a pandas Series, "
        "an xarray DataArray, or a list of those"
    )


def _unmasked(t: Any, d: Any, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read t and d as numbers, without what is masked in either."""
    (t, t_masked), (d, d_masked) = vector(t, "t", name), vector(d, "d", name)
    if t.ndim != 1 or t.shape != d.shape or not (t_masked | d_masked).any():
        return t, d
    kept = ~(t_masked | d_masked)
    return t[kept], d[kept]


def _from_labelled(t: Any, d: Any, attrs: Mapping[Any, Any], origin: int) -> Curve:
    """Read a Series or DataArray, and what its `attrs` say of the run that it came from."""
    name = str(d.name if d.name not in (None, "distance") else attrs.get("run") or d.name or "curve")
    measured_from = update_number(attrs.get("origin", origin), f"{name}.attrs['origin']")
    if origin not in (0, measured_from):
        raise CurveError(
            f"{name}: measured from update {measured_from}, as its attrs say; expected origin = {measured_from}, or "
            f"a curve measured from update {origin}"
        )
    if "lr_drops" not in attrs:
        return _from_arrays(t, d, name=name, origin=measured_from)
    drops, _ = vector(attrs["lr_drops"], "attrs['lr_drops']", name)
    return _from_arrays(
        t,
        d,
        name=name,
        origin=measured_from,
        drops=tuple(float(drop) - measured_from for drop in drops),
        warmup_end=max(float(attrs.get("warmup_end", 0)) - measured_from, 0.0),
        config=_config(attrs.get("config", {}), name),
        drops_known=True,
    )


def _config(noted: Any, name: str) -> Mapping[str, Any]:
    """Read what `attrs` note of a run's configuration: a mapping, or JSON text of one."""
    try:
        config = json.loads(noted) if isinstance(noted, str) else noted
    except ValueError:
        config = None
    if not isinstance(config, Mapping):
        raise CurveError(
            f"{name}.attrs['config'] = {noted!r:.60}: expected a mapping of settings, or JSON text of one"
        )
    return config


def _from_arrays(
    t: Any, d: Any, *, name: str, origin: int, drops_known: bool = False, run: Run | None = None, **known: Any
) -> Curve:
    t, d = _unmasked(t, d, name)
    if t.ndim == 1 and t.shape == d.shape:
        if run is None:
            _check_start(t, d, name, origin)
        after = ~(t <= origin)  # the origin itself has distance 0 and no logarithm; NaN stays, to be refused
        t, d = t[after] - origin, d[after]
    return Curve(t, d, name, origin=origin, drops_known=drops_known, run=run, **known)


_NOT_ZERO = 1e-6  # of the largest distance: an update moves the weights further, and rounding less


def _check_start(t: NDArray[np.float64], d: NDArray[np.float64], name: str, origin: int) -> None:
    """Refuse a t below 0, and a distance at the origin that is not 0."""
    if len(t) and t.min() < 0:
        raise CurveError(f"{name}: t begins at {t.min():g}; expected numbers of updates, 0 or more")
    at, largest = d[t == origin], np.max(np.abs(d[np.isfinite(d)]), initial=0.0)
    if len(at) and abs(at[0]) > _NOT_ZERO * largest:
        raise CurveError(
            f"{name}: the distance at update {origin} is {at[0]:.4g}; expected 0, being measured from there: if the "
            f"values follow updates {origin + 1}, {origin + 2}, ..., let t (a Series' index) begin at {origin + 1}"
        )


def _from_run(run: Run, origin: int) -> Curve:
    recorded = origin in run.origins
    distance = run.displacement(origin) if recorded else run.layer_displacement(origin).pow(2).sum(axis=1).pow(0.5)
    return _from_arrays(
        distance.index,
        distance,
        name=run.name,
        origin=origin,
        drops=tuple(float(event.step) - origin for event in run.drops),
        warmup_end=max(float(run.warmup_end) - origin, 0.0),
        run=run,
        config=run.config,
        drops_known=True,
    )


def runs_in(places: Run | str | Path | Sequence[Run | str | Path]) -> list[Run]:
    """Open runs, also all those in a folder.

    Args:
        places: runs, paths of their stores, folders of stores (`*.zarr`), or a list of those.

    Returns:
        The runs, in order; a folder's by name.

    Raises:
        CurveError: for a folder without a run.
        StoreError: for a path that is no run.

    Examples:
        >>> import torch
        >>> from analysis import runs_in
        >>> from trajectory import Recorder
        >>> model = torch.nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> for seed in range(2):
        ...     Recorder(f"runs/seed-{seed}.zarr", model, optimizer).close()
        >>> [run.name for run in runs_in("runs")]
        ['seed-0', 'seed-1']
    """
    listed = [places] if isinstance(places, Run | str | Path) else list(places)
    found: list[Run] = []
    for one in listed:
        stores = sorted(Path(one).glob("*.zarr")) if isinstance(one, str | Path) and _is_folder(one) else [one]
        if not stores:
            raise CurveError(f"{one}: no run is in that folder; expected a run's store, or a folder of *.zarr")
        found += [store if isinstance(store, Run) else Run(store) for store in stores]
    return found


def _is_folder(path: str | Path) -> bool:
    return Path(path).is_dir() and not (Path(path) / "zarr.json").exists() and Path(path).suffix != ".zarr"


def layer_curves(curve: Curve) -> dict[str, Curve]:
    """Read each parameter's distance as a curve.

    Args:
        curve: a run's curve, from whose origin the distances are measured.

    Returns:
        By parameter, curves with the learning-rate drops and the warm-up of the whole.

    Raises:
        CurveError: for a curve made of arrays.
        StoreError: where the run holds no distances by layer from that origin.
    """
    if curve.run is None:
        raise CurveError(f"{curve.name}: distances by layer need a run; got arrays")
    frame = curve.run.layer_displacement(curve.origin)
    frame = frame[frame.index > curve.origin]
    t = np.asarray(frame.index, float) - curve.origin
    return {
        str(name): replace(curve, t=t, d=frame[name].to_numpy(float), name=f"{curve.name} {name}")
        for name in frame.columns
    }
