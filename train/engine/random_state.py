"""The states of torch's global generators, which a resumed training goes on with."""

from collections.abc import Sequence

import torch
from torch import Tensor


def random_state(device: torch.device) -> list[Tensor]:
    """Return the state of the host's generator, and that of the device's if it has its own.

    Args:
        device: where the training is.
    """
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(states: Sequence[Tensor], device: torch.device) -> None:
    """Go on from the states that `random_state` returned.

    Args:
        states: the states.
        device: where the training is.
    """
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)
