"""The head of a result file: the command, the machine and the versions that made it."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy
import scipy


def heading(*packages: str) -> None:
    """Prints it. packages: names of further distributions whose version matters."""
    script = f"{Path(sys.argv[0]).parent.name}/{Path(sys.argv[0]).name}"
    others = "".join(f", {name} {version(name)}" for name in packages)
    print("$ python", script, *sys.argv[1:])
    print(f"{os.cpu_count()} cores, {_processor()}; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}")
    print(f"Python {platform.python_version()}, numpy {numpy.__version__}, scipy {scipy.__version__}{others}\n")


def _processor() -> str:
    """The processor's model where Linux reports it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
