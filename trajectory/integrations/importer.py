"""Make a run of existing checkpoints: distances, snapshots, sketches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from trajectory.integrations.checkpoint import CheckpointError, find
from trajectory.integrations.checkpoint_files import load
from trajectory.measure.count_sketch import SEED, count_sketches
from trajectory.measure.observables import Observables, squared_norms
from trajectory.measure.plain_names import names_without_prefixes
from trajectory.measure.tracked_parameters import buffer_specs, weight_specs
from trajectory.measure.weight_copy import accumulator
from trajectory.recording.provenance import provenance
from trajectory.recording.rows import NON_FINITE
from trajectory.schema.layout import Event
from trajectory.schema.metadata import RunMetadata, SketchFormat
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.location import StoreLike, open_backend
from trajectory.storage.opening import create_store

_QUANTITIES = ("distance", "norm")
_STATISTICS = ("running_mean", "running_var")  # the floating-point buffers of normalization layers


def import_checkpoints(
    checkpoints: str | Path | Iterable[str | Path],
    out: StoreLike,
    *,
    steps: Sequence[int] | None = None,
    key: str | None = None,
    snapshots: bool = True,
    sketch: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make a run of checkpoints; `Run` reads it like a recorded one.

    w_0 is the earliest checkpoint, and t counts from it: one of step s, the earliest of step s_0, is recorded
    at t = s − s_0. Recorded are distance and norm, in total and by parameter. What is floating-point counts as
    a parameter, but for running_mean and running_var; tied parameters once.

    In memory are the weights of two checkpoints, in float32 or wider; files are mapped, not read at once.

    Args:
        checkpoints: files and folders, as for `checkpoint.find`.
        out: the run's store.
        steps: the updates made at each checkpoint, as for `checkpoint.find`.
        key: where the weights are in a nested checkpoint, as for `checkpoint_files.load`.
        snapshots: store weights and buffers.
        sketch: K > 0 stores a count sketch of K numbers for each parameter.
        overwrite: replace an existing run.
        progress: called with the number of checkpoints done and that of all.

    Raises:
        CheckpointError: a checkpoint cannot be read, placed in time, or compared with the others. The run holds those
            before it then; its status is `interrupted (import failed)`.
        StoreError: `out` is taken or cannot be written.
    """
    if sketch < 0:
        raise CheckpointError(f"sketch={sketch}: expected the numbers of a sketch, or 0 for none")
    found = find(checkpoints, steps)
    tensors = load(found[0], key)
    weights = _Weights(tensors)
    weights.take(found[0].name, tensors)
    measured = Observables(weights.views, _QUANTITIES)
    config = {"imported": [checkpoint.name for checkpoint in found], "first_step": found[0].step}
    norms = np.sqrt(squared_norms(weights.views))
    for spec, norm in zip(weights.specs, norms, strict=True):
        if not np.isfinite(norm):
            raise CheckpointError(
                f"{found[0].name}: {spec.name} has the norm {norm}; expected finite weights to measure from: leave"
                " this checkpoint out"
            )
    store = create_store(
        open_backend(out),
        RunMetadata(
            parameters=tuple(weights.specs),
            buffers=tuple(weights.buffer_specs),
            tied=weights.tied,
            groups=Groups.single(spec.name for spec in weights.specs),
            quantities=_QUANTITIES,
            sketch=SketchFormat(sketch, SEED) if sketch else SketchFormat(),
            origin_norm=float(np.linalg.norm(norms)),
            origin_norms=tuple(norms.tolist()),
            id=uuid4().hex,
            config=config,
            **provenance(),
        ),
        weight_dtype=str(weights.flat.dtype).removeprefix("torch."),
        buffer_bytes=len(weights.buffers()),
        overwrite=overwrite,
    )
    status, finite = "interrupted (import failed)", True
    try:
        store.append_origin(0, weights.flat.numpy())
        squares = torch.empty(measured.measurements, len(weights.specs), dtype=torch.float64)
        for done, checkpoint in enumerate(found, 1):
            t = checkpoint.step - found[0].step
            if t:
                weights.take(checkpoint.name, load(checkpoint, key))
                measured.write(squares)
                norms = np.sqrt(squares.numpy())
                store.append_rows(np.concatenate([[t], np.linalg.norm(norms, axis=1), norms.ravel()])[None])
                if finite and not np.isfinite(norms).all():
                    finite = False
                    store.append_event(Event(t, NON_FINITE, {}))
            if snapshots:
                store.append_snapshot(t, weights.flat.numpy(), weights.buffers())
            if sketch:
                store.append_sketch(t, count_sketches(weights.pieces(), sketch).numpy())
            if progress is not None:
                progress(done, len(found))
        status = "complete"
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. {out} holds those before it: import all again with overwrite, or elsewhere"
        ) from error
    finally:
        store.close(status)


