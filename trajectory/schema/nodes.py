"""The arrays that a store's root describes, parsed and compared with what the run's metadata asks for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from trajectory.errors import StoreError
from trajectory.schema import entries
from trajectory.schema.commit import Commit, table_of
from trajectory.schema.entries import Entries, Kind
from trajectory.schema.layout import DIMENSIONS, shard_array
from trajectory.schema.metadata import RunMetadata

FIRST_ROW = "first_row"  # the attribute of a metric's array that says from which row on it has chunks
_SIZES = {"int64": 8, "float64": 8, "float32": 4, "uint16": 2, "uint8": 1, "string": 8}  # bytes; a string's: a guess
_ALWAYS = ("metrics", "snapshots")  # groups that the first stores had, too
_CODECS = frozenset({"bytes", "vlen-utf8", "zstd", "crc32c"})


@dataclass(frozen=True)
class ArrayNode:
    """What the root says of an array.

    Attributes:
        name: its path in the store.
        shape: its committed shape.
        chunk_shape: the shape of what one file holds.
        dtype: its type, such as `float64`.
        first_row: the row from which on it has chunks; None where the root does not say.
        compressed: whether its chunks are compressed.
        ends_in_checksum: whether a chunk is one file that ends in its crc32c.
        separator: what stands between the numbers in the name of a chunk's file.
    """

    name: str
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dtype: str
    first_row: int | None
    compressed: bool
    ends_in_checksum: bool = False
    separator: str = "/"

    @property
    def chunk_bytes(self) -> int:
        """The bytes of a chunk when it is unpacked."""
        return prod(self.chunk_shape, start=_SIZES[self.dtype])

    @property
    def end(self) -> tuple[int, int]:
        """The first row of the last chunk, and the row behind its last; the same where every chunk is full."""
        rows = 0 if 0 in self.shape[1:] else self.shape[0]
        return rows - rows % self.chunk_shape[0], rows

    def chunks(self, start: int, stop: int) -> range:
        """Return the numbers of the chunks that hold some rows.

        Args:
            start: the first row.
            stop: the row behind the last.
        """
        length = self.chunk_shape[0]
        return range(start // length, -(-stop // length)) if stop > start and 0 not in self.shape[1:] else range(0)

    def keys(self, chunk: int) -> Iterator[str]:
        """Yield the keys of the files of one chunk of rows.

        Args:
            chunk: its number.

        Yields:
            A key for each chunk across the other dimensions, of which there is one as a rule.
        """
        across = zip(self.shape[1:], self.chunk_shape[1:], strict=True)
        for others in product(*(range(-(-size // length)) for size, length in across)):
            yield f"{self.name}/{self.separator.join(['c', *map(str, (chunk, *others))])}"

    def chunk_of(self, key: str) -> int:
        """Return the number of the chunk of rows that a file holds.

        Args:
            key: its key.
        """
        return int(key.removeprefix(f"{self.name}/c{self.separator}").partition(self.separator)[0])

    @staticmethod
    def from_json(name: str, value: Any, path: object) -> "ArrayNode":
        """Parse the metadata of an array, as Zarr writes it.

        Args:
            name: the array's path in the store.
            value: the metadata.
            path: the store's path, for messages.

        Returns:
            The array.

        Raises:
            StoreError: an entry is missing, or is none of what a recorder writes; the message names it.
        """
        node = Entries(value, path, f"{name}.")
        shape = node.get("shape", _dimensions)
        grid = node.nested("chunk_grid").nested("configuration")
        codecs = node.get("codecs", _codecs)
        node.get("dimension_names", _names_of(shape))
        node.get_or("storage_transformers", None, _nothing)
        chunk = grid.get("chunk_shape", _chunk_of(shape))
        attributes = Entries(node.get_or("attributes", {}, entries.mapping), path, f"{name}.attributes.")
        return ArrayNode(
            name=name,
            shape=shape,
            chunk_shape=chunk,
            dtype=node.get("data_type", _dtype),
            first_row=attributes.get_or(FIRST_ROW, None, entries.optional_count),
            compressed="zstd" in codecs,
            ends_in_checksum=codecs[-1:] == ("crc32c",) and chunk[1:] == tuple(max(size, 1) for size in shape[1:]),
            separator=node.get("chunk_key_encoding", _encoding),
        )


def parse_nodes(
    nodes: Mapping[str, Any], metadata: RunMetadata, commit: Commit, path: object
) -> dict[str, ArrayNode]:
    """Parse the metadata of all arrays, and compare it with what the run's metadata asks for.

    Args:
        nodes: the metadata of every array and group, by path.
        metadata: the run's.
        commit: the state of its recording, which counts the rows.
        path: the store's path, for messages.

    Returns:
        The arrays by path.

    Raises:
        StoreError: an array is missing, or is not as the run's metadata asks for.
    """
    arrays = {}
    for name, node in nodes.items():
        Entries(nodes, path).get(name, entries.mapping)
        if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
            raise StoreError(f"{path}: zarr.json names an array {name[:60]!r}; restore it as it was written")
        if Entries(node, path, f"{name}.").get("node_type", _node_type) == "array":
            arrays[name] = ArrayNode.from_json(name, node, path)
    wanted, lengths = _wanted(metadata, commit), commit.to_json()["committed"]
    for name in wanted.keys() - arrays.keys():
        raise StoreError(f"{path}: zarr.json lacks the array {name!r} of this run; restore it as it was written")
    for name, array in arrays.items():
        dtypes, across = wanted.get(name, ((), None))
        if name.startswith("metrics/") and name != "metrics/step":
            dtypes, across = ("float64",), ()
        if dtypes and (array.dtype not in dtypes or (across is not None and array.shape[1:] != across)):
            expected = f"{' or '.join(dtypes)} (row, {', '.join(map(str, across or ['...']))})"
            raise StoreError(
                f"{path}: zarr.json says of {name} {array.dtype} {array.shape}, expected {expected};"
                " restore it as it was written"
            )
        table = table_of(name, nodes[name])
        if table in lengths and array.shape[0] < lengths[table]:
            raise StoreError(
                f"{path}: zarr.json says that {name} has {array.shape[0]} rows, and that {lengths[table]} are"
                " committed; restore it as it was written"
            )
    return arrays


def _wanted(metadata: RunMetadata, commit: Commit) -> dict[str, tuple[tuple[str, ...], tuple[int, ...] | None]]:
    """Return the types and the widths of the arrays that readers ask for."""
    columns, total = metadata.columns, sum(spec.size for spec in metadata.parameters)
    sizes = {"origin": len(columns.origins), "parameter": len(columns.layers)}
    wanted: dict[str, tuple[tuple[str, ...], tuple[int, ...] | None]] = {}
    for name in columns.names:
        dtype = "int64" if name == "step" else "float64"
        wanted[name] = ((dtype,), tuple(sizes[dimension] for dimension in DIMENSIONS[name][1:]))
    counts = commit.to_json()["committed"]
    groups = [group for group, count in counts.items() if group != "step" and (count or group in _ALWAYS)]
    wanted |= {f"{group}/step": (("int64",), ()) for group in groups}
    weights = ("float32", "float64", "uint16")
    if commit.snapshots and total and not metadata.ranks:
        wanted["snapshots/weights"] = (weights, (total,))
    if commit.origins and total and not metadata.ranks:
        wanted["origins/weights"] = (weights[:2], (total,))
    if metadata.ranks:
        wanted["part"] = (("int64",), None)
    if commit.snapshots:
        wanted |= {f"snapshots/{shard_array(rank)}": (weights, None) for rank in metadata.ranks}
    if commit.sketches:
        wanted["sketches/values"] = (("float32",), (len(columns.layers), metadata.sketch.buckets))
    return wanted


def _parse_codecs(value: Any) -> tuple[str, ...]:
    names = tuple(entries.text(codec["name"]) for codec in value)
    endians = {entries.mapping(codec.get("configuration", {})).get("endian", "little") for codec in value}
    if not _CODECS.issuperset(names) or endians != {"little"}:
        raise ValueError
    return names


def _parse_dimensions(value: Any) -> tuple[int, ...]:
    shape = entries.counts(value)
    if not 1 <= len(shape) <= 3:
        raise ValueError
    return shape


def _chunk_of(shape: tuple[int, ...]) -> Kind[tuple[int, ...]]:
    def parse(value: Any) -> tuple[int, ...]:
        lengths = entries.counts(value)
        if len(lengths) != len(shape) or 0 in lengths:
            raise ValueError
        return lengths

    return Kind(f"{len(shape)} whole numbers from 1 on", parse)


def _names_of(shape: tuple[int, ...]) -> Kind[tuple[str | None, ...]]:
    def parse(value: Any) -> tuple[str | None, ...]:
        names = tuple(map(entries.optional_text, value))
        if not isinstance(value, list) or len(names) != len(shape):
            raise ValueError
        return names

    return Kind(f"the names of {len(shape)} dimensions", parse)


def _one_of(*values: str) -> Kind[str]:
    def parse(value: Any) -> str:
        if entries.text(value) not in values:
            raise ValueError
        return value

    return Kind(" or ".join(values), parse)


def _parse_encoding(value: Any) -> str:
    separator = entries.mapping(value).get("configuration", {"separator": "/"})["separator"]
    if value["name"] != "default" or separator not in ("/", "."):
        raise ValueError
    return str(separator)


def _parse_nothing(value: Any) -> None:
    if value:
        raise ValueError


_dimensions = Kind("one to three whole numbers from 0 on", _parse_dimensions)
_codecs = Kind(f"a list of little-endian codecs out of {', '.join(sorted(_CODECS))}", _parse_codecs)
_dtype = _one_of(*_SIZES)
_node_type = _one_of("array", "group")
_encoding = Kind("the default one with / or .", _parse_encoding)
_nothing = Kind("an empty list", _parse_nothing)
