"""Stores whose root lies: entries of other types, ranges and sizes, under a checksum that holds."""

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from reliability_rows.damage import contents, stores

from trajectory import StoreError, verify
from trajectory.storage.root import CHECKSUM, CHUNKS, ENDS, _checksum, _hash

LIES: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        1,
        10**15,
        2**63,
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "../../etc/passwd",
        "$\\frac{$",
    ),
    *("\x1b[2J", "[red]x[/red]", [], [[]], [10**15], [-1], {}, {"a": None}, ["a", "a"], "9" * 5000, [0] * 5000),
]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yields the path of every entry of a JSON document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def lie(path: Path, chance: random.Random) -> str:
    """Replaces one entry of a store's root, or removes it, and says which."""
    root = json.loads((path / "zarr.json").read_text())
    where = chance.choice(list(places(root)))
    parent = root
    for key in where[:-1]:
        parent = parent[key]
    if chance.random() < 0.1:
        del parent[where[-1]]
        what = "none"
    else:
        parent[where[-1]] = chance.choice(LIES)
        what = repr(parent[where[-1]])[:30] if parent[where[-1]] != 10**400 else "10**400"
    attributes = root.get("attributes")
    if isinstance(attributes, dict) and where[-1] != CHECKSUM:
        nodes = root.get("consolidated_metadata")
        attributes[CHECKSUM] = _checksum(
            attributes.get("ultraslow"), nodes.get("metadata") if isinstance(nodes, dict) else None
        )
        for key, of in ((CHUNKS, "chunks"), (ENDS, "rows")):
            if where[-1] != "blake3" and isinstance(listed := attributes.get(key), dict):
                listed["blake3"] = _hash(listed.get(of))
    (path / "zarr.json").write_text(json.dumps(root))
    return f"{'.'.join(map(str, where))} = {what}"


def cases(n: int, seed: int) -> Iterator[tuple[Path, str]]:
    """Yields copies of the stores whose roots lie."""
    for k in range(n):
        chance = random.Random(f"lie {seed} {k}")
        name = chance.choice(list(stores()))
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            path = Path(shutil.copytree(stores()[name], Path(folder) / "run.zarr"))
            yield path, lie(path, chance)


def read_back(n: int, seed: int) -> Iterator[str]:
    """Judges reads and checks: whatever the root says, they end with rows or with a StoreError."""
    for path, what in cases(n, seed):
        try:
            found = contents(path)
            with suppress(StoreError):
                verify(path)
        except Exception as error:
            yield f"WRONG {what}: {type(error).__name__}: {str(error)[:100]}"
            continue
        refused = sum(isinstance(value, StoreError) for value in found.values())
        yield "refused" if refused == len(found) else "some reads refused" if refused else "read"
