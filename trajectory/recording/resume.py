"""Going on with a run that was interrupted: the store that is there, if it is the same run's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
import zarr

from trajectory.errors import RecordingError, StoreError
from trajectory.schema.layout import ROOT, TensorSpec, read_root
from trajectory.schema.shards import Part, part_sizes, to_table
from trajectory.storage.backend import Place
from trajectory.storage.writer import Store

Resume = Literal["never", "allow", "must"]

# What the rows and snapshots that are there were made of; those to come must be made of the same.
_WORDS = {
    "parameters": "trainable parameters",
    "buffers": "buffers",
    "tied": "tied parameters",
    "quantities": "quantities",
    "layers": "measured parameters or groups",
    "origins": "origins",
    "sketch": "sketches",
    "snapshot": "form of snapshots",
}


def is_resumed(at: Place, resume: Resume, step: int | None) -> bool:
    """Whether a recorder at this place goes on with the run there.

    Raises RecordingError for arguments that contradict each other, StoreError if there is no run that must be.
    """
    if resume not in get_args(Resume):
        raise RecordingError(f"resume={resume!r}; expected 'never', 'allow' or 'must'")
    if step is not None and (resume == "never" or step < 0):
        raise RecordingError(f"step={step} with resume={resume!r}; expected 0 or more, with 'allow' or 'must'")
    if resume == "must":
        read_root(at)
    there = resume != "never" and _is_run(at)
    if step and not there:
        raise StoreError(
            f"{at.path}: no run there to go on with after {step} updates; restore it, or begin with step=0"
        )
    return there and step != 0


def _is_run(at: Place) -> bool:
    try:
        return "ultraslow" in json.loads(at.read(ROOT))["attributes"]
    except (FileNotFoundError, NotADirectoryError):
        return False


def reopen(
    at: Place,
    parameters: Sequence[TensorSpec],
    buffers: Sequence[TensorSpec],
    origins: Sequence[int],
    made_of: Mapping[str, Any],
    parts: Sequence[Part],
) -> Store:
    """The store there, if a recorder of this network that records the same can go on with it.

    Raises StoreError if it is another network's, was recorded otherwise, or is being written.
    """
    facts = read_root(at)["attributes"]["ultraslow"]
    if "id" not in facts:
        raise StoreError(f"{at.path}: holds no weights to measure from; record a new run, to another path")
    specs = {"parameters": [spec.to_json() for spec in parameters], "buffers": [spec.to_json() for spec in buffers]}
    here = json.loads(json.dumps({**specs, "origins": origins, **made_of}))
    for key, word in _WORDS.items():
        if key in facts and facts[key] != here[key]:
            raise StoreError(
                f"{at.path}: other {word} there than here{_difference(facts.get(key, {}), here[key])}; "
                "go on with the network and the settings it was recorded with, or record to another path"
            )
    if parts or facts.get("ranks"):
        stored = zarr.open_group(at.root, mode="r")
        table = np.asarray(cast(zarr.Array, stored["part"])[...]) if facts.get("ranks") else None
        if table is None or not np.array_equal(table, to_table(parts)):
            there, here = len(facts.get("ranks", ())) or 1, len(part_sizes(parts)) or 1
            raise StoreError(
                f"{at.path}: the weights lie otherwise on {there} ranks there than on {here} here; go on with as many"
                " ranks, sharded alike, or record to another path"
            )
    return Store.reopen(at)


def _difference(there: Any, here: Any) -> str:
    """The first entry that differs, in a few words."""
    entries = [list(value.items()) if isinstance(value, Mapping) else list(value) for value in (there, here)]
    for k in range(max(map(len, entries))):
        was, now = (side[k] if k < len(side) else "none" for side in entries)
        if was != now:
            return f" ({was} there, {now} here)"
    return ""
