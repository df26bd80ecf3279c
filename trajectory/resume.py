"""Going on with a run that was interrupted: the store that is there, if it is the same run's."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from trajectory.errors import RecordingError, StoreError
from trajectory.layout import ROOT, TensorSpec, read_root
from trajectory.store import Store

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
}


def is_resumed(path: Path, resume: Resume, step: int | None) -> bool:
    """Whether a recorder at `path` goes on with the run there.

    Raises RecordingError for arguments that contradict each other, StoreError if there is no run that must be.
    """
    if resume not in get_args(Resume):
        raise RecordingError(f"resume={resume!r}; expected 'never', 'allow' or 'must'")
    if step is not None and (resume == "never" or step < 0):
        raise RecordingError(f"step={step} with resume={resume!r}; expected 0 or more, with 'allow' or 'must'")
    if resume == "must":
        read_root(path)
    there = resume != "never" and (path / ROOT).exists()
    if step and not there:
        raise StoreError(f"{path}: no run there to go on with after {step} updates; restore it, or begin with step=0")
    return there and step != 0


def reopen(
    path: Path,
    parameters: Sequence[TensorSpec],
    buffers: Sequence[TensorSpec],
    origins: Sequence[int],
    made_of: Mapping[str, Any],
) -> Store:
    """The store at `path`, if a recorder of this network that records the same can go on with it.

    Raises StoreError if it is another network's, was recorded otherwise, or is being written.
    """
    facts = read_root(path)["attributes"]["ultraslow"]
    if "id" not in facts:
        raise StoreError(f"{path}: holds no weights to measure from; record a new run, to another path")
    specs = {"parameters": [spec.to_json() for spec in parameters], "buffers": [spec.to_json() for spec in buffers]}
    here = json.loads(json.dumps({**specs, "origins": origins, **made_of}))
    for key, word in _WORDS.items():
        if facts.get(key, {}) != here[key]:
            raise StoreError(
                f"{path}: other {word} there than here{_difference(facts.get(key, {}), here[key])}; "
                "go on with the network and the settings it was recorded with, or record to another path"
            )
    return Store.reopen(path)


def _difference(there: Any, here: Any) -> str:
    """The first entry that differs, in a few words."""
    entries = [list(value.items()) if isinstance(value, Mapping) else list(value) for value in (there, here)]
    for k in range(max(map(len, entries))):
        was, now = (side[k] if k < len(side) else "none" for side in entries)
        if was != now:
            return f" ({was} there, {now} here)"
    return ""
