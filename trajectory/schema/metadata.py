"""`RunMetadata`: what a store's root says of a run, but for the state of its recording (`Commit`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trajectory.schema import entries, schedules
from trajectory.schema.commit import STATE_KEYS
from trajectory.schema.entries import Entries, Kind
from trajectory.schema.layout import QUANTITIES, RowColumns, TensorSpec
from trajectory.schema.parameter_groups import Groups
from trajectory.schema.schedules import Periods

_KEYS = frozenset(
    {
        *("id", "config", "seed", "host", "commit", "versions", "resumed", "ranks", "snapshot", "sketch", "tied"),
        *("parameters", "buffers", "layers", "quantities", "origins", "origin_norm", "origin_norms", "schedules"),
    }
)


@dataclass(frozen=True)
class SnapshotFormat:
    """How snapshots hold weights.

    Attributes:
        dtype: the weights' type, such as `float32` or `bfloat16`; None: exact, in the type of the stored array.
        compression: `zstd`, or None.
    """

    dtype: str | None = None
    compression: str | None = None


@dataclass(frozen=True)
class SketchFormat:
    """The count sketches of a run.

    Attributes:
        buckets: the numbers that a sketch holds for each layer; 0: there are no sketches.
        seed: the seed of the hash that sorts weights into buckets.
    """

    buckets: int = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RunMetadata:
    """What a store's root says of a run, parsed and checked once. The stored keys: docs/format.md.

    Attributes:
        parameters: the tensors that a snapshot holds, in order.
        buffers: likewise the buffers.
        tied: the other names of tied parameters, and the name that each is recorded under.
        groups: the measured parameters, by the name of the layer they are filed under.
        quantities: what is recorded of a step, the distance first.
        origins: the steps other than 0 that distances are measured from.
        ranks: the ranks that store shards; empty where the model is not sharded.
        snapshot: how snapshots hold weights.
        sketch: the count sketches.
        origin_norm: ‖w_0‖ over the measured parameters.
        origin_norms: the same by group; empty in stores that hold no norms.
        id: 32 hexadecimal digits that a checkpoint names the run by; None in a store that cannot be resumed.
        config: the user's description of the run.
        seed: the run's seed.
        host: the machine that made the run.
        commit: the git commit of the folder that the run was started in.
        versions: versions of Python and of packages.
        resumed: the steps at which the run was resumed, in order.
        schedules: the schedules of the recorded steps, each with the number of updates after which it began; empty
            where it is not known which steps were to be recorded.
        others: entries that this version does not know, kept as they are.
    """

    parameters: tuple[TensorSpec, ...]
    buffers: tuple[TensorSpec, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    groups: Groups
    quantities: tuple[str, ...] = QUANTITIES[:1]
    origins: tuple[int, ...] = ()
    ranks: tuple[int, ...] = ()
    snapshot: SnapshotFormat = SnapshotFormat()
    sketch: SketchFormat = SketchFormat()
    origin_norm: float
    origin_norms: tuple[float, ...] = ()
    id: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    host: str | None = None
    commit: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    resumed: tuple[int, ...] = ()
    schedules: Periods = ()
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> RowColumns:
        """The columns of a recorded row."""
        return RowColumns(self.groups.names, self.origins, self.quantities)

    @property
    def measured(self) -> list[TensorSpec]:
        """The parameters that the distance is taken over, in order."""
        chosen = set(self.groups.parameters)
        return [spec for spec in self.parameters if spec.name in chosen]

    def to_json(self) -> dict[str, Any]:
        """Return the entries in the root's `ultraslow` attribute."""
        made = {
            "id": self.id,
            "config": dict(self.config),
            "seed": self.seed,
            "host": self.host,
            "commit": self.commit,
            "versions": dict(self.versions),
            "sketch": {"buckets": self.sketch.buckets, "seed": self.sketch.seed} if self.sketch.buckets else {},
            "snapshot": {"dtype": self.snapshot.dtype, "compression": self.snapshot.compression},
            "quantities": list(self.quantities),
            "layers": self.groups.to_json(),
            "tied": dict(self.tied),
            "origin_norm": self.origin_norm,
            "origin_norms": list(self.origin_norms),
            "origins": list(self.origins),
            "parameters": [spec.to_json() for spec in self.parameters],
            "buffers": [spec.to_json() for spec in self.buffers],
            "ranks": list(self.ranks),
            "resumed": list(self.resumed),
            "schedules": schedules.to_json(self.schedules),
        }
        unsaid = {
            "id": self.id is None,
            "host": self.host is None,
            "snapshot": self.snapshot.dtype is None,
            "origin_norms": not self.origin_norms,
            "resumed": not self.resumed,
            "schedules": not self.schedules,
        }
        return {**self.others, **{key: value for key, value in made.items() if not unsaid.get(key)}}

    @staticmethod
    def from_json(values: Mapping[str, Any], path: object) -> "RunMetadata":
        """Parse the root's `ultraslow` attribute.

        Args:
            values: the attribute; what earlier versions did not write may be absent.
            path: the store's path, for messages.

        Returns:
            The metadata.

        Raises:
            StoreError: an entry is missing or of another type; the message names it.
        """
        root = Entries(values, path)
        parameters = root.get("parameters", _specs)
        return RunMetadata(
            parameters=parameters,
            buffers=root.get("buffers", _specs),
            tied=root.get("tied", entries.names),
            groups=root.get_or("layers", Groups.single(spec.name for spec in parameters), _groups),
            quantities=root.get_or("quantities", QUANTITIES[:1], entries.texts),
            origins=root.get("origins", entries.wholes),
            ranks=root.get_or("ranks", (), entries.wholes),
            snapshot=root.get_or("snapshot", SnapshotFormat(), _snapshot),
            sketch=root.get_or("sketch", SketchFormat(), _sketch),
            origin_norm=root.get("origin_norm", entries.number),
            origin_norms=root.get_or("origin_norms", (), entries.numbers),
            id=root.get_or("id", None, entries.optional_text),
            config=root.get("config", entries.mapping),
            seed=root.get("seed", entries.optional_whole),
            host=root.get_or("host", None, entries.optional_text),
            commit=root.get_or("commit", None, entries.optional_text),
            versions=root.get("versions", entries.names),
            resumed=root.get_or("resumed", (), entries.wholes),
            schedules=root.get_or("schedules", (), _schedules),
            others={key: value for key, value in values.items() if key not in _KEYS | STATE_KEYS | {"format"}},
        )


def _parse_snapshot(value: Any) -> SnapshotFormat:
    return SnapshotFormat(**{key: entries.optional_text(value[key]) for key in ("dtype", "compression")})


def _parse_sketch(value: Any) -> SketchFormat:
    if not entries.mapping(value):
        return SketchFormat()
    return SketchFormat(entries.whole(value["buckets"]), entries.whole(value["seed"]))


_specs = Kind("a list of [name, shape, dtype, offset]", lambda value: tuple(map(TensorSpec.from_json, value)))
_groups = Kind("a list of [name, [parameter, ...]]", Groups.from_json)
_schedules = Kind("a list of [step, schedule]", schedules.from_json)
_snapshot = Kind("an object with dtype and compression", _parse_snapshot)
_sketch = Kind("an object with buckets and seed, or an empty one", _parse_sketch)
