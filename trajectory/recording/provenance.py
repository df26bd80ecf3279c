"""Where a run came from: host, commit, versions."""

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def provenance() -> dict[str, Any]:
    """Host name, git commit of the working directory (None outside a repository), and packages' versions."""
    return {"host": platform.node(), "commit": _commit(), "versions": _versions()}


def _commit() -> str | None:
    """With `-dirty` behind it if tracked files differ from the commit."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    with suppress(OSError, subprocess.SubprocessError):  # no git, no repository, or a slow disk
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("ultraslow", "torch", "numpy", "zarr"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
