"""Results for a program and for a reader: JSON, and tables as text and as HTML.

A result describes itself once, as a sequence of tables and sentences; `text` and `html` render them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def jsonable(value: object) -> Any:
    """Convert a value to what JSON holds: JSON knows neither NaN nor infinity, so they become None.

    Args:
        value: numbers, strings, paths, arrays, and mappings, lists and tuples of them, nested as deep as you like.

    Returns:
        The same in plain Python types; mappings have strings for keys, arrays and tuples are lists.
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(part) for part in value]
    if isinstance(value, str | Path):
        return str(value)  # a StrEnum too
    return None if isinstance(value, float) and not math.isfinite(value) else value


def records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Convert a table to a list of its rows, fit for JSON.

    Args:
        frame: the table; its index is left out (`frame.reset_index()` makes it a column).

    Returns:
        One dictionary per row, by column; None for NaN and infinity.
    """
    rows: list[dict[str, Any]] = jsonable(frame.to_dict("records"))
    return rows


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        rows: the cells, all rows of one length.
        head: the columns' names. A table without them holds a name and its value per row, and is aligned to
            the left; one with them holds numbers, and is aligned to the right.
    """

    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()

    def text(self) -> str:
        """Return the table in aligned columns, one row per line."""
        rows = [self.head, *self.rows] if self.head else self.rows
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        align, between = (str.rjust, " ") if self.head else (str.ljust, "  ")
        return "\n".join(between.join(map(align, row, widths)).rstrip() for row in rows)

    def html(self) -> str:
        """Return the table as an HTML element, its cells escaped."""
        rows = [_html_row(self.head, "th")] if self.head else []
        return f"<table>{''.join([*rows, *(_html_row(row, 'td') for row in self.rows)])}</table>"


Part: TypeAlias = Table | str


def text(parts: Iterable[Part]) -> str:
    """Render tables and sentences for a terminal.

    Args:
        parts: what to show, in order.

    Returns:
        Several lines.
    """
    return "\n".join(part.text() if isinstance(part, Table) else part for part in parts)


def html(parts: Iterable[Part]) -> str:
    """Render tables and sentences for a notebook.

    Args:
        parts: what to show, in order.

    Returns:
        One HTML element; all text is escaped.
    """
    inside = (part.html() if isinstance(part, Table) else f"<p>{escape(part)}</p>" for part in parts)
    return f"<div>{''.join(inside)}</div>"


class Tabulated:
    """Mixin for results that are shown as their table: by `repr` in a terminal, as HTML in a notebook.

    A dataclass needs `repr=False`, or it makes a `repr` of its own.
    """

    def _summary(self) -> Sequence[Part]:
        """Return the tables and sentences that describe the result."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return text(self._summary())

    def _repr_html_(self) -> str:
        return html(self._summary())


def _html_row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
