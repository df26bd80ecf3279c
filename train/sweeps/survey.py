"""What a sweep would do: which of its runs are there already, and how many updates each makes."""

import os
from pathlib import Path
from typing import Literal

from train.configs.config import TrainConfig
from train.configs.toml import as_config
from train.data.readers import IMAGE_FOLDERS, TRAIN_SIZES
from train.errors import ConfigError, DataError
from train.sweeps.spec import PlannedRun, Sweep
from trajectory import Run, StoreError
from trajectory.storage.location import open_backend

StoredState = Literal["missing", "interrupted", "done", "other"]


def survey(sweep: Sweep, *, overwrite: bool = False) -> dict[PlannedRun, StoredState]:
    """Find what there is of each run of a sweep.

    Args:
        sweep: the sweep.
        overwrite: accept runs of another configuration; they are to be replaced.

    Returns:
        "missing", "interrupted", "done", or "other" for a run that is to be replaced, since it has another
        configuration, or needs such a run.

    Raises:
        ConfigError: if a store holds another configuration and `overwrite` is False, or if a reference is missing.
    """
    paths = {run.path for run in sweep.runs}
    found: dict[PlannedRun, StoredState] = {}
    for run in sweep.runs:
        for path in run.needs:
            if path not in paths and open_backend(path).is_free():
                how = "is matched to" if path in run.config.match else "starts from"
                raise ConfigError(f"{run.config.label} {how} {path}: no such run; expected a run's store")
        stored = _stored(run.path)
        difference = _difference(stored, run.config) if stored else ""
        if difference and not overwrite:
            raise ConfigError(f"{run.path}: {difference}; choose another `out`, or replace the run (--overwrite)")
        if stored is None:
            found[run] = "missing"
        elif difference or any(found[reference] == "other" for reference in sweep.references(run)):
            found[run] = "other"
        else:
            found[run] = "done" if stored.status == "complete" else "interrupted"
    return found


def updates_of(sweep: Sweep) -> dict[PlannedRun, int | None]:
    """Count each run's updates; under a match, the most that it makes. No data set is read or downloaded.

    Args:
        sweep: the sweep.

    Returns:
        Each run's updates; None where the training set is a folder of images that is not there.

    Raises:
        ConfigError: for a batch beyond the training set.
    """
    sizes = {name: _train_size(name, sweep.data_root) for name in {run.config.dataset for run in sweep.runs}}
    found: dict[PlannedRun, int | None] = {}
    for run in sweep.runs:
        size = sizes[run.config.dataset]
        found[run] = None if size is None else run.config.schedule(size).updates
    return found


def _train_size(dataset: str, data_root: str) -> int | None:
    if dataset not in IMAGE_FOLDERS:
        return TRAIN_SIZES[dataset]
    from train.data.image_folder import load_image_folder  # torch and Pillow

    if not (Path(os.path.expanduser(data_root)) / dataset).is_dir():
        return None
    try:
        return load_image_folder(dataset, data_root).train_size
    except DataError:
        return None


def _stored(path: str) -> Run | None:
    """The run there; None if there is none that can be read, as when a process was killed while it made the store."""
    try:
        return Run(path)
    except StoreError:
        return None


def _difference(stored: Run, here: TrainConfig) -> str:
    """How the stored run's configuration differs, in words; empty if it does not."""
    try:
        there = as_config(stored.config.get("settings", {}), stored.path)
    except ConfigError:
        return "it holds a run that `ultraslow train` did not make"
    for name, value in vars(here).items():
        if getattr(there, name) != value:
            return f"it holds a run of another configuration, {name} = {getattr(there, name)!r} for {value!r}"
    return ""
