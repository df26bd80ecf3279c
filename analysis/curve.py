"""Distance curves: from whatever a user holds to log bins. The only module here that reads a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from analysis.errors import CurveError
from analysis.fitting.laws import Array
from trajectory.run import Run


@dataclass(frozen=True, eq=False)
class Curve:
    """A distance curve: d (same length as t) after t weight updates.

    drops: the t at which the learning rate dropped; steady: the t at which its warm-up ended, 0 without one;
    run: where the curve came from, if from a run; origin: t is counted from this update and d is
    ‖w_t − w_origin‖.
    """

    t: Array
    d: Array
    name: str = "curve"
    drops: tuple[float, ...] = ()
    steady: float = 0.0
    run: Run | None = field(default=None, repr=False)
    origin: int = 0

    def __post_init__(self) -> None:
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


Curves: TypeAlias = Curve | Run | str | Path | tuple[Any, Any] | pd.Series | Sequence[Any] | Any


def curves(data: Curves, *, origin: int = 0) -> list[Curve]:
    """Read curves from a Run, a run's path, (t, d), a pandas Series, an xarray DataArray, or a list of those.

    origin: the update t_w that d is measured from, ‖w_{t_w + t} − w_{t_w}‖; **t counts from t_w**, in what is
    returned and in every window, start and warning made of it. A walk's laws speak of the time since it was at
    distance zero, and from t_w that is t; counted from w_0 the curve would start with a jump at log t_w. A walk that
    ages depends on t_w too: compare several origins. To count from w_0 all the same, give
    `run.displacement(t_w)`, which holds those t, as a Series of its own.

    A run's displacement is what was recorded from t_w, or is read from its snapshots; of arrays, d is taken to be
    measured from t_w already, and t to count from w_0. Raises CurveError, also for a `Curve` measured from elsewhere.
    """
    if isinstance(data, tuple) and len(data) == 2 and not any(_stands_alone(part) for part in data):
        return [_from_arrays(*data, name="curve", origin=origin)]
    if isinstance(data, list | tuple):
        if not data:
            raise CurveError("got an empty list of curves; expected at least one run or (t, d)")
        found = [curve for part in data for curve in curves(part, origin=origin)]
        return [_renamed(curve, i) if curve.name == "curve" else curve for i, curve in enumerate(found, 1)]
    return [_single(data, origin)]


def _stands_alone(part: Any) -> bool:
    return isinstance(part, Curve | Run | str | Path | tuple)


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
        return _from_arrays(data.index, data, name=str(data.name or "curve"), origin=origin)
    if hasattr(data, "coords") and hasattr(data, "dims"):  # an xarray.DataArray, without importing xarray
        if len(data.dims) != 1 or data.dims[0] not in data.coords:
            raise CurveError(f"got a DataArray over {tuple(data.dims)}; expected one dimension with its coordinate")
        return _from_arrays(data.coords[data.dims[0]], data, name=str(data.name or "curve"), origin=origin)
    raise CurveError(
        f"got {type(data).__name__}; expected a Run, a run's path, (t, d) as a tuple, a pandas Series, "
        "an xarray DataArray, or a list of those"
    )


def _from_arrays(t: Any, d: Any, *, name: str, origin: int, **known: Any) -> Curve:
    try:
        t, d = np.asarray(t, float), np.asarray(d, float)
    except (TypeError, ValueError):
        raise CurveError(
            f"{name}: t and d must be vectors of numbers; got {type(t).__name__}, {type(d).__name__}"
        ) from None
    if t.ndim == 1 and t.shape == d.shape:
        after = ~(t <= origin)  # the origin itself has distance 0 and no logarithm; NaN stays, to be refused
        t, d = t[after] - origin, d[after]
    return Curve(t, d, name, origin=origin, **known)


def _from_run(run: Run, origin: int) -> Curve:
    drops = tuple(float(event.step) - origin for event in run.drops)
    steady = _warm_up_end(run, run.drops[0].step if drops else math.inf) - origin
    recorded = origin in run.origins
    distance = run.displacement(origin) if recorded else run.layer_displacement(origin).pow(2).sum(axis=1).pow(0.5)
    return _from_arrays(
        distance.index, distance, name=run.name, origin=origin, drops=drops, steady=max(steady, 0.0), run=run
    )


def runs_in(places: Run | str | Path | Sequence[Run | str | Path]) -> list[Run]:
    """Runs from runs, paths of their stores, or folders of stores (`*.zarr`, by name).

    Raises CurveError for an empty folder, and StoreError for a path that is no run.
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


def _warm_up_end(run: Run, drop: float) -> float:
    """The first update made at (99 % of) the highest learning rate before the first drop."""
    if "learning_rate" not in run.metrics:
        return 0.0
    rate = run.metrics["learning_rate"].dropna()
    rate = rate[rate.index <= drop]
    return float(rate.index[np.argmax(rate >= 0.99 * rate.max())]) if len(rate) else 0.0


def layer_curves(curve: Curve) -> dict[str, Curve]:
    """Each parameter's distance, by name, with the learning-rate drops of the run it comes from."""
    if curve.run is None:
        raise CurveError(f"{curve.name}: distances by layer need a run; got arrays")
    frame = curve.run.layer_displacement(curve.origin)
    frame = frame[frame.index > curve.origin]
    t = np.asarray(frame.index, float) - curve.origin
    return {
        str(name): replace(curve, t=t, d=frame[name].to_numpy(float), name=f"{curve.name} {name}")
        for name in frame.columns
    }
