"""Curves in other people's files: tables, TensorBoard's event files, exports of W&B and trackio."""

import codecs
import json
import os
import re
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import CurveError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_TABLES = {*_SEPARATORS, ".parquet", ".db"}
_STEPS = ("step", "_step", "global_step", "t", "update", "updates", "iteration")  # columns that count updates
_RUNS = ("run_name", "run")  # columns that tell one run's rows from another's
_ASIDE = re.compile(r"wall.?time|timestamp|_timestamp|_runtime|created.?at|epoch|log_id|run_id|space_id|id", re.I)
_NO_DISTANCE = re.compile(r"loss|acc|err|lr|rate|norm|time", re.I)  # what else is logged beside a distance
_EVENTS = "tfevents"
_SHOWN = 8  # names in a message
_DECIMAL_COMMA = r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)$"


def is_log(path: str | Path) -> bool:
    """Return whether a path is read by `read_series`, by its name or what lies in it; else it may be a run's.

    Args:
        path: a file, a folder, or a URL.
    """
    path = Path(os.path.expanduser(path))
    if path.is_dir():
        return not (path / "zarr.json").exists() and any(path.rglob(f"*{_EVENTS}*"))
    return _kind(path) in _TABLES or _EVENTS in path.name or path.is_file() or str(path) == "-"


def read_series(path: str | Path, scalar: str | None = None) -> list[pd.Series]:
    """Read curves from a table, from TensorBoard's event files or from an export of W&B or trackio.

    Args:
        path: a file `.csv` (with commas, or with semicolons and then perhaps decimal commas), `.tsv` (also `.gz`),
            `.parquet` or trackio's `.db`; an event file of TensorBoard, or a folder of them, each of whose folders is
            a run.
        scalar: the distance's name there. By default the column `distance`; the only column; or all, as seeds, where
            no name is that of something else.

    Returns:
        One Series per run or seed, index `step`.

    Raises:
        CurveError: there is no such file, it cannot be read, it counts no updates, or does not say which column is
            the distance.
    """
    path = Path(os.path.expanduser(path))
    if str(path) == "-":
        raise CurveError("-: curves are not read from standard input; expected a file, such as curve.csv")
    if not path.exists():
        raise CurveError(f"{path}: no such file; expected a table of distances, TensorBoard's event files, or a run")
    if path.is_dir() or _EVENTS in path.name:
        return _from_tensorboard(path, scalar)
    if _kind(path) not in _TABLES:
        raise CurveError(
            f"{path}: a file of an unknown kind; expected a run's folder, a table (.csv, .tsv, .parquet) with columns"
            " step and distance, or TensorBoard's event files"
        )
    return from_table(_read_table(path), str(path), path.name.split(".")[0], scalar)


