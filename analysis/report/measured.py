"""What a command of the landscape printed with `--json`, as tables of a page."""

from collections.abc import Mapping
from typing import Any

from analysis.report.page import note, table, text
from analysis.report.run_rows import plain


def measured(document: Any) -> str:
    """Return a document's numbers as one table, and each list of rows as another.

    Results within a row become columns of their own, such as "train barrier" of a path. Lists of rows within a row,
    such as the path's points, are left to the file.

    Args:
        document: what was read from JSON.
    """
    if _is_rows(document):
        return table([_cells(row) for row in document])
    if not isinstance(document, dict):
        return note(str(document))
    nested = {name: value for name, value in document.items() if isinstance(value, dict) or _is_rows(value)}
    said = {name: plain(value) for name, value in document.items() if name not in nested}
    numbers = [{"": name, "value": value} for name, value in said.items() if value]
    parts = [f"<h3>{text(name)}</h3>{measured(value)}" for name, value in nested.items()]
    return "".join([table(numbers) if numbers else "", *parts])


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _cells(row: Mapping[str, Any], of: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= _cells(value, f"{of}{name} ")
        elif not _is_rows(value):
            found[of + name] = plain(value)
    return found
