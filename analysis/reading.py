"""Curves from whatever a user holds: runs, arrays, Series, DataArrays, DataFrames, tables and logs, in lists too."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.curve import Curve, CurvesLike, curve_of
from analysis.errors import CurveError
from analysis.inputs import numbers, update_number, whole_and_increasing
from analysis.logs import from_table, is_log, read_series
from analysis.run_curves import run_curve
from trajectory.run import Run

_SEEDS = ("seed", "seeds", "run", "runs")  # names of a dimension along which lie seeds of one experiment


def curves(data: CurvesLike, *, origin: int = 0) -> list[Curve]:
    """Read curves from whatever holds them.

    With an origin t_w, d is ‖w_{t_w + t} − w_{t_w}‖ and **t counts from t_w**, in what is returned and in every
    range, start and warning made of it. A walk's laws speak of the time since it was at distance zero, and from t_w
    that is t; counted from w_0 the curve would start with a jump at log t_w. A walk that ages depends on t_w too:
    compare several origins. To count from w_0 all the same, give the index and the values of `run.displacement(t_w)`
    as (t, d).

    A tuple of two is (t, d), unless it can be seen to hold two curves: two runs, paths, `Curve`s or tuples, or two
    Series (or DataArrays) whose index is t. In a DataFrame, and in a DataArray over t and seeds (a dimension called
    seed or run), NaN stands for an update that the seed did not record.

    A run's displacement is what was recorded from t_w, or is read from its snapshots; of arrays, d is taken to be
    measured from t_w already, and t to count from w_0. A Series or DataArray that came from a run says in its `attrs`
    from which update it was measured, when the learning rate dropped and what the run was (`Run.displacement`), and
    is read as the run is; of other arrays that is not known, unless `attrs` is given: `series.attrs["lr_drops"] = []`
    for a constant rate. At t_w itself the distance is 0, and that row is left out; a
    distance there that is not 0 is refused, since then t is off by one, or d measured from elsewhere.

    Args:
        data: a `Curve`, a Run, a run's path or that of a table or log (`read_curves`), (t, d), a pandas Series, an
            xarray DataArray, a list of those, or a pandas DataFrame with index t and a column for each
            seed, or with a column `step` and one called `distance`, as a table in a file.
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
        return [curve_of(*given, name="curve", origin=origin)]
    parts = _columns(given) if isinstance(given, pd.DataFrame) else _along_seeds(given)
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
    if not isinstance(path, str | Path):
        raise CurveError(f"got {type(path).__name__}; expected the path of one table or log")
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
    """Return a DataFrame's curves as Series, without the rows that a seed did not record.

    With a column `step` it is read as the same table is from a file; otherwise each column is a seed.
    """
    if frame.columns.nlevels == 1 and "step" in frame.columns:
        return list(from_table(frame, "the DataFrame", "distance"))
    if frame.columns.name == "parameter" and len(frame.columns) > 1:
        raise CurveError(
            f"got a DataFrame with a column for each parameter, {frame.columns[0]} first; parameters of a run are no "
            "seeds: use fit_layers(run), or give a column of it"
        )
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


def _along_seeds(given: Any) -> Any:
    """Return the curves of a DataArray over seeds and t, without what a seed did not record; all else as it is."""
    if hasattr(given, "data_vars") or not (hasattr(given, "coords") and len(getattr(given, "dims", ())) == 2):
        return given
    seeds = [dim for dim in given.dims if dim in _SEEDS]
    steps = [dim for dim in given.dims if dim not in seeds and dim in given.coords]
    if len(seeds) != 1 or len(steps) != 1:
        return given
    found = []
    for i in range(given.sizes[seeds[0]]):
        one = given.isel({seeds[0]: i}).dropna(steps[0])
        value = one.coords[seeds[0]].item() if seeds[0] in one.coords else i
        found.append(one.rename(value if isinstance(value, str) else f"{seeds[0]} {value}"))
    return found


def _renamed(curve: Curve, number: int) -> Curve:
    return replace(curve, name=f"curve {number}")


def _single(data: Any, origin: int) -> Curve:
    if isinstance(data, Curve):
        if origin in (0, data.origin):
            return data
        if data.source is not None and not data.origins:
            return data.source.curve(origin)
        if data.run is not None and data.origin == 0:
            return run_curve(data.run, origin)
        raise CurveError(
            f"{data.name}: a curve measured from update {data.origin} holds no distances from update {origin}; "
            "give the run, or a curve measured from there"
        )
    if isinstance(data, str | Path):
        return run_curve(Run(data), origin)
    if isinstance(data, Run):
        return run_curve(data, origin)
    if isinstance(data, pd.Series):
        return _from_labelled(data.index, data, data.attrs, origin)
    if hasattr(data, "data_vars"):
        names = ", ".join(map(str, data.data_vars))
        raise CurveError(f"got a Dataset of {names}; expected one variable of it, such as dataset['distance']")
    if hasattr(data, "coords") and hasattr(data, "dims"):  # an xarray.DataArray, without importing xarray
        if (t := _index(data)) is None:
            raise CurveError(
                f"got a DataArray over {tuple(data.dims)}; expected one dimension with its coordinate, t, and beside "
                f"it none but one of seeds, called {' or '.join(_SEEDS)}"
            )
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
        return curve_of(t, d, name=name, origin=measured_from)
    drops, warmup_end = (_updates(attrs.get(key, 0), f"{name}.attrs[{key!r}]") for key in ("lr_drops", "warmup_end"))
    return curve_of(
        t,
        d,
        name=name,
        origin=measured_from,
        drops=tuple((drops - measured_from).tolist()),
        warmup_end=max(float(warmup_end.max(initial=0)) - measured_from, 0.0),
        config=_config(attrs.get("config", {}), name),
        drops_known=True,
    )


def _updates(noted: Any, where: str) -> NDArray[np.float64]:
    """Read the updates that `attrs` note, one or several."""
    found, _ = numbers(noted, lambda got: CurveError(f"{where} {got}; expected numbers of updates"))
    if not np.isfinite(found).all():
        raise CurveError(f"{where} = {noted!r:.60}: expected numbers of updates, such as [4000], or [] for none")
    return np.atleast_1d(found)


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
