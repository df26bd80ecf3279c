"""What commands print: tables, JSON, progress, and where an interrupted run is."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from pandas import DataFrame


def print_json(value: Any) -> None:
    """One document."""
    print(json.dumps(value, indent=1, allow_nan=False))


def print_facts(facts: dict[str, Any]) -> None:
    """A table of names and values."""
    table = Table(show_header=False)
    for key, value in facts.items():
        table.add_row(key, _words(value))
    Console(highlight=False).print(table)


def print_table(rows: list[dict[str, str]]) -> None:
    """A table whose columns are the rows' keys."""
    table = Table(*rows[0], box=None, padding=(0, 1, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*row.values())
    Console(highlight=False).print(table)


def _words(value: Any) -> str:
    """A fact as a person reads it; what is empty or nested deeper is left to --json."""
    if isinstance(value, dict):
        shown = {
            name: item for name, item in value.items() if item not in (None, "", []) and not isinstance(item, dict)
        }
        value = [f"{name} {_words(item)}" for name, item in shown.items()]
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def records(frame: "DataFrame") -> list[dict[str, Any]]:
    """A table's rows, fit for JSON: None for NaN and infinity."""
    finite = frame.replace([inf, -inf], nan).astype(object)
    return finite.where(finite.notna(), None).to_dict("records")


@contextmanager
def kept(path: Path | str, *, resumable: bool = False) -> Iterator[None]:
    """Says where the runs are when Ctrl-C ends the training, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        how = "; --resume goes on with it" if resumable else ""
        print(f"ultraslow: interrupted; what was recorded is in {path} and can be read{how}", file=sys.stderr)
        sys.exit(130)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr when it is a terminal; yields progress(name, done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield advance
