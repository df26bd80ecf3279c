"""The state of a model while its loss is measured: which statistics normalize, and no dropout."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from analysis.landscape.random_state import keeping_random_state

Statistics = Literal["running", "batch"]


def has_running_statistics(module: nn.Module) -> bool:
    """Return whether a layer keeps running statistics: batch norm, ghost batch norm, tracking instance norm.

    Args:
        module: the layer.
    """
    return module._buffers.get("running_mean") is not None


def normalizes_by_batch(module: nn.Module, statistics: Statistics) -> bool:
    """Return whether a layer normalizes by a batch's own statistics, as batch norm without running ones always does.

    Args:
        module: the layer.
        statistics: "running" or "batch".
    """
    if has_running_statistics(module):
        return statistics == "batch"
    return isinstance(module, _BatchNorm)


@contextmanager
def evaluating(model: nn.Module, statistics: Statistics, device: torch.device) -> Iterator[None]:
    """Put a model into evaluation, with the statistics asked for; restore flags and random state at the end.

    With batch statistics the normalization layers are in training and track nothing. Autocast is off: half precision
    would round away what is measured. Compiled code runs as it was written: compiled, it has no second derivative.

    Args:
        model: the network.
        statistics: "running" or "batch".
        device: where its weights are.

    Yields:
        None, for the evaluation.
    """
    modules = list(model.modules())
    flags = [(module, name, getattr(module, name)) for module in modules for name in _FLAGS if hasattr(module, name)]
    try:
        with (
            keeping_random_state(device),
            _keeping_tensors(modules),
            torch.autocast(device.type, enabled=False),
            torch.inference_mode(False),
            _uncompiled(),
        ):
            for module, name, _ in flags:
                by_batch = statistics == "batch" and has_running_statistics(module)
                setattr(module, name, by_batch if name == "training" else not by_batch)
            yield
    finally:
        for module, name, value in flags:
            setattr(module, name, value)


@contextmanager
def _keeping_tensors(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Restore tensors that modules hold as plain attributes, such as a pruned weight or a kept activation."""
    before = [(vars(module), dict(vars(module))) for module in modules]
    try:
        yield
    finally:
        for now, then in before:
            for name in [name for name, value in now.items() if isinstance(value, Tensor) or name not in then]:
                del now[name]
            now.update({name: value for name, value in then.items() if name not in now or isinstance(value, Tensor)})


class AutocastWithin(TorchFunctionMode):
    """While it is active, notices an autocast that a model enters by itself.

    Args:
        device_type: where the model is, such as "cpu".

    Attributes:
        dtype: the type that the autocast computes in; None where there was none.
    """

    dtype: torch.dtype | None = None

    def __init__(self, device_type: str):
        super().__init__()
        self._type = device_type

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch.

        Args:
            func: the function.
            types: the arguments' types.
            args: its arguments.
            kwargs: those by name.
        """
        if torch.is_autocast_enabled(self._type):
            self.dtype = torch.get_autocast_dtype(self._type)
        return func(*args, **(kwargs or {}))


def _uncompiled() -> AbstractContextManager[None]:
    """Run compiled modules and functions as they were written; nothing is compiled before dynamo is loaded."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


_FLAGS = ("training", "track_running_stats")
