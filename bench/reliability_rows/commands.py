"""The commands on damaged and hostile stores: an exit status of 0 or 1, a line on stderr, never a traceback."""

import io
import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from reliability_rows.damage import hurt, stores
from reliability_rows.hostile import lie

from ultraslow.cli import app

COMMANDS = (
    ("info",),
    ("info", "--json"),
    ("verify",),
    ("verify", "--repair"),
    ("fit",),
    ("plot", "distance"),
    ("match",),
)


def run(arguments: list[str]) -> tuple[object, str]:
    """Runs a command in this process and returns its exit status and what it wrote on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), mock.patch("sys.argv", ["ultraslow", *arguments]):
        try:
            app.main()
        except SystemExit as end:
            return end.code or 0, err.getvalue()
    return 0, err.getvalue()


def fuzz(n: int, seed: int) -> Iterator[str]:
    """Judges commands by how they end."""
    for k in range(n):
        chance = random.Random(f"command {seed} {k}")
        whole = chance.choice(list(stores().values()))
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            path = Path(shutil.copytree(whole, Path(folder) / "run.zarr"))
            what = chance.choice((hurt, lie))(path, chance)
            command = chance.choice(COMMANDS)
            arguments = [*command, str(path)]
            if command[0] == "plot":
                arguments += ["--out", os.path.join(folder, "figure.png")]
            if command[0] == "match":
                arguments.insert(1, str(whole))
            yield judge(what, command, arguments)


def judge(what: str, command: tuple[str, ...], arguments: list[str]) -> str:
    """Says how one command ended; what may not come begins with WRONG."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status, said = run(arguments)
    except Exception as error:
        return f"WRONG {' '.join(command)}, {what}: {type(error).__name__}: {str(error)[:100]}"
    if status not in (0, 1) or len(said.splitlines()) > 1:
        return f"WRONG {' '.join(command)}, {what}: status {status}, {said[:200]!r}"
    return "done" if status == 0 else "refused in one line, or problems listed, with status 1"
