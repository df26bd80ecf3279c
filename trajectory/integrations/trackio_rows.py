"""Rows of a store in trackio's local database, whose dashboard then shows runs that other processes record."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite

import pandas as pd

from trajectory.errors import StoreError, first_line
from trajectory.run import Run

_BLOCK = 10_000  # rows that are on their way at once


def send_to_trackio(run: Run, project: str = "ultraslow") -> int:
    """Store in trackio what a run holds beyond the last step that trackio has of it.

    Stored are the distance, the other recorded quantities and what was logged, by their names. trackio knows the run
    by its recording's own identifier: a run that replaced another of that name is a run of its own there. A step that
    is recorded again after a resume is not stored twice. While a run is recorded, its newest step waits for the next,
    since scalars may still be logged at it.

    Args:
        run: an opened run.
        project: trackio's project, in the folder that `TRACKIO_DIR` names. Nothing is sent over a network.

    Returns:
        The number of steps stored.

    Raises:
        StoreError: trackio is not installed, or cannot store them.
    """
    try:
        from trackio.sqlite_storage import SQLiteStorage as storage
    except ImportError:
        raise StoreError("got no trackio; expected it installed: pip install 'ultraslow[trackio]'") from None
    identifier = run.id or str(run.path)
    with _refusals(project):
        last = storage.get_max_step_for_run(project, run_id=identifier)
    rows = _rows(run, -1 if last is None else last)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        steps = [step for step, _ in block]
        with _refusals(project):
            storage.bulk_log(
                project=project,
                run=run.name,
                run_id=identifier,
                metrics_list=[values for _, values in block],
                steps=steps,
                log_ids=[f"{identifier}-{step}" for step in steps],  # the database keeps one row of each
                config={**run.config, "seed": run.seed},
            )
    return len(rows)


@contextmanager
def _refusals(project: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, sqlite3.Error) as error:
        raise StoreError(f"trackio cannot store the project {project!r}: {first_line(error)}") from error


def _rows(run: Run, after: int) -> list[tuple[int, dict[str, float]]]:
    """Return the steps beyond `after` that are complete, each with the scalars that it has."""
    quantities = pd.DataFrame({name: run.total(name) for name in run.quantities})
    logged = run.metrics.drop(columns=run.quantities, errors="ignore")
    table = quantities.join(logged, how="outer")
    if run.status == "recording":
        table = table.iloc[:-1]
    table = table[table.index > after]
    columns = list(table.columns)
    return [
        (int(step), {name: value for name, value in zip(columns, values, strict=True) if isfinite(value)})
        for step, values in zip(table.index, table.to_numpy(float).tolist(), strict=True)
    ]
