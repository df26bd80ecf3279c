"""What a loss depends on besides the trainable weights: buffers, as running statistics are, and frozen parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from analysis.errors import LandscapeError
from analysis.landscape.evaluation import Statistics, has_running_statistics
from analysis.landscape.flat_weights import BUILD


@dataclass(frozen=True, eq=False)
class FixedState:
    """Buffers and frozen parameters of a model, by its own names.

    Attributes:
        buffers: copies of the buffers.
        frozen: the frozen parameters, which share the model's memory until a state dict brings others.
        plain: the names without prefixes of wrappers, as state dicts have them.
        statistics: the plain names of running statistics.
    """

    buffers: Mapping[str, Tensor]
    frozen: Mapping[str, Tensor]
    plain: Mapping[str, str]
    statistics: frozenset[str]

    @classmethod
    def of(cls, model: nn.Module, plain: Callable[[str], str]) -> "FixedState":
        """Take the state that a model has.

        Args:
            model: the network.
            plain: its names without prefixes of wrappers.

        Returns:
            The state.
        """
        buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
        frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
        normalizing = [path for path, module in model.named_modules() if has_running_statistics(module)]
        running = {f"{path}.{name}".removeprefix(".") for path in normalizing for name in _RUNNING}
        names = {name: plain(name) for name in (*buffers, *frozen)}
        return cls(buffers, frozen, names, frozenset(names[name] for name in running if name in names))

    def brought_by(self, state: Mapping[str, Tensor], statistics: Statistics) -> "FixedState":
        """Take from a state dict what it holds of this; the rest stays.

        Args:
            state: tensors by plain name.
            statistics: "running" or "batch"; with the former the running statistics have to be among them.

        Returns:
            The state, in the model's types and on its device.

        Raises:
            LandscapeError: where running statistics are missing, or a shape is another.
        """
        missing = sorted(self.statistics - state.keys())
        if missing and statistics == "running":
            raise LandscapeError(
                f"the weights come without {missing[0]}, and running statistics belong to the weights; give the whole"
                " state dict, or take statistics='batch'"
            )
        return FixedState(
            {name: self._from(state, name, buffer) for name, buffer in self.buffers.items()},
            {name: self._from(state, name, parameter) for name, parameter in self.frozen.items()},
            self.plain,
            self.statistics,
        )

    def frozen_apart(self, other: "FixedState") -> str:
        """Return the plain name of a frozen parameter that differs from another state's; empty where none does.

        Args:
            other: a state of the same model.
        """
        apart = (name for name, p in self.frozen.items() if not torch.equal(p, other.frozen[name]))
        return self.plain.get(next(apart, ""), "")

    def for_one_evaluation(self) -> dict[str, Tensor]:
        """Return all tensors by the model's own names, the buffers as copies that the model may change."""
        return {**self.frozen, **{name: buffer.clone() for name, buffer in self.buffers.items()}}

    def _from(self, state: Mapping[str, Tensor], name: str, own: Tensor) -> Tensor:
        given = state.get(self.plain[name])
        if given is None:
            return own
        if given.shape != own.shape:
            there, here = tuple(given.shape), tuple(own.shape)
            raise LandscapeError(
                f"the weights do not fit the model: {self.plain[name]} is {there}, not {here}; {BUILD}"
            )
        return given.detach().to(own).clone()


_RUNNING = ("running_mean", "running_var")
