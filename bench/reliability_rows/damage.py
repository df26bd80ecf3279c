"""Faults of one file in a store, and what reading, `verify` and `--repair` make of them."""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trajectory import Recorder, Run, StoreError, verify

READS: dict[str, Callable[[Run], object]] = {
    "distance": lambda run: run.distance,
    "metrics": lambda run: run.metrics,
    "layers": lambda run: run.layers(),
    "displacement": lambda run: run.layers(origin=50),
    "norm": lambda run: run.layers("norm"),
    "sketches": lambda run: run.pairwise_distance(),
    "weights": lambda run: np.concatenate([run.state_dict(step)["0.weight"].ravel() for step in run.snapshots]),
    "buffers": lambda run: np.concatenate([run.state_dict(step)["1.running_mean"] for step in run.snapshots]),
    "events": lambda run: np.array([event.step for event in run.events]),
    "metadata": lambda run: np.array([run.status, run.host, run.seed, run.config, run.origin_norm], dtype=object),
}
FAULTS = ("flip", "cut", "empty", "delete", "zeros", "garbage", "swap", "copy", "twice")


def record(path: Path, updates: int) -> Recorder:
    """Records a small run of every kind of quantity, and leaves it open."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = {"quantities": ["distance", "norm"], "origins": [50], "snapshots": 1000, "sketch": 4, "seed": 3}
    recorder = Recorder(path, model, optimizer, config={"lr": 0.1}, **options)
    generator = torch.Generator().manual_seed(0)
    for t in range(1, updates + 1):
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
        recorder.log(loss=float(t), accuracy=-float(t))
        if t % 700 == 0:
            recorder.event("mark", at=t)
    return recorder


@cache
def stores() -> dict[str, Path]:
    """Returns a closed store, and one as a kill leaves it, in a folder that lasts as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    with record(folder / "closed.zarr", 2500):
        pass
    recorder = record(folder / "open.zarr", 2500)
    recorder.flush()
    shutil.copytree(folder / "open.zarr", folder / "killed.zarr")
    recorder.close()
    return {name: folder / f"{name}.zarr" for name in ("closed", "killed")}


def contents(path: Path, *, skip_damaged: bool = False) -> dict[str, object]:
    """Returns what each kind of read gives, or the StoreError that came instead."""
    found: dict[str, object] = {}
    for name, act in READS.items():
        try:
            found[name] = act(Run(path, skip_damaged=skip_damaged))
        except StoreError as error:
            found[name] = error
    return found


@cache
def whole(name: str) -> dict[str, object]:
    """Returns what is read of an undamaged store."""
    return contents(stores()[name])


