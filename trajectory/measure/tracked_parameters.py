"""Which parameters and buffers of a model are recorded, under which names and in which order."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from trajectory.errors import RecordingError
from trajectory.measure.plain_names import plain_names
from trajectory.measure.ranks import is_distributed
from trajectory.measure.sharding import is_dtensor, whole
from trajectory.measure.weight_copy import accumulator, has_memory
from trajectory.schema.layout import TensorSpec
from trajectory.schema.parameter_groups import GroupBy, Groups, group
from trajectory.schema.parameter_groups import chosen as chosen_names


@dataclass(frozen=True)
class TrackedParameters:
    """The parameters and buffers of a model that are recorded, by plain name in the model's order.

    Attributes:
        parameters: All trainable parameters; a tied one stands once.
        measured: Those of them that distances are taken over.
        frozen: The parameters that distances would be taken over if they were trainable.
        groups: The groups of these that are measured apart.
        buffers: The buffers of the model's state dict.
        tied: Further names of tied parameters, and the name each is recorded under.
    """

    parameters: dict[str, nn.Parameter]
    measured: dict[str, nn.Parameter]
    frozen: Mapping[str, nn.Parameter]
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
        *,
        frozen: bool = False,
        recorded: Collection[str] | None = None,
    ) -> "TrackedParameters":
        """Choose the parameters of a model.

        Args:
            model: The model, which may be compiled or wrapped.
            group_by: How parameters are grouped, as `Recorder` takes it.
            include: Patterns of names to measure, as `Recorder` takes them.
            exclude: Patterns of names to leave out.
            frozen: Whether frozen parameters are recorded as trainable ones are.
            recorded: The names of the parameters that a run to be resumed holds, which are taken for the trainable
                ones; None for a new run.

        Returns:
            The chosen parameters.

        Raises:
            RecordingError: There is nothing to measure, or a parameter is complex, or one to measure is of a kind
                that distances cannot be taken of.
        """
        parameters = trainable(model, frozen=frozen, recorded=recorded)
        others = {name: p for name, p in _floating(model).items() if name not in parameters}
        groups = group(parameters, group_by, include, exclude, frozen=others)
        chosen = set(groups.parameters)
        for name in groups.parameters:
            if fault := _without_weights(parameters[name]) or _not_measurable(parameters[name]):
                raise RecordingError(f"parameter {name} {fault}; or leave it out by exclude=")
        parameters = {name: p for name, p in parameters.items() if name in chosen or not _without_weights(p)}
        if not any(p.numel() for p in parameters.values()):
            raise RecordingError("all trainable parameters are empty; expected one at least with weights")
        measured = {name: parameters[name] for name in parameters if name in chosen}
        later = {
            name: others[name]
            for name in chosen_names(others, include, exclude)
            if not (_without_weights(others[name]) or _not_measurable(others[name]))
        }
        return cls(parameters, measured, later, groups, buffers(model), tied_names(model, parameters))

    def replace(self, name: str, parameter: nn.Parameter) -> None:
        """Record another parameter under a name.

        Args:
            name: The name.
            parameter: The parameter, of the same shape as the one before.
        """
        self.parameters[name] = parameter
        if name in self.measured:
            self.measured[name] = parameter

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


def _without_weights(parameter: Tensor) -> str | None:
    """Say why no snapshot can hold a parameter, and what to do; None if one can."""
    if is_lazy(parameter):
        return "has no shape yet; run the model on a batch before it is recorded"
    if parameter.is_meta:
        return "is on the meta device, without weights; materialize it before it is recorded"
    if parameter.layout != torch.strided:
        return f"has the layout {parameter.layout}; expected dense weights: record its to_dense()"
    if not (has_memory(parameter) or (is_distributed() and is_dtensor(parameter))):
        kind = type(parameter.data).__name__
        return f"is a {kind} whose weights lie in no memory of its own; record the weights that it stands for"
    return None


def _not_measurable(parameter: Tensor) -> str | None:
    """Say why distances cannot be taken of a parameter, and what to do; None if they can."""
    if parameter.dtype.itemsize == 1:
        return f"is {parameter.dtype}; expected 16 bits a weight or more: record the weights it is rounded from"
    if any(stride == 0 and size > 1 for stride, size in zip(parameter.stride(), parameter.shape, strict=True)):
        return "is expanded, so that several weights share one place; expected one place each: clone() it"
    return None


def trainable(
    model: nn.Module, *, frozen: bool = False, recorded: Collection[str] | None = None
) -> dict[str, nn.Parameter]:
    """List the parameters that a distance is taken over.

    Args:
        model: The model, which may be compiled or wrapped.
        frozen: Whether frozen parameters of real weights are among them.
        recorded: The names to list, whatever is frozen; None for all.

    Returns:
        The parameters by plain name in the model's order; a tied one stands once.

    Raises:
        RecordingError: There are none, or one is complex.
    """
    plain = plain_names(model)
    own = {plain(name): p for name, p in model.named_parameters()}
    if recorded is None:
        parameters = {name: p for name, p in own.items() if p.requires_grad or (frozen and p.is_floating_point())}
    else:
        parameters = {name: p for name, p in own.items() if name in recorded}
    if recorded and not parameters:
        raise RecordingError(
            f"the run holds parameters such as {next(iter(recorded))}, and the model those such as"
            f" {next(iter(own), 'none')}; resume with the network that was recorded, or record to another path"
        )
    if not parameters:
        raise RecordingError("the model has no trainable parameters; expected one at least with requires_grad=True")
    for name, parameter in parameters.items():
        if not parameter.is_floating_point():
            raise RecordingError(f"parameter {name} is {parameter.dtype}; expected real floating-point weights")
    return parameters


def _floating(model: nn.Module) -> dict[str, nn.Parameter]:
    plain = plain_names(model)
    return {plain(name): p for name, p in model.named_parameters() if p.is_floating_point()}


def buffers(model: nn.Module) -> dict[str, Tensor]:
    """List the buffers of a model's state dict, such as batch-norm statistics.

    Args:
        model: The model; every rank must call this if it is sharded.

    Returns:
        The whole buffers by plain name.
    """
    plain = plain_names(model)
    parameters = {plain(name) for name, _ in model.named_parameters(remove_duplicate=False)}
    state = {plain(name): value for name, value in model.state_dict(keep_vars=True).items()}
    return {
        name: whole(value) for name, value in state.items() if name not in parameters and isinstance(value, Tensor)
    }


def tied_names(model: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, str]:
    """List further names of tied parameters.

    Args:
        model: The model, which may be compiled or wrapped.
        parameters: The recorded parameters by name.

    Returns:
        Each further name, and the name that its parameter is recorded under.
    """
    plain = plain_names(model)
    names = {id(parameter): name for name, parameter in parameters.items()}
    return {
        plain(name): names[id(parameter)]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in names and names[id(parameter)] != plain(name)
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
