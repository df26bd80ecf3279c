"""Read the root of a store as checked objects, and replace it in one step, which is a commit."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from blake3 import blake3

from trajectory.errors import RunNotFoundError, StoreError, first_line
from trajectory.schema.commit import Commit
from trajectory.schema.entries import Entries, Kind, mapping, text
from trajectory.schema.layout import FORMAT, LR_DROP, Event
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.nodes import ArrayNode, parse_nodes
from trajectory.storage import chunk_checksums, journal_records
from trajectory.storage.backend import Backend
from trajectory.storage.chunk_checksums import Checksums, Ends
from trajectory.storage.plain_json import parse

ROOT = "zarr.json"
CHECKSUM = "ultraslow_blake3"  # beside `ultraslow`: an earlier version that writes the store on leaves it out
CHUNKS, ENDS = "ultraslow_crc32c", "ultraslow_crc32"  # likewise
T = TypeVar("T")
_EMPTY_GROUP = {"attributes": {}, "zarr_format": 3, "node_type": "group"}  # what zarr writes before the first commit


@dataclass(frozen=True)
class Root:
    """What the root's `zarr.json` holds.

    Attributes:
        metadata: what is known of the run.
        commit: the state of its recording.
        nodes: the metadata of every array and group, by path, at the commit's lengths.
        arrays: the arrays among them, as they were read and checked.
        checksum: whether the root carried its checksum, as earlier versions' do not.
        chunks: the checksums of the arrays' chunks; empty where earlier versions wrote on.
        ends: likewise of the rows in chunks that are not full.
    """

    metadata: RunMetadata
    commit: Commit
    nodes: Mapping[str, dict[str, Any]]
    arrays: Mapping[str, ArrayNode] = field(default_factory=dict)
    checksum: bool = True
    chunks: Checksums = field(default_factory=dict)
    ends: Ends = field(default_factory=dict)

    @property
    def writes_all(self) -> bool:
        """Whether every committed chunk was written; earlier versions left out what was NaN or 0 throughout."""
        schedules = self.metadata.schedules
        return bool(schedules and schedules[0][0] == 0) or (self.checksum and not self.metadata.resumed)


def read_root(backend: Backend) -> Root:
    """Read the root of a store, after checking that it is a run of a format that this version reads.

    Args:
        backend: where the store lies.

    Returns:
        Its root.

    Raises:
        RunNotFoundError: there is no store.
        StoreError: the store is not a run, is damaged, or has a newer format.
    """
    path = backend.path
    try:
        root = parse(backend.read(ROOT))
        attributes = root["attributes"]["ultraslow"]
        version = attributes["format"]
    except OSError as error:
        raise _not_readable(backend, error) from error
    except (ValueError, KeyError, TypeError) as error:
        if is_begun(backend):
            raise _no_run_yet(backend) from error
        if isinstance(error, ValueError) and _holds_more(backend):
            raise _damaged(backend, first_line(error)) from error
        raise StoreError(
            f"{path}: not a run: its zarr.json has no ultraslow format; expected the folder a Recorder wrote"
        ) from error
    if not isinstance(version, int) or version > FORMAT:
        raise StoreError(
            f"{path}: written in format {str(version)[:20]}, this ultraslow reads up to {FORMAT}; "
            "upgrade ultraslow to read it"
        )
    nodes = Entries(root, path).nested("consolidated_metadata").get("metadata", mapping)
    checksum = root["attributes"].get(CHECKSUM)
    if checksum is not None and checksum != _checksum(attributes, nodes):
        raise _damaged(backend, "its checksum is another")
    metadata, commit = RunMetadata.from_json(attributes, path), Commit.from_json(attributes, path)
    if checksum is None:  # the version that wrote on kept the schedules, and may have recorded by others
        metadata = replace(metadata, schedules=())
    arrays = parse_nodes(nodes, metadata, commit, path)
    chunks = _listed(backend, root["attributes"], CHUNKS, "chunks", chunk_checksums.from_json, {})
    ends = _listed(backend, root["attributes"], ENDS, "rows", chunk_checksums.ends_from_json, {})
    return Root(metadata, commit, nodes, arrays, checksum is not None, chunks, ends)


def _listed(backend: Backend, attributes: Mapping[str, Any], key: str, of: str, kind: Kind[T], default: T) -> T:
    """Read the checksums of chunks or of rows, if the root carries them."""
    if key not in attributes:
        return default
    listed = Entries(attributes, backend.path).nested(key)
    if listed.get("blake3", text) != _hash(listed.values.get(of)):
        raise _damaged(backend, f"the checksum of its {key} is another")
    return listed.get(of, kind)


def _not_readable(backend: Backend, error: OSError) -> StoreError:
    """Say why there is no root to read."""
    path = backend.path
    if isinstance(error, FileNotFoundError) and not backend.exists():
        return RunNotFoundError(f"{path}: no such run; expected the folder a Recorder wrote (such as runs/sb.zarr)")
    if is_begun(backend):
        return _no_run_yet(backend)
    if isinstance(error, FileNotFoundError) and _holds_more(backend):
        return StoreError(f"{path}: its zarr.json is missing; restore it as it was written")
    found = {
        FileNotFoundError: "a folder without zarr.json",
        NotADirectoryError: "a file",
        PermissionError: "a path that may not be read",
    }.get(type(error), str(error.strerror))
    return StoreError(f"{path}: not a run: got {found}, expected the folder a Recorder wrote")


def _holds_more(backend: Backend) -> bool:
    """Return whether a run's arrays are there, of which the root has lost what it said."""
    return all(backend.holds(f"{node}/{ROOT}") for node in ("step", "distance", "metrics"))