def hurt(path: Path, chance: random.Random) -> str:
    """Puts one fault into one file, and says which."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != "lock")
    kinds = {
        "root": [path / "zarr.json"],
        "nodes": [file for file in files if file.name == "zarr.json" and file.parent != path],
        "journal": [file for file in files if file.name.startswith("journal")],
        "chunks": [file for file in files if "/c/" in file.as_posix() or "/c." in file.as_posix()],
    }
    file = chance.choice(kinds[chance.choice([kind for kind in kinds if kinds[kind]])])
    other = chance.choice([one for one in files if one != file])
    fault, data = chance.choice(FAULTS), bytearray(file.read_bytes())
    at = chance.randrange(max(len(data), 1))
    if fault == "flip":
        data[at] ^= 1 << chance.randrange(8)
    elif fault == "cut":
        del data[at:]
    elif fault == "empty":
        data.clear()
    elif fault == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif fault == "garbage":
        data[at : at + 64] = chance.randbytes(len(data[at : at + 64]))
    elif fault == "swap":
        mine, theirs = bytes(data), other.read_bytes()
        other.write_bytes(mine)
        data = bytearray(theirs)
    elif fault == "twice":
        data *= 2
    elif fault == "copy":
        data = bytearray(other.read_bytes())
    file.unlink() if fault == "delete" else file.write_bytes(data)
    beside = f" with {other.relative_to(path)}" if fault in ("swap", "copy", "twice") else ""
    return f"{fault} {file.relative_to(path)}{beside} at {at}"


def cases(n: int, seed: int) -> Iterator[tuple[str, Path, str]]:
    """Yields damaged copies of the stores: which one, where, and what was done."""
    for k in range(n):
        chance = random.Random(f"{seed} {k}")
        name = chance.choice(list(stores()))
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            path = Path(shutil.copytree(stores()[name], Path(folder) / "run.zarr"))
            yield name, path, hurt(path, chance)


def same(found: object, before: object) -> bool:
    """Returns whether a read gives what it gave before the damage."""
    if hasattr(found, "index") and list(found.index) != list(before.index):
        return False
    if hasattr(found, "columns") and list(found.columns) != list(before.columns):
        return False
    return np.array_equal(found, before, equal_nan=np.asarray(found).dtype.kind == "f")


def is_prefix(found: object, before: object) -> bool:
    """Returns whether a read gives the first rows, as of a run that was killed a little earlier."""
    rows = len(found) - 1  # a step's scalars may be in several records
    return same(found[:rows], before[:rows])


def read_back(n: int, seed: int) -> Iterator[str]:
    """Judges reads: each gives what was recorded, or a StoreError that names a file."""
    for name, path, what in cases(n, seed):
        yield judge(name, path, what, contents(path))


def judge(name: str, path: Path, what: str, found: dict[str, object]) -> str:
    """Says what came of one case; what may not come begins with WRONG."""
    refused = [error for error in found.values() if isinstance(error, StoreError)]
    if any("\n" in str(error) or not str(error).startswith(f"{path}: ") for error in refused):
        return f"WRONG {name}, {what}: an error without the store's path, or of many lines: {refused}"
    different = [
        kind
        for kind, value in found.items()
        if not isinstance(value, StoreError) and not same(value, whole(name)[kind])
    ]
    if (
        different
        and name == "killed"
        and "journal" in what
        and all(is_prefix(found[k], whole(name)[k]) for k in different)
    ):
        return "the rows before a torn end of the journal"
    if different:
        return f"WRONG {name}, {what}: {different} differ"
    if not refused:
        return "all as recorded"
    return (
        "nothing read, the file named" if len(refused) == len(found) else "some refused by file, the rest as recorded"
    )


def verified(n: int, seed: int) -> Iterator[str]:
    """Judges `verify`: it calls nothing intact whose reads differ or are refused."""
    for name, path, what in cases(n, seed):
        found = contents(path)
        intact = all(
            not isinstance(value, StoreError) and same(value, whole(name)[kind]) for kind, value in found.items()
        )
        before = {"not closed: 452 recorded steps are in the journal alone"} if name == "killed" else set()
        try:
            problems = {problem.message for problem in verify(path)} - before
        except StoreError:
            problems = {"refused"}
        if not intact and not problems and not (name == "killed" and "journal" in what):
            yield f"WRONG {name}, {what}: called intact"
        elif not intact:
            yield "named"
        else:
            yield "of no effect on what is read, and named" if problems else "of no effect on what is read, not named"


def repaired(n: int, seed: int) -> Iterator[str]:
    """Judges `--repair`: what could be read before it can be read after it."""
    for name, path, what in cases(n, seed):
        before = contents(path, skip_damaged=True)
        try:
            verify(path, repair=True)
            outcome = "repaired, all that was readable is"
        except StoreError:
            outcome = "refused, all that was readable is"
        after = contents(path, skip_damaged=True)
        lost = [
            kind
            for kind, value in before.items()
            if kind != "metadata"
            and not isinstance(value, StoreError)
            and (isinstance(after[kind], StoreError) or not same(after[kind], value))
        ]
        yield f"WRONG {name}, {what}: {lost} lost" if lost else outcome