class _Weights:
    """Room for the buffers and the weights of one checkpoint, the weights flattened as a snapshot holds them.

    Args:
        tensors: the state dict of the first checkpoint; those that follow have to be laid out like it.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        named = _by_plain_name(tensors)
        parameters = {name: tensor for name, tensor in named.items() if _is_parameter(name, tensor)}
        first: dict[Any, str] = {}
        owners = {name: first.setdefault(_identity(tensor), name) for name, tensor in parameters.items()}
        self.tied = {name: owner for name, owner in owners.items() if name != owner}
        self.specs = weight_specs({name: tensor for name, tensor in parameters.items() if name not in self.tied})
        self.buffer_specs = buffer_specs({name: tensor for name, tensor in named.items() if name not in parameters})
        wide = any(accumulator(tensor.dtype) == torch.float64 for tensor in parameters.values())
        self.flat = torch.empty(sum(spec.size for spec in self.specs), dtype=torch.float64 if wide else torch.float32)
        self.views = [self.flat[spec.offset : spec.offset + spec.size].view(spec.shape) for spec in self.specs]

    def take(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Copy a checkpoint's tensors, after checking that they are the first one's in name and shape."""
        self._named = _by_plain_name(tensors)
        known = {spec.name for spec in (*self.specs, *self.buffer_specs)} | self.tied.keys()
        if more := [key for key in self._named if key not in known and _is_parameter(key, self._named[key])]:
            raise CheckpointError(
                f"{name}: {more[0]} is not in the first ({len(more)} such weights); import checkpoints of one network"
            )
        for spec in (*self.specs, *self.buffer_specs):
            tensor = self._named.get(spec.name)
            if tensor is None or tuple(tensor.shape) != spec.shape:
                got = "none" if tensor is None else f"shape {list(tensor.shape)}"
                raise CheckpointError(
                    f"{name}: {spec.name} has {got}, expected {list(spec.shape)} as in the first; "
                    "import checkpoints of one network"
                )
            if tensor.is_floating_point() != getattr(torch, spec.dtype).is_floating_point:
                raise CheckpointError(
                    f"{name}: {spec.name} is {tensor.dtype}, expected torch.{spec.dtype} as in the first; "
                    "import checkpoints of one network"
                )
        for tied, owner in self.tied.items():
            if tied in self._named and not _are_equal(self._named[tied], self._named[owner]):
                raise CheckpointError(
                    f"{name}: {tied} differs from {owner}, with which it is tied in the first; leave the first out, "
                    "or save it with a copy of each"
                )
        for spec, view in zip(self.specs, self.views, strict=True):
            view.copy_(self._named[spec.name])

    def buffers(self) -> np.ndarray:
        """Return the buffers' bytes, as a snapshot holds them."""
        pieces = [
            self._named[spec.name].to(getattr(torch, spec.dtype)).contiguous().reshape(-1).view(torch.uint8)
            for spec in self.buffer_specs
        ]
        return torch.cat([torch.empty(0, dtype=torch.uint8), *pieces]).numpy()

    def pieces(self) -> list[list[tuple[Tensor, int]]]:
        """Return each parameter and its first element's index, as `sketches` takes them."""
        return [[(view, spec.offset)] for view, spec in zip(self.views, self.specs, strict=True)]


def _by_plain_name(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {plain: tensors[name] for name, plain in names_without_prefixes(tensors).items()}


def _is_parameter(name: str, tensor: Tensor) -> bool:
    return tensor.is_floating_point() and name.rpartition(".")[2] not in _STATISTICS


def _are_equal(one: Tensor, other: Tensor) -> bool:
    same = _identity(one) == _identity(other)
    return same or torch.equal(one.nan_to_num(), other.nan_to_num().to(one.dtype))


def _identity(tensor: Tensor) -> Any:
    """Return what is equal for tied tensors: those that share their memory; empty ones are each their own."""
    return (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else id(tensor)