def _damaged(backend: Backend, why: str) -> StoreError:
    return StoreError(f"{backend.path}: its zarr.json is damaged ({why}); restore it as it was written")


def _checksum(attributes: Any, nodes: Any) -> str:
    """Return the hash of what a root says."""
    return _hash([attributes, nodes])


def _hash(value: Any) -> str:
    """Return the BLAKE3 hash of a value's JSON with sorted keys, without spaces, in ASCII."""
    return blake3(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _no_run_yet(backend: Backend) -> StoreError:
    return StoreError(
        f"{backend.path}: no run yet: a recorder is making it, or was stopped before it had; "
        "wait for it, or record there anew"
    )


def write_root(backend: Backend, root: Root, *, durable: bool = True) -> None:
    """Commit: one replacement publishes the attributes and the metadata of every node together.

    Args:
        backend: where the store lies.
        root: what its root is to hold.
        durable: whether no power cut can bring the former root back.
    """
    backend.replace(ROOT, _document(root), durable=durable)


def holds_root(backend: Backend, root: Root) -> bool:
    """Return whether a root that could not be written without an error is there all the same.

    Args:
        backend: where the store lies.
        root: what its root was to hold.

    Returns:
        Whether readers see it: the disk may have failed to make it durable, or a server to say that it has it.
    """
    try:
        return backend.read(ROOT) == _document(root)
    except OSError:
        return False


def _document(root: Root) -> bytes:
    """Return the content of the root's `zarr.json`.

    Zarr readers take the arrays' shapes from this consolidated metadata, so an array that was
    lengthened but not committed is seen at its old length. zarr-python expects a group's members
    next to each other there.
    """
    attributes = {"format": FORMAT, **root.metadata.to_json(), **root.commit.to_json()}
    nodes = {name: _described(name, node, root) for name, node in sorted(root.nodes.items())}
    chunks = chunk_checksums.to_json(root.chunks)
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "ultraslow": attributes,
            CHECKSUM: _checksum(attributes, nodes),
            CHUNKS: {"chunks": chunks, "blake3": _hash(chunks)},
            ENDS: {"rows": root.ends, "blake3": _hash(root.ends)},
        },
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": nodes,
        },
    }
    return json.dumps(document, allow_nan=False).encode()


def _described(name: str, node: dict[str, Any], root: Root) -> dict[str, Any]:
    """Add to the distances what a reader of one array has to know of them."""
    known = distance_attributes(name, root.metadata.settings, root.commit.events)
    return {**node, "attributes": {**node.get("attributes", {}), **known}} if known else node


def distance_attributes(name: str, config: Mapping[str, Any], events: Iterable[Event]) -> dict[str, Any]:
    """Return what a reader of one array of distances has to know, beside it.

    Args:
        name: an array's.
        config: the run's configuration.
        events: its events.

    Returns:
        `origin`, unless it is a dimension of the array; `lr_drops`, the steps of the learning-rate drops; and
        `config`, as JSON text, since attributes of an array hold no mapping in every format. Empty for other arrays.
    """
    if name not in ("distance", "displacement", "layer_distance", "layer_displacement"):
        return {}
    origin = {} if name.endswith("displacement") else {"origin": 0}
    drops = [event.step for event in events if event.name == LR_DROP]
    return {**origin, "lr_drops": drops, "config": json.dumps(dict(config))}


def is_run(backend: Backend) -> bool:
    """Return whether a run was committed there, of whatever format.

    Args:
        backend: where to look.

    Returns:
        Whether the root holds a run's attributes.

    Raises:
        StoreError: there is a root that cannot be read.
    """
    try:
        return "ultraslow" in parse(backend.read(ROOT))["attributes"]
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, KeyError, TypeError):
        if not is_begun(backend):
            read_root(backend)  # says what is wrong with it
        return False


def is_begun(backend: Backend) -> bool:
    """Return whether a store is being made there, or its making was stopped: it has a journal, but no commit yet.

    A file of that name which is neither empty nor a journal is somebody else's.

    Args:
        backend: where to look.

    Returns:
        Whether a later recorder may take its place.
    """
    try:
        data = backend.read_journal(0)
    except OSError:
        return False
    if data.strip(b"\0") and not journal_records.read(data).intact:
        return False
    try:
        return parse(backend.read(ROOT)) == _EMPTY_GROUP
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # there is one, which cannot be read
        return False
