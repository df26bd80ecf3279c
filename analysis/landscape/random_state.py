"""The global random states, which measuring a loss leaves as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def keeping_random_state(device: torch.device) -> Iterator[None]:
    """Restore the random states of torch, numpy and Python at the end.

    Args:
        device: where the model is; a GPU has a state of its own.

    Yields:
        None.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
