"""Buffers as snapshots hold them: in the places, shapes and types that they had when the run began."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trajectory.measure.plain_names import plain_names
from trajectory.measure.tracked_parameters import TrackedParameters, buffers
from trajectory.recording.optimizers import first_names

Changes = dict[str, list[str]]


class BufferLayout:
    """The places of a model's buffers, and what has become of the tensors that they were made for.

    Args:
        model: The model, as it is when the run begins or is resumed.
        tracked: Its parameters and buffers.
    """

    def __init__(self, model: nn.Module, tracked: TrackedParameters):
        self._model, self._weights = model, tracked.parameters
        self._dtype, self._specs = tracked.dtype, tracked.buffer_specs
        self._known = {*tracked.buffers, *self._parameters()}
        self._own = list(model.parameters())  # held, so that no other tensor gets their identities

    def now(self, device: torch.device) -> tuple[Tensor, Changes]:
        """Lay the buffers out as they are now.

        Args:
            device: Where to.

        Returns:
            Their bytes, zeros where a buffer is missing (uint8, flat); and, where there are any, the names of
            `missing` buffers, those that are gone or have another shape or kind, of `rounded` tensors, and of `new`
            ones, which have no place.
        """
        found = buffers(self._model)
        pieces = [torch.empty(0, dtype=torch.uint8, device=device)]
        missing, rounded = [], self._rounded_weights()
        for spec in self._specs:
            dtype, value = getattr(torch, spec.dtype), found.get(spec.name)
            if value is None or tuple(value.shape) != spec.shape or not _fits(value.dtype, dtype):
                missing.append(spec.name)
                value = torch.zeros(spec.shape, dtype=dtype, device=device)
            elif not _holds(dtype, value.dtype):
                rounded.append(spec.name)
            pieces.append(value.detach().to(device, dtype).contiguous().reshape(-1).view(torch.uint8))
        own = set(map(id, self._own))
        there = found | {name: p for name, p in self._parameters().items() if id(p) not in own}
        new = [name for name in there if name not in self._known]
        changes = {"missing": missing, "rounded": rounded, "new": new}
        return torch.cat(pieces), {kind: names for kind, names in changes.items() if names}

    def _parameters(self) -> dict[str, nn.Parameter]:
        plain = plain_names(self._model)
        return {plain(name): p for name, p in self._model.named_parameters(remove_duplicate=False)}

    def _rounded_weights(self) -> list[str]:
        return [name for name, p in self._weights.items() if not _holds(self._dtype, p.dtype)]


def describe_changes(changes: Mapping[str, Sequence[str]]) -> str:
    """Say in words what snapshots hold otherwise than the model.

    Args:
        changes: As `BufferLayout.now` returns them, not empty.

    Returns:
        The end of a sentence on snapshots.
    """
    words = {
        "missing": "lack buffers that are gone or have another shape or type than at the start",
        "rounded": "hold rounded what has a wider type than at the start",
        "new": "lack what is new",
    }
    return "; ".join(f"{words[kind]}: {first_names(names)}" for kind, names in changes.items())


def _fits(dtype: torch.dtype, place: torch.dtype) -> bool:
    """Return whether numbers of a type are numbers of another one, rounded perhaps."""
    return _holds(place, dtype) or (dtype.is_floating_point and place.is_floating_point)


def _holds(place: torch.dtype, dtype: torch.dtype) -> bool:
    """Return whether a type holds every number of another one exactly."""
    if place.is_floating_point and dtype.is_floating_point:  # torch promotes no float8
        return place == dtype or place.itemsize > dtype.itemsize
    return torch.promote_types(dtype, place) == place
