"""`RunMetadata`: what a store's root says of a run, but for the state of its recording (`Commit`)."""

from collections.abc import Collection, Mapping, Sequence
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
        *("id", "config", "optimizer", "seed", "host", "commit", "versions", "resumed", "ranks", "snapshot"),
        *("sketch", "tied", "parameters", "buffers", "layers", "quantities", "origins", "schedules"),
        *("origin_norm", "origin_norms"),
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
        optimizer: the settings that its optimizers' groups shared at the start.
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
    optimizer: Mapping[str, Any] = field(default_factory=dict)
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

    @property
    def settings(self) -> dict[str, Any]:
        """What `config` says of the run, and what it leaves to the optimizers to say."""
        return {**self.optimizer, **self.config}

    def to_json(self) -> dict[str, Any]:
        """Return the entries in the root's `ultraslow` attribute."""
        made = {
            "id": self.id,
            "config": dict(self.config),
            "optimizer": dict(self.optimizer),
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
            "optimizer": not self.optimizer,
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
        parameters = root.get("parameters", _flat)
        buffers = root.get("buffers", _specs)
        groups = root.get_or("layers", Groups.single(spec.name for spec in parameters), _groups_of(parameters))
        return RunMetadata(
            parameters=parameters,
            buffers=buffers,
            tied=root.get("tied", _tied_to({spec.name for spec in (*parameters, *buffers)})),
            groups=groups,
            quantities=root.get_or("quantities", QUANTITIES[:1], _quantities),
            origins=root.get_or("origins", (), _origins),
            ranks=root.get_or("ranks", (), _ranks),
            snapshot=root.get_or("snapshot", SnapshotFormat(), _snapshot),
            sketch=root.get_or("sketch", SketchFormat(), _sketch),
            origin_norm=root.get("origin_norm", entries.number),
            origin_norms=root.get_or("origin_norms", (), _norms_of(groups)),
            id=root.get_or("id", None, entries.optional_text),
            config=root.get("config", entries.mapping),
            optimizer=root.get_or("optimizer", {}, entries.mapping),
            seed=root.get("seed", entries.optional_whole),
            host=root.get_or("host", None, entries.optional_text),
            commit=root.get_or("commit", None, entries.optional_text),
            versions=root.get("versions", entries.names),
            resumed=root.get_or("resumed", (), entries.counts),
            schedules=root.get_or("schedules", (), _schedules),
            others={key: value for key, value in values.items() if key not in _KEYS | STATE_KEYS | {"format"}},
        )


def _parse_snapshot(value: Any) -> SnapshotFormat:
    dtype, compression = (entries.optional_text(value[key]) for key in ("dtype", "compression"))
    if dtype not in (None, "float32", "float64", "bfloat16") or compression not in (None, "zstd"):
        raise ValueError
    return SnapshotFormat(dtype, compression)


def _parse_sketch(value: Any) -> SketchFormat:
    if not entries.mapping(value):
        return SketchFormat()
    return SketchFormat(entries.count(value["buckets"]), entries.whole(value["seed"]))


def _parse_specs(value: Any) -> tuple[TensorSpec, ...]:
    specs = tuple(map(TensorSpec.from_json, value))
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError
    return specs


def _parse_flat(value: Any) -> tuple[TensorSpec, ...]:
    """Parse tensors that lie one behind the other."""
    specs, end = _parse_specs(value), 0
    for spec in specs:
        if spec.offset != end:
            raise ValueError
        end += spec.size
    return specs


def _parse_quantities(value: Any) -> tuple[str, ...]:
    quantities = entries.texts(value)
    if quantities != tuple(name for name in QUANTITIES if name in ("distance", *quantities)):
        raise ValueError
    return quantities


def _parse_ascending(value: Any, first: int) -> tuple[int, ...]:
    numbers = entries.counts(value)
    if not entries.in_order(numbers, first):
        raise ValueError
    return numbers


def _groups_of(parameters: Sequence[TensorSpec]) -> Kind[Groups]:
    known = {spec.name for spec in parameters}

    def parse(value: Any) -> Groups:
        groups = Groups.from_json(value)
        members = groups.parameters
        if not known.issuperset(members) or len(set(members)) < len(members):
            raise ValueError
        if len(set(groups.names)) < len(groups.names):
            raise ValueError
        return groups

    return Kind("a list of [name, [parameter, ...]], each name and each of the parameters once", parse)


def _tied_to(tensors: Collection[str]) -> Kind[Mapping[str, str]]:
    def parse(value: Any) -> Mapping[str, str]:
        tied = entries.names(value)
        if not set(tied.values()) <= set(tensors):
            raise ValueError
        return tied

    return Kind("an object of named strings, each the name of a parameter or buffer", parse)


def _norms_of(groups: Groups) -> Kind[tuple[float, ...]]:
    def parse(value: Any) -> tuple[float, ...]:
        norms = entries.numbers(value)
        if len(norms) not in (0, len(groups.names)):
            raise ValueError
        return norms

    return Kind("a number for each layer", parse)


_specs = Kind("a list of [name, shape, dtype, offset], each name once", _parse_specs)
_flat = Kind("a list of [name, shape, dtype, offset], each name once and each tensor behind the last", _parse_flat)
_quantities = Kind(f"some of {', '.join(QUANTITIES)} in this order, the distance among them", _parse_quantities)
_origins = Kind("a list of increasing whole numbers from 1 on", lambda value: _parse_ascending(value, 1))
_ranks = Kind("a list of increasing whole numbers from 0 on", lambda value: _parse_ascending(value, 0))
_schedules = Kind("a list of [step, schedule]", schedules.from_json)
_snapshot = Kind("an object with dtype and compression (null or zstd)", _parse_snapshot)
_sketch = Kind("an object with buckets and seed, or an empty one", _parse_sketch)
