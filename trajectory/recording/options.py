"""What a `Recorder` is told, checked: every refusal is a RecordingError that says what was expected."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from trajectory.errors import RecordingError
from trajectory.measure.observables import accumulator
from trajectory.schema.layout import QUANTITIES
from trajectory.schema.metadata import SnapshotFormat


def hooked(optimizer: Optimizer) -> Optimizer:
    """The optimizer whose steps call hooks: Accelerate's wrapper calls none, the one inside it does."""
    inner = optimizer if hasattr(optimizer, "_optimizer_step_post_hooks") else getattr(optimizer, "optimizer", None)
    if not isinstance(inner, Optimizer):
        raise RecordingError(
            f"got a {type(optimizer).__name__}; expected a torch.optim.Optimizer, whose steps are seen"
        )
    return inner


def further_origins(steps: Iterable[int], most: int, weights: Sequence[Tensor]) -> list[int]:
    """The steps other than 0 to measure from, in order; refused if their copies of `weights` are too many."""
    origins = sorted({int(step) for step in steps} - {0})  # w_0 is always measured from
    if origins and origins[0] < 0:
        raise RecordingError(f"origins={origins}: expected steps from 1 on")
    if len(origins) > most:
        copy = sum(w.numel() * accumulator(w.dtype).itemsize for w in weights)
        raise RecordingError(
            f"{len(origins)} origins keep as many copies of the weights ({len(origins) * copy / 2**20:.0f} MiB);"
            f" expected max_origins={most} at most: choose fewer, or raise max_origins"
        )
    return origins


def snapshot_form(dtype: str, compression: str | None, weights: torch.dtype) -> SnapshotFormat:
    """How snapshots are kept, as the root tells it; weights: the type that holds them exactly."""
    if dtype not in ("float32", "bfloat16"):
        raise RecordingError(f"snapshot_dtype={dtype!r}; expected 'float32' or 'bfloat16'")
    if compression not in (None, "zstd"):
        raise RecordingError(f"compression={compression!r}; expected None or 'zstd'")
    exact = str(weights).removeprefix("torch.")
    return SnapshotFormat(exact if dtype == "float32" else dtype, compression)


def chosen_quantities(names: Iterable[str]) -> list[str]:
    """The chosen quantities in the order of a row."""
    chosen = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in chosen if name not in QUANTITIES]
    if unknown or "distance" not in chosen:
        raise RecordingError(f"quantities={chosen}: expected 'distance' and any of {', '.join(QUANTITIES[1:])}")
    return [name for name in QUANTITIES if name in chosen]


def buckets(sketch: int) -> int:
    """The numbers a sketch keeps for each layer."""
    if sketch < 0:
        raise RecordingError(f"sketch={sketch}: expected the number of buckets, such as 4096, or 0 for none")
    return sketch


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numbers that JSON lacks become text, other objects their `str`."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, (Tensor, np.generic)):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
