"""Names, versions and shapes of a store: what docs/format.md describes, shared by writer and reader."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.backend import Place

FORMAT = 1
ROWS_PER_CHUNK = 1024  # a write of a whole chunk costs hardly more than a write of one row
ROOT = "zarr.json"
_EMPTY_GROUP = {"attributes": {}, "zarr_format": 3, "node_type": "group"}  # what zarr writes before the first commit
QUANTITIES = ("distance", "norm", "update_norm", "grad_norm")  # in a row's order; the distance is always there
DIMENSIONS = {
    "step": ("step",),
    **dict.fromkeys(QUANTITIES, ("step",)),
    **{f"layer_{name}": ("step", "parameter") for name in QUANTITIES},
    "displacement": ("step", "origin"),
    "layer_displacement": ("step", "origin", "parameter"),
}


@dataclass(frozen=True)
class TensorSpec:
    """Where one tensor lies in a flat snapshot: `offset` counts elements (weights) or bytes (buffers)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def to_json(self) -> list[Any]:
        """The entry in the root's attributes."""
        return [self.name, list(self.shape), self.dtype, self.offset]

    @staticmethod
    def from_json(entry: Sequence[Any]) -> "TensorSpec":
        """The inverse of `to_json`."""
        name, shape, dtype, offset = entry
        return TensorSpec(name, tuple(shape), dtype, offset)


@dataclass(frozen=True)
class RowColumns:
    """A recorded step as one row of float64: step, each measurement's total, then each by layer.

    A measurement is a quantity; the distance is followed by the displacements from the further origins.
    layers: names of the parameters, or groups of them, that are told apart.
    """

    layers: tuple[str, ...]
    origins: tuple[int, ...] = ()
    quantities: tuple[str, ...] = QUANTITIES[:1]

    @staticmethod
    def of(facts: Mapping[str, Any]) -> "RowColumns":
        """The columns of the store whose root has these attributes."""
        quantities = facts.get("quantities", QUANTITIES[:1])
        return RowColumns(Groups.of(facts).names, tuple(facts["origins"]), tuple(quantities))

    @property
    def measurements(self) -> int:
        """How many numbers a layer has in a row."""
        return len(self.quantities) + len(self.origins)

    @property
    def width(self) -> int:
        """Columns in a row."""
        return 1 + self.measurements * (1 + len(self.layers))

    def split(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Rows (n, width) as the store's arrays."""
        total, layers = np.split(rows[:, 1:], [self.measurements], axis=1)
        layers = layers.reshape(len(rows), self.measurements, len(self.layers))
        arrays = {"step": rows[:, 0].astype("int64")}
        further = 1 + len(self.origins)
        for name, k in zip(self.quantities, (0, *range(further, self.measurements)), strict=True):
            arrays |= {name: total[:, k], f"layer_{name}": layers[:, k]}
        if self.origins:
            arrays |= {"displacement": total[:, 1:further], "layer_displacement": layers[:, 1:further]}
        return arrays


@dataclass(frozen=True)
class Event:
    """Something that happened after `step` updates, such as a learning-rate drop."""

    step: int
    name: str
    details: Mapping[str, Any]


def metric_array(name: str) -> str:
    """The array that holds a metric; a `/`, which Zarr takes for a group, is percent-encoded.

    Raises StoreError for a name that no array can have.
    """
    if not name or name == "step" or name.startswith((".", "__")):
        raise StoreError(f"metric {name!r}: expected a name other than 'step' that starts with a letter; rename it")
    return quote(name, safe=" ()[]=,+@")


def metric_name(array: str) -> str:
    """The metric an array of the group `metrics` holds."""
    return unquote(array)


def part_array(rank: int) -> str:
    """The array of `snapshots` that holds a rank's parts, where a model is sharded."""
    return f"weights.{rank}"


def hash_array(name: str) -> str:
    """The array that holds the hashes of the rows of an array such as `snapshots/weights`."""
    group, _, array = name.rpartition("/")
    return f"{group}/blake3.{array}"


def read_root(place: Place) -> dict[str, Any]:
    """The root's metadata, after checking that it is a run of a format this version reads.

    Raises StoreError for a missing place, one that holds no run, and a newer format.
    """
    try:
        root = json.loads(place.read(ROOT))
        version = root["attributes"]["ultraslow"]["format"]
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not place.exists():
            raise StoreError(
                f"{place.path}: no such run; expected the folder a Recorder wrote (such as runs/sb.zarr)"
            ) from error
        found = {
            FileNotFoundError: "a folder without zarr.json",
            NotADirectoryError: "a file",
            PermissionError: "a path that may not be read",
        }.get(type(error), str(error.strerror))
        raise StoreError(f"{place.path}: not a run: got {found}, expected the folder a Recorder wrote") from error
    except (ValueError, KeyError, TypeError) as error:
        if is_begun(place):
            raise StoreError(
                f"{place.path}: no run yet: a recorder is making it, or was stopped before it had; "
                "wait for it, or record there anew"
            ) from error
        raise StoreError(
            f"{place.path}: not a run: its zarr.json has no ultraslow format; expected the folder a Recorder wrote"
        ) from error
    if not isinstance(version, int) or version > FORMAT:
        raise StoreError(
            f"{place.path}: written in format {version}, this ultraslow reads up to {FORMAT}; "
            "upgrade ultraslow to read it"
        )
    return root


def is_begun(place: Place) -> bool:
    """Whether a store is being made there, or its making was stopped: a journal, but no commit yet."""
    try:
        place.read_journal(0)
    except OSError:
        return False
    try:
        return json.loads(place.read(ROOT)) == _EMPTY_GROUP
    except FileNotFoundError:
        return True
    except ValueError:  # damaged
        return False


def read_node(place: Place, node: str) -> dict[str, Any]:
    """The metadata of an array or group as it stands there, committed or not."""
    return json.loads(place.read(f"{node}/{ROOT}"))


def write_root(place: Place, attributes: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """The commit: one replacement publishes the attributes and every node's metadata together.

    Zarr readers take the arrays' shapes from this consolidated metadata, so an array that was
    lengthened but not committed is seen at its old length. zarr-python expects a group's members
    next to each other there.
    """
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": dict(sorted(nodes.items())),
        },
    }
    place.replace(ROOT, json.dumps(root, allow_nan=False).encode())
