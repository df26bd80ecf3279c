"""The state of a model while its loss is measured: which statistics normalize, and no dropout."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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
    would round away what is measured.

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
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            torch.autocast(device.type, enabled=False),
            torch.inference_mode(False),
        ):
            for module, name, _ in flags:
                by_batch = statistics == "batch" and has_running_statistics(module)
                setattr(module, name, by_batch if name == "training" else not by_batch)
            yield
    finally:
        for module, name, value in flags:
            setattr(module, name, value)


_FLAGS = ("training", "track_running_stats")
