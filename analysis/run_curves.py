"""Curves of recorded runs, of the whole network and by layer, and the runs that a folder holds."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.curve import Curve, curve_of
from analysis.errors import CurveError
from trajectory.run import Run


def run_curve(run: Run, origin: int) -> Curve:
    """Read a run's distance from an origin, as recorded or from its snapshots.

    Args:
        run: the run.
        origin: the update to measure from.

    Returns:
        The curve, with what the run tells of its learning rate and settings.

    Raises:
        StoreError: where the run holds no distances from that origin.
    """
    recorded = origin in run.origins
    distance = run.displacement(origin) if recorded else run.layer_displacement(origin).pow(2).sum(axis=1).pow(0.5)
    return curve_of(
        distance.index,
        distance,
        name=run.name,
        origin=origin,
        drops=tuple(float(step) - origin for step in run.phase_ends),
        warmup_end=max(float(run.warmup_end) - origin, 0.0),
        run=run,
        config=run.settings,
        drops_known=True,
    )


def runs_in(places: Run | str | Path | Sequence[Run | str | Path]) -> list[Run]:
    """Open runs, also all those in a folder.

    Args:
        places: runs, paths of their stores, folders of stores (`*.zarr`), or a list of those.

    Returns:
        The runs, in order; a folder's by name.

    Raises:
        CurveError: for a folder without a run, and where no runs are given.
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
    listed = (
        [places] if isinstance(places, Run | str | Path) else list(places) if isinstance(places, Iterable) else []
    )
    other = [type(one).__name__ for one in listed if not isinstance(one, Run | str | Path)]
    if not listed or other:
        got = other[0] if other else f"no run, but {type(places).__name__}"
        raise CurveError(
            f"got {got}; expected recorded runs: a Run, a run's path, a folder of runs, or a list of those"
        )
    found: list[Run] = []
    for one in listed:
        stores = sorted(_path(one).glob("*.zarr")) if isinstance(one, str | Path) and _is_folder(one) else [one]
        if not stores:
            raise CurveError(f"{one}: no run is in that folder; expected a run's store, or a folder of *.zarr")
        found += [store if isinstance(store, Run) else Run(store) for store in stores]
    return found


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return what to call runs: their names, after as many of their folders as tell them apart.

    Args:
        runs: the runs.

    Examples:
        >>> import torch
        >>> from analysis.run_curves import names_of
        >>> from trajectory import Recorder, Run
        >>> model = torch.nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> for place in ("small/sb.zarr", "large/sb.zarr"):
        ...     Recorder(place, model, optimizer).close()
        >>> names_of([Run("small/sb.zarr"), Run("large/sb.zarr")])
        ['small/sb', 'large/sb']
    """
    paths, names = [str(run.path).rstrip("/") for run in runs], [run.name for run in runs]
    folders = [path.split("/")[:-1] for path in paths]
    for depth in range(1, 1 + max(map(len, folders), default=0)):
        if len(set(names)) == len(set(paths)):
            break
        names = ["/".join([*above[-depth:], run.name]) for above, run in zip(folders, runs, strict=True)]
    return names


def _is_folder(name: str | Path) -> bool:
    path = _path(name)
    return path.is_dir() and not (path / "zarr.json").exists() and path.suffix != ".zarr"


def _path(name: str | Path) -> Path:
    return Path(os.path.expanduser(name))


def layer_curves(curve: Curve, origin: int) -> dict[str, Curve]:
    """Read each parameter's distance as a curve, or whatever else the curve's source measures.

    Args:
        curve: of a run.
        origin: the update that it is measured from.

    Returns:
        By parameter, curves with the learning-rate drops and the warm-up of the whole.

    Raises:
        CurveError: for a curve made of arrays.
        StoreError: where the run holds no distances by layer from that origin.
    """
    if curve.source is not None:
        return curve.source.layers(origin)
    if curve.run is None:
        raise CurveError(f"{curve.name}: distances by layer need a run; got arrays")
    frame = curve.run.layer_displacement(origin)
    frame = frame[frame.index > origin]
    t = np.asarray(frame.index, float) - origin
    return {
        str(name): replace(curve, t=t, d=frame[name].to_numpy(float), name=f"{curve.name} {name}")
        for name in frame.columns
    }
