"""Parse the JSON of a store, unless it is nested deeper than whatever shows or writes it can follow."""

import json
from typing import Any

DEEPEST = 100  # a recorder's own entries are nested 9 deep; Python gives up at some 300, depending on who calls


def parse(data: bytes) -> Any:
    """Parse JSON.

    Args:
        data: the text.

    Returns:
        The value.

    Raises:
        ValueError: it is no JSON, or is nested more than `DEEPEST` deep.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [child for item in level for child in _children(item)]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _children(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
