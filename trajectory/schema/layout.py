"""Names and shapes of what a store holds (docs/format.md), shared by writer and reader."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any
from unicodedata import normalize
from urllib.parse import quote, unquote

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.entries import count, counts, text

FORMAT = 1
ROWS_PER_CHUNK = 1024  # a write of a whole chunk costs hardly more than a write of one row
UNFROZEN = "unfrozen_parameters"  # the event of parameters that count in the totals from its step on
WARNING = "warning"  # the detail of an event that says what a reader of the rows has to know
BUFFERS_CHANGED = "buffers_changed"  # the event of a snapshot whose buffers are others than at the start
# in a row's order; the distance is always there
QUANTITIES = ("distance", "norm", "update_norm", "grad_norm", "momentum_norm")
DIMENSIONS = {
    "step": ("step",),
    **dict.fromkeys(QUANTITIES, ("step",)),
    **{f"layer_{name}": ("step", "parameter") for name in QUANTITIES},
    "displacement": ("step", "origin"),
    "layer_displacement": ("step", "origin", "parameter"),
}

LR_DROP = "lr_drop"  # the event of a learning rate that falls at once
BATCH_GROWTH = "batch_growth"  # the event of a batch that grows at once, in place of such a fall

_DTYPE = re.compile(r"bool|(?:b?float|q?u?int|complex)\d+[a-z0-9_]*")  # the names of torch's types
_MOST_DIMENSIONS = 64  # of a tensor
_SAFE = " ()[]=,+@"  # what stands as it is in the name of a metric's array, beside letters, digits and -._~
_LONGEST = 255  # bytes of a file's name, on all common file systems
_SHOWN = 40  # characters of a name in a message


@dataclass(frozen=True)
class TensorSpec:
    """Where one tensor lies in a flat snapshot.

    Attributes:
        name: the tensor's name in the model, without the prefixes of wrappers.
        shape: its shape.
        dtype: its type in the model, such as `float32`.
        offset: where it begins, counted in elements (weights) or in bytes (buffers).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def to_json(self) -> list[Any]:
        """Return the entry in the root's attributes."""
        return [self.name, list(self.shape), self.dtype, self.offset]

    @staticmethod
    def from_json(entry: Sequence[Any]) -> "TensorSpec":
        """Parse an entry of the root's attributes.

        Args:
            entry: `[name, shape, dtype, offset]`.

        Returns:
            The specification.

        Raises:
            ValueError: it names no type of a tensor, or too many dimensions.
        """
        name, shape, dtype, offset = entry
        if not _DTYPE.fullmatch(text(dtype)) or len(counts(shape)) > _MOST_DIMENSIONS:
            raise ValueError
        return TensorSpec(text(name), counts(shape), dtype, count(offset))


@dataclass(frozen=True)
class RowColumns:
    """A recorded step as one row of float64: the step, the total of each measurement, then each one by layer.

    A measurement is a quantity; the distance is followed by the displacements from the other origins.

    Attributes:
        layers: the names of the parameters, or of the groups of them, that have columns of their own.
        origins: the steps other than 0 that distances are measured from.
        quantities: what is recorded, the distance first.
    """

    layers: tuple[str, ...]
    origins: tuple[int, ...] = ()
    quantities: tuple[str, ...] = QUANTITIES[:1]

    @property
    def measurements(self) -> int:
        """How many numbers a layer has in a row."""
        return len(self.quantities) + len(self.origins)

    @property
    def width(self) -> int:
        """Columns in a row."""
        return 1 + self.measurements * (1 + len(self.layers))

    @property
    def names(self) -> list[str]:
        """The arrays over `step`."""
        return list(self.split(np.empty((0, self.width))))

    def split(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return rows as the store's arrays.

        Args:
            rows: float64 (n, width).

        Returns:
            The arrays over `step`, by name.
        """
        total, layers = np.split(rows[:, 1:], [self.measurements], axis=1)
        layers = layers.reshape(len(rows), self.measurements, len(self.layers))
        arrays = {"step": rows[:, 0].astype("int64")}
        after = 1 + len(self.origins)
        for name, k in zip(self.quantities, (0, *range(after, self.measurements)), strict=True):
            arrays |= {name: total[:, k], f"layer_{name}": layers[:, k]}
        if self.origins:
            arrays |= {"displacement": total[:, 1:after], "layer_displacement": layers[:, 1:after]}
        return arrays


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, such as a drop of the learning rate.

    Attributes:
        step: the number of updates made before it.
        name: its kind, such as `lr_drop`.
        details: what else is known of it, by name.

    Examples:
        >>> from trajectory import Event
        >>> Event(400, "lr_drop", {"lr_from": 0.1, "lr_to": 0.01}).step
        400
    """

    step: int
    name: str
    details: Mapping[str, Any]


def metric_array(name: str, taken: Iterable[str] = ()) -> str:
    """Return the name of the array that holds a metric.

    Args:
        name: the metric's name. A `/`, which Zarr takes for a group, is percent-encoded, and so are letters other
            than ASCII's, unless the array's name becomes too long for a file system by it.
        taken: the arrays of the other metrics. Where a file system that ignores case would take one of them for
            this one, as `loss` for `Loss`, every character of the name is percent-encoded.

    Returns:
        The array's name within the group `metrics`.

    Raises:
        StoreError: no array can have that name.
    """
    shown = repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}..."
    if not name or name == "step" or name.startswith((".", "__")):
        raise StoreError(f"metric {shown}: expected a name other than 'step' that starts with a letter; rename it")
    if name.casefold() == "zarr.json":  # the file that describes the group
        return name.replace(".", "%2E")
    try:
        encoded, brief = quote(name, safe=_SAFE), "".join(c if c > "\xff" else quote(c, safe=_SAFE) for c in name)
        taken_files = {_as_file(array) for array in ("step", *taken)}
        for array in (encoded, brief, _encode_all(name)):
            if len(array.encode()) <= _LONGEST and _as_file(array) not in taken_files:
                return array
    except UnicodeEncodeError as error:
        raise StoreError(f"metric {shown}: half of a character is in the name; rename it") from error
    if _as_file(encoded) in taken_files or _as_file(brief) in taken_files:
        raise StoreError(f"metric {shown}: another one's name differs in upper and lower case alone; rename one")
    raise StoreError(
        f"metric {shown}: takes {len(brief.encode())} bytes as a file's name, expected {_LONGEST} at most; rename it"
    )


def _as_file(array: str) -> str:
    """Return what is equal for names that some file system takes for one file."""
    return normalize("NFC", normalize("NFC", array).casefold())


def _encode_all(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


def metric_name(array: str) -> str:
    """Return the name of the metric that an array of the group `metrics` holds.

    Args:
        array: the array's name within the group.

    Returns:
        The metric's name.
    """
    return unquote(array)


def shard_array(rank: int) -> str:
    """Return the name of the array that holds a rank's shards, where a model is sharded.

    Args:
        rank: the rank.

    Returns:
        The array's name within `snapshots` and `origins`.
    """
    return f"weights.{rank}"


def hash_array(name: str) -> str:
    """Return the path of the array that holds the hashes of another one's rows.

    Args:
        name: the other array's path, such as `snapshots/weights`.

    Returns:
        The path of the array of hashes.
    """
    group, _, array = name.rpartition("/")
    return f"{group}/blake3.{array}"
