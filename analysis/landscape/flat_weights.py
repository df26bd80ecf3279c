"""How a model's trainable parameters lie in one flat vector of weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from analysis.errors import LandscapeError
from trajectory.measure.tracked_parameters import tied_names, trainable

BUILD = "build the network that was recorded"


class FlatWeights:
    """The order, shapes and types of a model's trainable parameters; tied ones stand once.

    Args:
        model: the network.

    Attributes:
        full_names: the names under which the model itself has the parameters.
        count: the number of weights.
        device: where they are.
        coarsest: the type among them that rounds most.

    Raises:
        LandscapeError: where a parameter is sharded or has no weights yet, and for DataParallel and scripts.
    """

    def __init__(self, model: nn.Module):
        if isinstance(model, nn.DataParallel):
            raise LandscapeError("got nn.DataParallel; expected the network in it: give model.module")
        if isinstance(model, torch.jit.ScriptModule):
            raise LandscapeError("got a scripted model; expected the nn.Module that it was made of")
        self._parameters = trainable(model)
        for name, parameter in self._parameters.items():
            if hasattr(parameter, "to_local"):
                raise LandscapeError(f"parameter {name} is sharded; expected whole weights: gather the model first")
            if is_lazy(parameter) or parameter.is_meta:
                raise LandscapeError(
                    f"parameter {name} has no weights yet; run the model on a batch, or materialize it, first"
                )
        self._tied = tied_names(model, self._parameters)
        self.full_names = [name for name, p in model.named_parameters() if p.requires_grad]
        self._own = list(self._parameters.values())
        self._sizes = [p.numel() for p in self._own]
        self.count = sum(self._sizes)
        self.device = self._own[0].device
        self.coarsest = max((p.dtype for p in self._own), key=lambda dtype: torch.finfo(dtype).eps)

    def as_they_stand(self) -> Tensor:
        """Return the model's own weights, (weight,), as a copy."""
        return self.flat({name: p.detach() for name, p in self._parameters.items()})

    def flat(self, state: Mapping[str, Tensor]) -> Tensor:
        """Join the trainable parameters of a state dict to one vector, in the model's order.

        Args:
            state: tensors by name.

        Returns:
            (weight,), in the model's type and on its device.

        Raises:
            LandscapeError: where a parameter is missing, has another shape, is sharded, or tied in the model alone.
        """
        state = {**{self._tied[other]: w for other, w in state.items() if other in self._tied}, **state}
        for name, own in self._parameters.items():
            if name not in state and f"module.{name}" in state:
                raise LandscapeError(
                    f"the weights name {name} module.{name}, as a wrapper of the model does; expected its own names:"
                    " take model.module.state_dict()"
                )
            if name not in state:
                raise LandscapeError(
                    f"the weights lack {name}, a trainable parameter of the model: it was frozen when they were"
                    " recorded, or left out; freeze it in the model too (requires_grad_(False))"
                )
            if not isinstance(state[name], Tensor):
                raise LandscapeError(f"the weights hold {name} as {type(state[name]).__name__}; expected tensors")
            if state[name].shape != own.shape:
                there, here = tuple(state[name].shape), tuple(own.shape)
                raise LandscapeError(f"the weights do not fit the model: {name} is {there}, not {here}; {BUILD}")
            if hasattr(state[name], "to_local"):
                raise LandscapeError(f"the weights hold a shard of {name}; expected whole weights: gather them first")
        for other, name in self._tied.items():
            if other in state and not torch.equal(state[other], state[name]):
                raise LandscapeError(
                    f"the weights differ in {name} and {other}, which are one parameter of the model; {BUILD}"
                )
        return torch.cat([state[name].detach().to(own).reshape(-1) for name, own in self._parameters.items()])

    def split(self, v: Tensor) -> list[Tensor]:
        """Split a vector into the parameters' shapes and types; what has their type already shares its memory.

        Args:
            v: (weight,).

        Returns:
            The parts, in the model's order.

        Raises:
            LandscapeError: where the vector has another length.
        """
        parts = self.checked(v).split(self._sizes)
        return [part.view(p.shape).to(p.dtype) for part, p in zip(parts, self._own, strict=True)]

    def by_name(self, v: Tensor) -> dict[str, Tensor]:
        """Return the parts of a vector, as `split` makes them, by the parameters' names.

        Args:
            v: (weight,).
        """
        return dict(zip(self._parameters, self.split(v), strict=True))

    def checked(self, v: Tensor) -> Tensor:
        """Return a vector on the weights' device.

        Args:
            v: (weight,).

        Raises:
            LandscapeError: where it has another length.
        """
        if not isinstance(v, Tensor) or v.shape != (self.count,):
            got = f"a vector of shape {tuple(v.shape)}" if isinstance(v, Tensor) else f"a {type(v).__name__}"
            raise LandscapeError(f"got {got}; expected a tensor of shape ({self.count},), a number a weight")
        return v.to(self.device)