def from_table(frame: pd.DataFrame, source: str, name: str, scalar: str | None = None) -> list[pd.Series]:
    """Return the curves in a table that has a column of updates, as `read_series` does those in a file.

    Args:
        frame: the table.
        source: what errors call it.
        name: of the curve, if there is one.
        scalar: the distance's name there; by default as in `read_series`.

    Returns:
        One Series per run or seed, index `step`.

    Raises:
        CurveError: it counts no updates, a cell is no number, or it does not say which column is the distance.
    """
    frame = frame.set_axis(list(map(str, frame.columns)), axis=1).reset_index(drop=True)
    steps = _named(frame, _STEPS)
    if steps is None:
        raise CurveError(
            f"{source}: holds {_list(list(frame.columns))}{_what_lacks(frame)}; expected a column step (the number of"
            " updates) and one of distances, with their names above them and commas or semicolons between"
        )
    runs = _named(frame, _RUNS)
    columns = _distances(source, [column for column in frame.columns if column not in (steps, runs)], scalar)
    frame[steps] = _numbers(source, frame[steps])
    parts = [("", frame)] if runs is None else [(str(run), part) for run, part in frame.groupby(runs, sort=False)]
    several = len(parts) * len(columns) > 1
    found = []
    for run, part in parts:
        for column in columns:
            numbers = _numbers(source, part[column]).set_axis(part[steps])
            called = run or (_run_of(column) if several else name)
            series = numbers.rename(called).rename_axis("step").dropna()
            if len(series):
                found.append(series)
    if not found:
        raise CurveError(f"{source}: the column {columns[0]!r} is empty; expected distances")
    return found


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _read_table(path: Path) -> pd.DataFrame:
    kind = _kind(path)
    try:
        if kind == ".db":
            return _read_trackio(path)
        if kind == ".parquet":
            return pd.read_parquet(path)
        return _read_text(path, _SEPARATORS[kind])
    except ImportError:
        raise CurveError(f"{path}: reading it needs pyarrow: pip install pyarrow, or export it as .csv") from None
    except UnicodeDecodeError:
        raise CurveError(
            f"{path}: is no text in UTF-8; expected a table saved as such (a spreadsheet's 'CSV UTF-8')"
        ) from None
    except (OSError, ValueError, EOFError, zlib.error, sqlite3.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CurveError(
            f"{path}: cannot be read ({reason}); expected a table with columns step and distance"
        ) from None


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """Read a table; where semicolons separate its columns, a comma may be the decimal sign.

    It is text in UTF-8, or in UTF-16 with its mark, as a spreadsheet writes "Unicode text".
    """
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    frame = pd.read_csv(path, sep=separator, encoding=encoding)
    if len(frame.columns) == 1 and ";" in frame.columns[0]:
        return pd.read_csv(path, sep=";", encoding=encoding).replace(_DECIMAL_COMMA, r"\1.\2", regex=True)
    return frame


def _what_lacks(frame: pd.DataFrame) -> str:
    """Say that the first line holds no names, if it holds numbers."""
    names = pd.to_numeric(pd.Series(list(frame.columns)), errors="coerce")
    return " in its first line" if names.notna().all() else ""


def _numbers(source: str, column: pd.Series) -> pd.Series:
    """Return a column as numbers; raise CurveError that names the first cell which is none."""
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        raise CurveError(
            f"{source}: {column.name} is {str(wrong.iloc[0])[:40]!r} in row {wrong.index[0] + 1}; expected a number,"
            " or the column of distances named by scalar=... (--scalar)"
        )
    return numbers


def _read_trackio(path: Path) -> pd.DataFrame:
    """Read a project's database: a row for each `log`, its metrics as JSON."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    finally:
        connection.close()
    logged = [{"run_name": run, "step": step, **json.loads(metrics)} for run, step, metrics in rows]
    frame = pd.DataFrame(logged, columns=None if logged else ["run_name", "step"])
    return frame.groupby(["run_name", "step"], sort=False, as_index=False).last()


def _named(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    """Return the column of one of these names, such as step, or else trajectory/step, the axis of W&B's exports."""
    lower = {column.lower(): column for column in frame.columns}
    last = {name.rpartition("/")[2]: column for name, column in lower.items() if " - " not in name}
    return next((found[name] for found in (lower, last) for name in names if name in found), None)


def _distances(source: str, columns: Sequence[str], scalar: str | None) -> list[str]:
    """Choose the columns of distances: W&B names them `<run> - <scalar>`, beside their extremes."""
    ours = [name for name in columns if not name.endswith(("__MIN", "__MAX")) and not _ASIDE.fullmatch(name)]
    wanted = "distance" if scalar is None else scalar
    chosen = [name for name in ours if name == wanted or name.endswith(f" - {wanted}")]
    if not chosen and scalar is None:
        chosen = [name for name in ours if name.endswith("/distance")]
    for name in chosen:
        if columns.count(name) > 1 or f"{name}.1" in columns:  # pandas numbers the columns that a file calls the same
            raise CurveError(f"{source}: two columns are called {name}; expected a name of its own for each seed")
    if chosen:
        return chosen
    if scalar is not None:
        raise CurveError(f"{source}: no column {scalar!r}; it holds {_list(ours)}")
    if not ours or (len(ours) > 1 and any(map(_NO_DISTANCE.search, ours))):
        raise CurveError(
            f"{source}: holds {_list(ours)}, none of them called distance; name the one with the distances by"
            " scalar=... (--scalar)"
        )
    return ours


def _run_of(column: str) -> str:
    return column.rpartition(" - ")[0] or column


def _list(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:_SHOWN])) or "no columns"
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _from_tensorboard(path: Path, scalar: str | None) -> list[pd.Series]:
    files = sorted(path.rglob(f"*{_EVENTS}*")) if path.is_dir() else [path]
    folders = sorted({file.parent for file in files}) if path.is_dir() else [path]
    if not files:
        raise CurveError(f"{path}: a folder without runs, tables or event files; expected one of those")
    read = {folder: _read_events(folder, scalar) for folder in folders}
    found = [series for series in read.values() if isinstance(series, pd.Series)]
    if not found:
        tags = sorted({tag for names in read.values() if isinstance(names, list) for tag in names})
        if not tags:
            raise CurveError(f"{path}: its event files hold no scalars; expected one of distances")
        wanted = "none of them called distance" if scalar is None else f"not {scalar!r}"
        raise CurveError(f"{path}: its event files hold {_list(tags)}, {wanted}; name one by scalar=... (--scalar)")
    return found


def _read_events(folder: Path, scalar: str | None) -> pd.Series | list[str]:
    """Read a run's scalar, or the names that there are where none is the one.

    What a restart wrote again counts as it was written last, as in TensorBoard.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError:
        raise CurveError(f"{folder}: event files need tensorboard: pip install tensorboard") from None
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    tags: Mapping[str, Any] = events.Tags()
    tag = _choose(scalar, [*tags["scalars"], *tags["tensors"]])
    if tag is None:
        return [*tags["scalars"], *tags["tensors"]]
    if tag in tags["scalars"]:
        values = {event.step: event.value for event in events.Scalars(tag)}
    else:
        values = {event.step: float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)}
    return pd.Series(values, name=folder.name.split(".")[0]).rename_axis("step").sort_index()


def _choose(scalar: str | None, tags: Sequence[str]) -> str | None:
    """Return the tag of that name; by default `distance`, the one that ends in it, or the only one."""
    if scalar is not None:
        return scalar if scalar in tags else None
    named = [tag for tag in tags if tag == "distance"] or [tag for tag in tags if tag.endswith("/distance")] or tags
    return named[0] if len(named) == 1 else None
