"""What commands print: tables, JSON, progress, and where to find an interrupted run.

rich is imported where something is drawn by it: not by `--help` and `--json`.
"""

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table
    from rich.text import Text


def print_json(value: Any) -> None:
    """Print a value as one JSON document.

    Args:
        value: what JSON holds, without NaN and infinity.
    """
    print(json.dumps(value, indent=1, allow_nan=False))


def say(*lines: object, file: TextIO | None = None) -> None:
    """Print lines that hold names of a user's or of a store's, without what a terminal would obey in them.

    Args:
        *lines: what is printed, each by its `str`.
        file: standard output unless another is named.
    """
    from trajectory.errors import printable

    print(*(printable(str(line)) for line in lines), sep="\n", file=file)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print warnings to stderr as lines of their own, without the place in the code that they come from.

    Yields:
        Nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: say(f"! {message}", file=sys.stderr)
        yield


def print_values(values: dict[str, Any]) -> None:
    """Print a table of names and values.

    Args:
        values: the values by name: numbers, text, and lists and mappings of them.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for key, value in values.items():
        table.add_row(_cell(key), _cell(_words(value)))
    Console(highlight=False).print(table)


def print_table(rows: list[dict[str, str]]) -> None:
    """Print a table whose columns are the rows' keys.

    Args:
        rows: the cells by column, one mapping per row.
    """
    from rich.console import Console

    Console(highlight=False).print(aligned(rows))


def aligned(rows: list[dict[str, str]]) -> "Table":
    """Return a table whose columns are the rows' keys.

    Args:
        rows: the cells by column, one mapping per row.
    """
    from rich.table import Column, Table

    table = Table(*(Column(_cell(name)) for name in rows[0]), box=None, padding=(0, 1, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _cell(text: str) -> "Text":
    """Return a cell in which neither rich nor a terminal finds anything but text."""
    from rich.text import Text

    from trajectory.errors import printable

    return Text(printable(text))


def _words(value: Any) -> str:
    """Return a value as a person reads it; what is empty or nested deeper is left to --json."""
    if isinstance(value, dict):
        shown = {
            name: item for name, item in value.items() if item not in (None, "", []) and not isinstance(item, dict)
        }
        value = [f"{name} {_words(item)}" for name, item in shown.items()]
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@contextmanager
def interruptible(path: Path | str, *, resumable: bool = False) -> Iterator[None]:
    """Say where the runs are when Ctrl-C ends the training, and how to continue; the exit status is then 130.

    Args:
        path: the run's store, or the folder of several.
        resumable: whether the option --resume continues the run.

    Yields:
        None, for the training.
    """
    try:
        yield
    except KeyboardInterrupt:
        where = f"what was recorded is in {path} and can be read" + ("; --resume continues it" if resumable else "")
        if "://" not in str(path) and not Path(os.path.expanduser(path)).exists():
            where = "nothing was recorded yet"
        print(f"ultraslow: interrupted; {where}", file=sys.stderr)
        sys.exit(130)


class ProgressBars:
    """A bar for each name, advanced by a call.

    Args:
        progress: what draws them.
    """

    def __init__(self, progress: "Progress"):
        self._progress, self._tasks = progress, dict[str, Any]()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Advance a bar.

        Args:
            name: of the bar, which is made if there is none.
            done: the updates done.
            total: the updates to do.
        """
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, values="")
        self._progress.update(self._tasks[name], completed=done, total=total)

    def show(self, name: str, values: str) -> None:
        """Show values behind a bar.

        Args:
            name: of the bar; where there is none, nothing is shown.
            values: the values as text.
        """
        if name in self._tasks:
            self._progress.update(self._tasks[name], values=values)


@contextmanager
def progress_bar() -> Iterator[ProgressBars]:
    """Show progress bars on stderr if that is a terminal.

    Yields:
        What is called with a name, the updates done and their total, and so advances the bar of that name.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[values]}", markup=False),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield ProgressBars(progress)
