"""What the settings of optimizers say: those that the analysis reads of a run, and how long the weights remember."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def shared_settings(optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Return the settings that all groups of a run's optimizers share, as they are before the first update.

    Args:
        optimizers: Those whose steps are counted.

    Returns:
        Under the names that the analysis reads of a run's configuration: `optimizer`, its type in lower case; `lr`,
        the rate that a schedule begins with; `weight_decay`; and `momentum` μ, which is β₁ of Adam and AdamW, with
        SGD's `nesterov` and `dampening`.

    Examples:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.ones(3))
        >>> shared_settings([torch.optim.AdamW([weight], lr=0.01, weight_decay=0.1)])
        {'optimizer': 'adamw', 'lr': 0.01, 'weight_decay': 0.1, 'momentum': 0.9}
    """
    groups = [_settings(optimizer, group) for optimizer in optimizers for group in optimizer.param_groups]
    first, *others = groups or [{}]
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}


def memory_time(optimizers: Sequence[Optimizer]) -> float | None:
    """Return τ, the updates after which weight decay λ has made the weights forget where they began.

    (1 − μ)/(ηλ) for SGD with momentum μ, which dampening δ makes 1/(1 − δ) times as long; 1/(ηλ) for AdamW, whose
    step has a size of its own.

    Args:
        optimizers: Those of a run. η is the rate that a schedule begins with (`initial_lr`), or else the present one.

    Returns:
        The shortest τ among the groups that decay; None where none does, or an optimizer couples the decay otherwise.
    """
    times = []
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            decoupled = "AdamW" in type(optimizer).__name__
            if not group.get("weight_decay") or not (decoupled or isinstance(optimizer, torch.optim.SGD)):
                continue
            lr, decay = float(_first_rate(group)), float(group["weight_decay"])
            momentum = 0.0 if decoupled else group.get("momentum", 0.0)
            pull = lr * decay * (1 - group.get("dampening", 0.0) if momentum else 1.0)
            if pull > 0:
                times.append((1 - momentum) / pull)
    return min(times, default=None)


def _settings(optimizer: Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    kind = type(optimizer)
    name = "adamw" if kind is torch.optim.Adam and group.get("decoupled_weight_decay") else kind.__name__.lower()
    numbers = {"lr": _first_rate(group), "weight_decay": group.get("weight_decay")}
    if kind is torch.optim.SGD:
        numbers |= {key: group[key] for key in ("momentum", "dampening")}
    elif kind in (torch.optim.Adam, torch.optim.AdamW):
        numbers["momentum"] = group["betas"][0]
    known = {key: float(value) for key, value in numbers.items() if _is_number(value)}
    return {"optimizer": name, **known} | ({"nesterov": group["nesterov"]} if kind is torch.optim.SGD else {})


def _first_rate(group: Mapping[str, Any]) -> Any:
    return group.get("initial_lr", group.get("lr"))


def _is_number(value: Any) -> bool:
    one = isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)
    return one and isfinite(value)
