"""A disk that fails: full, or broken, at a chosen call, once or from then on; and a process that is killed later.

What was taken has to stay readable, whatever failed beside it.
"""

import errno
import gc
import os
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from power_cuts import FIRST, NO_BUFFERS, SECOND, WEIGHTS, make_store

from trajectory import Run, StoreError, verify
from trajectory.schedule import Every
from trajectory.storage.location import open_backend
from trajectory.storage.opening import reopen_store

KINDS = ("once", "short", "late", "full")
"""A call that fails; a write that takes a half; a call that fails after it was done; and no room from then on."""


class Killed(BaseException):
    """Ends the process, which runs no further line of its own."""


class FailingDisk:
    """Notes the calls that change files below a folder, and lets one fail.

    Attributes:
        calls: each call so far, in words.

    Args:
        root: the folder.
        monkeypatch: pytest's.
        at: the number of the call that fails, from 1; 0 for none.
        kind: one of `KINDS`.
        killed: the number of the call that the process does not live to make; 0 for none.
    """

    def __init__(self, root: Path, monkeypatch: Any, at: int = 0, kind: str = "once", killed: int = 0):
        self.root, self.at, self.kind, self.killed = str(root), at, kind, killed
        self.calls: list[str] = []
        for call in ("open", "write", "fsync", "ftruncate", "replace", "mkdir"):
            monkeypatch.setattr(os, call, self._failing(call, getattr(os, call)))

    def _failing(self, name: str, call: Any) -> Any:
        def failing(where: Any, *arguments: Any, **options: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else os.fspath(where)
            reads = name == "open" and not arguments[0] & os.O_CREAT
            if reads or not path.startswith(self.root):
                return call(where, *arguments, **options)
            self.calls.append(f"{name} {os.path.relpath(path, self.root)}")
            n, grows = len(self.calls), name in ("open", "write", "mkdir")
            if self.killed and n >= self.killed:
                raise Killed
            if n != self.at and not (self.kind == "full" and 0 < self.at < n and grows):
                return call(where, *arguments, **options)
            if self.kind == "short" and name == "write":
                return call(where, bytes(arguments[0])[: len(arguments[0]) // 2])
            if self.kind == "late" and name in ("fsync", "replace"):
                call(where, *arguments, **options)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        return failing


def record(path: Path, taken: dict[int, np.ndarray]) -> None:
    """Record, close, resume and close a run as a recorder does, which goes on after each failure.

    Args:
        path: the store.
        taken: is filled with the rows that were taken without an error, by step.
    """
    store = _attempt(make_store, path)
    if store is None:
        return
    _attempt(store.append_origin, 0, WEIGHTS)
    _append(store, FIRST[:9], taken)
    _attempt(store.append_snapshot, 9, WEIGHTS, NO_BUFFERS)
    _append(store, FIRST[9:14], taken)
    _attempt(store.sync, durable=True)
    _attempt(store.close, "complete")
    store = _attempt(reopen_store, open_backend(path), Every(1))
    if store is None:
        return
    for step in [step for step in taken if step > 5]:
        del taken[step]
    if _attempt(store.cut, 5) is None:
        _attempt(store.release)
        return
    _append(store, SECOND[5:12], taken)
    _attempt(store.append_snapshot, 12, WEIGHTS, NO_BUFFERS)
    _append(store, SECOND[12:], taken)
    _attempt(store.close, "complete")


def _append(store: Any, table: np.ndarray, taken: dict[int, np.ndarray]) -> None:
    for row in table:
        _attempt(store.append_metrics, [(int(row[0]), {"loss": row[1]})])
        if _attempt(store.append_rows, row[None]):
            taken[int(row[0])] = row


def _attempt(call: Any, *arguments: Any, **options: Any) -> Any:
    """Return what a call returns, or True for nothing; None if the disk, or a store without its rows, refuses it."""
    try:
        result = call(*arguments, **options)
    except (OSError, StoreError) as error:
        error.__traceback__ = None  # lest it hold the store, and its lock
        return None
    return True if result is None else result


def check(path: Path, taken: dict[int, np.ndarray]) -> None:
    """Check that every row that was taken is there, no wrong one beside it, and that a repair leaves it so.

    Args:
        path: the store.
        taken: the rows by step.
    """
    try:
        run = Run(path)
    except StoreError:
        assert not taken, "a run is gone"
        return
    layers, losses = run.layers(), run.metrics.get("loss", [])
    assert set(taken) <= set(layers.index), "rows are gone"
    for step, row in layers.iterrows():
        tables = [taken[step]] if step in taken else [FIRST[step - 1], SECOND[step - 1]]
        assert any(np.array_equal(row, table[2:]) for table in tables), f"row {step} is another"
    assert np.isin(losses, [*FIRST[:, 1], *SECOND[:, 1]]).all()
    for k in range(len(run.snapshots)):
        np.testing.assert_array_equal(run._snapshots._row("snapshots/weights", k), WEIGHTS)
    assert not [
        problem for problem in verify(path) if not problem.repairable and "rows are missing" not in problem.message
    ]
    verify(path, repair=True)
    assert not [problem for problem in verify(path) if "rows are missing" not in problem.message]
    np.testing.assert_array_equal(Run(path).layers(), layers)


def fail(place: Path, monkeypatch: Any, at: int = 0, kind: str = "once", killed: int = 0) -> FailingDisk:
    """Record a run on a disk that fails, and check what it leaves.

    Args:
        place: an empty folder.
        monkeypatch: pytest's.
        at: the number of the call that fails, from 1; 0 for none.
        kind: one of `KINDS`.
        killed: the number of the call that the process does not live to make; 0 for none.

    Returns:
        The disk.
    """
    taken = dict[int, np.ndarray]()
    with monkeypatch.context() as patch:
        disk = FailingDisk(place, patch, at, kind, killed)
        with suppress(Killed):
            record(place / "run.zarr", taken)
    gc.collect()  # the lock of a writer that was killed
    check(place / "run.zarr", taken)
    return disk


def draw(calls: int, chance: Random) -> tuple[int, str, int]:
    """Draw a failure, and in half of the cases a kill soon after it.

    Args:
        calls: how many calls a run makes.
        chance: draws them.

    Returns:
        `at`, `kind` and `killed` as for `fail`.
    """
    at = chance.randrange(1, calls + 1)
    return at, chance.choice(KINDS), chance.choice([0, at + chance.randrange(1, 40)])
