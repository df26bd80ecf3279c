"""The `zarr.json` of an array or group by itself, which the root repeats: what it says is compared, and restored."""

import json
from collections.abc import Mapping
from typing import Any

from trajectory.errors import StoreError, first_line
from trajectory.storage.backend import Backend
from trajectory.storage.plain_json import parse

NODE = "zarr.json"  # the file's name, which is the root's, too


def fault(error: Exception) -> str:
    """Say what is wrong with a file of a store.

    Args:
        error: came when it was read.

    Returns:
        The words that follow its name.
    """
    return f"{'cannot be read' if isinstance(error, OSError) else 'is damaged'} ({first_line(error)})"


def read_node(backend: Backend, node: str) -> dict[str, Any]:
    """Read the metadata of an array or group as it stands there, committed or not.

    Args:
        backend: where the store lies.
        node: its path in the store.

    Returns:
        The content of its own `zarr.json`.

    Raises:
        StoreError: it is damaged or missing, or cannot be read.
    """
    try:
        return dict(parse(backend.read(f"{node}/{NODE}")))
    except (ValueError, TypeError, OSError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else fault(error)
        raise StoreError(
            f"{backend.path}: {node}/{NODE} {what}; `ultraslow verify --repair` writes it anew"
        ) from error


def write_node(backend: Backend, node: str, content: Mapping[str, Any]) -> None:
    """Replace the metadata of an array or group.

    Args:
        backend: where the store lies.
        node: its path in the store.
        content: what its own `zarr.json` is to hold.
    """
    backend.replace(f"{node}/{NODE}", json.dumps(content, allow_nan=False).encode())
