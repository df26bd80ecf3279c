"""The arguments of a `Recorder`, checked: every refusal is a RecordingError that says what was expected."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from math import isfinite
from operator import index
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from trajectory.errors import RecordingError, kind_and_message
from trajectory.measure.weight_copy import accumulator
from trajectory.recording.resume import Resume
from trajectory.recording.writer_thread import OnError
from trajectory.schedule import Every, Schedule
from trajectory.schema.layout import QUANTITIES
from trajectory.schema.parameter_groups import GroupBy
from trajectory.signals import is_raised_by_handler
from trajectory.storage.plain_json import DEEPEST

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch.distributed import ProcessGroup
    from typing_extensions import TypeIs

SnapshotDtype = Literal["float32", "bfloat16"]
Compression = Literal["zstd"]
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """The options of a recording, as `Recorder` documents them; steps and quantities are sorted.

    Attributes:
        schedule: The steps that are recorded.
        quantities: The recorded quantities, in the order of a row.
        group_by: How parameters are grouped.
        include: Patterns of the names to measure; None for all.
        exclude: Patterns of the names to leave out.
        frozen: Whether frozen parameters are recorded as trainable ones are.
        snapshots: The steps whose weights and buffers are saved.
        snapshot_dtype: The type of the weights in a snapshot.
        compression: How snapshots are compressed; None if they are not.
        origins: The steps other than 0 that distances are measured from.
        max_origins: The largest number of such steps.
        sketch: The buckets of a sketch; 0 for no sketches.
        sketches: The steps that sketches are taken at.
        config: The user's description of the run.
        settings: What is known of the optimizers beside it.
        seed: The run's seed.
        overwrite: Whether a run at the path is replaced.
        resume: Whether a run at the path is resumed.
        step: The number of updates that the model has made; None if a state is going to be loaded.
        on_error: What a failure of the disk does.
        process_group: The ranks that train the model; None for all.
        capturable: Whether the optimizer's step may be captured in a CUDA graph.
        durable: Whether every flushed block survives a power cut.
    """

    schedule: Schedule
    quantities: tuple[str, ...]
    group_by: GroupBy
    include: str | Iterable[str] | None
    exclude: str | Iterable[str]
    frozen: bool
    snapshots: Schedule
    snapshot_dtype: SnapshotDtype
    compression: Compression | None
    origins: tuple[int, ...]
    max_origins: int
    sketch: int
    sketches: Schedule
    config: "Mapping[str, Any] | DataclassInstance | None"
    settings: Mapping[str, Any]
    seed: int | None
    overwrite: bool
    resume: Resume
    step: int | None
    on_error: OnError
    process_group: "ProcessGroup | None"
    capturable: bool
    durable: bool

    def __post_init__(self) -> None:
        if self.on_error not in get_args(OnError):
            raise RecordingError(f"on_error={self.on_error!r}; expected 'raise' or 'warn'")
        if self.capturable and (self.schedule != Every(1) or self.origins):
            raise RecordingError("capturable=True with a schedule or origins; give neither: a graph stays as it is")
        if not isinstance(self.sketch, int) or self.sketch < 0:
            raise RecordingError(
                f"sketch={self.sketch!r}: expected the number of buckets, such as 4096, or 0 for none"
            )
        if self.seed is not None and not hasattr(self.seed, "__index__"):
            raise RecordingError(f"seed={self.seed!r}: expected a whole number, or None")
        for name, patterns in (("include", self.include), ("exclude", self.exclude)):
            if not isinstance(patterns, Iterable | None):
                raise RecordingError(
                    f"{name}={patterns!r}: expected a pattern of names, such as '*.bias', or several"
                )
        if self.snapshot_dtype not in get_args(SnapshotDtype):
            raise RecordingError(f"snapshot_dtype={self.snapshot_dtype!r}; expected 'float32' or 'bfloat16'")
        if self.compression not in (None, *get_args(Compression)):
            raise RecordingError(f"compression={self.compression!r}; expected None or 'zstd'")
        if self.origins and self.origins[0] < 0:
            raise RecordingError(f"origins={list(self.origins)}: expected steps from 1 on")
        if not (self.config is None or isinstance(self.config, Mapping) or _is_dataclass_instance(self.config)):
            raise RecordingError(
                f"config is a {type(self.config).__name__}; expected a mapping, such as vars(config), or a dataclass"
            )

    def stored_config(self) -> dict[str, Json]:
        """Return the user's description of the run as JSON can hold it."""
        config = self.config or {}
        entries = config if isinstance(config, Mapping) else asdict(config)
        return {str(key): to_jsonable(value) for key, value in entries.items()}

    def stored_seed(self) -> int | None:
        """Return the seed as JSON can hold it."""
        return None if self.seed is None else index(self.seed)

    def stored_dtype(self, exact: torch.dtype) -> torch.dtype:
        """Return the type of the weights in a snapshot.

        Args:
            exact: The type that holds the model's weights exactly.
        """
        return torch.bfloat16 if self.snapshot_dtype == "bfloat16" else exact

    def check_origins(self, weights: Sequence[Tensor]) -> None:
        """Check that the copies of the weights at the origins are not too many.

        Args:
            weights: The measured weights.

        Raises:
            RecordingError: There are more than `max_origins`; the message says how much memory they would take.
        """
        if len(self.origins) > self.max_origins:
            copy = sum(w.numel() * accumulator(w.dtype).itemsize for w in weights)
            raise RecordingError(
                f"{len(self.origins)} origins keep as many copies of the weights"
                f" ({len(self.origins) * copy / 2**20:.0f} MiB); expected max_origins={self.max_origins} at most:"
                " choose fewer, or raise max_origins"
            )


