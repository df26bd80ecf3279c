"""The host, commit and package versions that a run came from."""

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def provenance() -> dict[str, Any]:
    """Find out where this process runs.

    Returns:
        "host", the machine's name; "commit", the git commit of the working directory (None outside a repository),
        with `-dirty` behind it if tracked files differ; "versions" of Python and of packages.
    """
    return {"host": platform.node(), "commit": _commit(), "versions": dict(_versions())}


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    with suppress(OSError, subprocess.SubprocessError):  # no git, no repository, or a slow disk
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return None


@cache  # parsed once for all recorders of a process
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("ultraslow", "torch", "numpy", "zarr"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
