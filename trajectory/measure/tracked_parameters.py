"""Which parameters and buffers of a model are recorded, under which names and in which order."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trajectory.errors import RecordingError
from trajectory.measure.observables import accumulator
from trajectory.measure.sharding import whole
from trajectory.schema.layout import TensorSpec
from trajectory.schema.parameter_groups import GroupBy, Groups, group

_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel's and torch.compile's


@dataclass(frozen=True)
class TrackedParameters:
    """The parameters and buffers of a model that are recorded, by plain name in the model's order.

    Attributes:
        parameters: All trainable parameters; a tied one stands once.
        measured: Those of them that distances are taken over.
        groups: The groups of these that are measured apart.
        buffers: The buffers of the model's state dict.
        tied: Further names of tied parameters, and the name each is recorded under.
    """

    parameters: Mapping[str, nn.Parameter]
    measured: Mapping[str, nn.Parameter]
    groups: Groups
    buffers: Mapping[str, Tensor]
    tied: Mapping[str, str]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        group_by: GroupBy = "parameter",
        include: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] = (),
    ) -> "TrackedParameters":
        """Choose the parameters of a model.

        Args:
            model: The model, which may be compiled or wrapped.
            group_by: How parameters are grouped, as `Recorder` takes it.
            include: Patterns of names to measure, as `Recorder` takes them.
            exclude: Patterns of names to leave out.

        Returns:
            The chosen parameters.

        Raises:
            RecordingError: There is nothing to measure, or a parameter is complex.
        """
        parameters = trainable(model)
        groups = group(parameters, group_by, include, exclude)
        chosen = set(groups.parameters)
        measured = {name: p for name, p in parameters.items() if name in chosen}
        return cls(parameters, measured, groups, buffers(model), tied_names(model))

    @property
    def specs(self) -> list[TensorSpec]:
        """Where each parameter lies among the weights of a snapshot."""
        return weight_specs(self.parameters)

    @property
    def buffer_specs(self) -> list[TensorSpec]:
        """Where each buffer lies among the bytes of a snapshot."""
        return buffer_specs(self.buffers)

    @property
    def buffer_bytes(self) -> int:
        """The size of all buffers together, in bytes."""
        return sum(b.numel() * b.element_size() for b in self.buffers.values())

    @property
    def dtype(self) -> torch.dtype:
        """The type that holds all weights exactly: float32 or float64."""
        single = all(accumulator(p.dtype) == torch.float32 for p in self.parameters.values())
        return torch.float32 if single else torch.float64

    @property
    def parameter_specs(self) -> dict[str, Any]:
        """Names, shapes and types of the measured parameters, as `Run.parameter_specs` gives them back."""
        return _parameter_specs(self.specs, self.measured)

    @property
    def layers(self) -> list[list[tuple[Tensor, int]]]:
        """Each group's parameters, and the number of each one's first element among all weights."""
        first = {spec.name: spec.offset for spec in self.specs}
        return [[(self.parameters[name], first[name]) for name in names] for names in self.groups.members]


def plain_name(name: str) -> str:
    """Return a parameter's name without the prefixes of wrappers around (parts of) the model.

    Args:
        name: The name as `named_parameters` gives it.
    """
    for prefix in _WRAPPERS:
        name = name.removeprefix(prefix).replace(f".{prefix}", ".")
    return name


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """List the parameters that a distance is taken over.

    Args:
        model: The model, which may be compiled or wrapped.

    Returns:
        The parameters by plain name in the model's order; a tied one stands once.

    Raises:
        RecordingError: There are none, or one is complex.
    """
    parameters = {plain_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise RecordingError("the model has no trainable parameters; expected one at least with requires_grad=True")
    for name, parameter in parameters.items():
        if not parameter.is_floating_point():
            raise RecordingError(f"parameter {name} is {parameter.dtype}; expected real floating-point weights")
    return parameters


def buffers(model: nn.Module) -> dict[str, Tensor]:
    """List the buffers of a model's state dict, such as batch-norm statistics.

    Args:
        model: The model; every rank must call this if it is sharded.

    Returns:
        The whole buffers by plain name.
    """
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = model.state_dict(keep_vars=True)
    return {
        plain_name(name): whole(value)
        for name, value in state.items()
        if name not in parameters and isinstance(value, Tensor)
    }


def tied_names(model: nn.Module) -> dict[str, str]:
    """List further names of tied trainable parameters.

    Args:
        model: The model, which may be compiled or wrapped.

    Returns:
        Each further name, and the name that its parameter is recorded under.
    """
    names = {id(parameter): name for name, parameter in trainable(model).items()}
    return {
        plain_name(name): names[id(parameter)]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in names and names[id(parameter)] != plain_name(name)
    }


def weight_specs(parameters: Mapping[str, Tensor]) -> list[TensorSpec]:
    """Lay parameters out one after the other in the flat array of a snapshot.

    Args:
        parameters: The parameters by name.

    Returns:
        Their places, counted in elements.
    """
    return _laid_out(parameters, lambda tensor: tensor.numel())


def buffer_specs(buffers: Mapping[str, Tensor]) -> list[TensorSpec]:
    """Lay buffers out one after the other in the bytes of a snapshot.

    Args:
        buffers: The buffers by name.

    Returns:
        Their places, counted in bytes.
    """
    return _laid_out(buffers, lambda tensor: tensor.numel() * tensor.element_size())


def parameter_specs(model: nn.Module) -> dict[str, Any]:
    """Return names, shapes and types of a model's trainable parameters, as `Run.parameter_specs` gives them back.

    Args:
        model: The model, which may be compiled or wrapped.
    """
    parameters = trainable(model)
    return _parameter_specs(weight_specs(parameters), parameters)


def _parameter_specs(specs: Iterable[TensorSpec], measured: Collection[str]) -> dict[str, Any]:
    return {"parameters": [[spec.name, list(spec.shape), spec.dtype] for spec in specs if spec.name in measured]}


def _laid_out(tensors: Mapping[str, Tensor], size: Callable[[Tensor], int]) -> list[TensorSpec]:
    specs, offset = [], 0
    for name, tensor in tensors.items():
        specs.append(TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), offset))
        offset += size(tensor)
    return specs