def sorted_quantities(names: str | Iterable[str], optimizers: Sequence[Optimizer]) -> tuple[str, ...]:
    """Sort the chosen quantities.

    Args:
        names: One name or several.
        optimizers: Those whose steps are counted.

    Returns:
        The names in the order of a row.

    Raises:
        RecordingError: A name is unknown, the distance is missing, or there is no optimizer to keep momentum.
    """
    chosen = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    unknown = [name for name in chosen if name not in QUANTITIES]
    if unknown or "distance" not in chosen:
        raise RecordingError(f"quantities={chosen}: expected 'distance' and any of {', '.join(QUANTITIES[1:])}")
    if "momentum_norm" in chosen and not optimizers:
        raise RecordingError("momentum_norm without an optimizer, which keeps the momentum; give it to the Recorder")
    return tuple(name for name in QUANTITIES if name in chosen)


def to_jsonable(value: object) -> Json:
    """Turn a value into what JSON can hold.

    Args:
        value: A mapping, a dataclass, a collection, a number, a tensor, or any other object.

    Returns:
        The value in plain types. Numbers that JSON lacks become text, other objects their `str`.

    Raises:
        RecordingError: The value holds itself, is nested so deeply that no store takes it, or holds something that
            has no text.
    """
    try:
        return _to_jsonable(value, DEEPEST // 2)
    except RecursionError as error:
        raise RecordingError(
            f"got a {type(value).__name__} that holds itself, or is nested too deeply; expected what JSON can hold"
        ) from error
    except Exception as error:  # an object's own `__str__`, or torch's for a tensor whose numbers cannot be had
        if is_raised_by_handler(error):
            raise
        raise RecordingError(
            f"got a {type(value).__name__} that has no text ({kind_and_message(error)}); expected what JSON can hold"
        ) from error


def _to_jsonable(value: object, depth: int) -> Json:
    if not depth:
        raise RecursionError
    if _is_dataclass_instance(value):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _to_jsonable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (Tensor, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_to_jsonable(item, depth - 1) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _is_dataclass_instance(value: object) -> "TypeIs[DataclassInstance]":
    return is_dataclass(value) and not isinstance(value, type)
