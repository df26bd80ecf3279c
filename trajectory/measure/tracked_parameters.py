"""What of a model is recorded: its trainable parameters, which of them are measured, and its buffers."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trajectory.measure.observables import accumulator, trainable
from trajectory.recording.snapshot_writer import buffer_specs, buffers, parameter_specs, tied_names, weight_specs
from trajectory.schema.parameter_groups import GroupBy, group


class Subject:
    """The parts of `model` that a recorder deals with, by plain name; group_by, include, exclude as for `Recorder`.

    parameters: all trainable ones; measured: those that distances are taken over, in the same order; groups: how
    these are told apart; specs: where each parameter lies among the weights of a snapshot; dtype: what holds all
    weights exactly, float32 or float64. Raises RecordingError if there is nothing to measure.
    """

    def __init__(
        self,
        model: nn.Module,
        group_by: GroupBy,
        include: str | Iterable[str] | None,
        exclude: str | Iterable[str],
    ):
        self.parameters, self.buffers = trainable(model), buffers(model)
        self.groups = group(self.parameters, group_by, include, exclude)
        chosen = set(self.groups.parameters)
        self.measured = {name: p for name, p in self.parameters.items() if name in chosen}
        self.specs, self.buffer_specs = weight_specs(self.parameters), buffer_specs(self.buffers)
        self.parameter_specs = parameter_specs(model, self.measured)
        self.tied = tied_names(model)
        single = all(accumulator(p.dtype) == torch.float32 for p in self.parameters.values())
        self.dtype = torch.float32 if single else torch.float64

    @property
    def buffer_bytes(self) -> int:
        """The size of all buffers together."""
        return sum(b.numel() * b.element_size() for b in self.buffers.values())

    @property
    def layers(self) -> list[list[tuple[Tensor, int]]]:
        """The parameters of each group, and the index of each one's first element among all weights."""
        first = {spec.name: spec.offset for spec in self.specs}
        return [[(self.parameters[name], first[name]) for name in names] for names in self.groups.members]
