"""What the record of an epoch is made of: the losses and the errors of its updates, and the time."""

from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from train.errors import DivergedError


class EpochRecord:
    """Collects the losses and the misclassified samples of an epoch's updates, on their device.

    Args:
        device: the device.
    """

    def __init__(self, device: torch.device):
        self._losses: list[Tensor] = []
        self._wrong = torch.zeros((), dtype=torch.int64, device=device)
        self._began = perf_counter()

    def begin(self) -> None:
        """Begin an epoch."""
        self._losses = []
        self._wrong.zero_()

    def count(self, loss: Tensor, wrong: Tensor) -> None:
        """Count an update.

        Args:
            loss: its mean loss in nats.
            wrong: its number of misclassified samples.
        """
        self._losses.append(loss)
        self._wrong += wrong

    def values(self, batch_size: int, train_size: int) -> dict[str, Tensor | float]:
        """Return train_error, train_loss (nats) and wall_time (seconds since the first update).

        Args:
            batch_size: samples in an update.
            train_size: samples in the training set, which the last batch of an epoch may end before its size.
        """
        return {
            "train_error": self._wrong / min(len(self._losses) * batch_size, train_size),
            "train_loss": torch.stack(self._losses).mean(),
            "wall_time": perf_counter() - self._began,
        }

    def check_finite(self, t: int, path: Path | str) -> None:
        """Look at the epoch's losses, which waits for the device.

        Args:
            t: updates made so far; the newest loss is that of the last one.
            path: the run's, for the message.

        Raises:
            DivergedError: if one of them is not finite.
        """
        values = torch.stack(self._losses)
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            first = int(bad[0])
            raise DivergedError(
                f"the loss is {float(values[first])} at update {t - len(values) + 1 + first}, expected a finite "
                f"number; lower the learning rate, warm it up or clip the gradient (the run is kept in {path})"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that resuming needs, between two updates."""
        return {
            "losses": torch.stack(self._losses) if self._losses else torch.empty(0),
            "wrong": self._wrong,
            "wall_time": perf_counter() - self._began,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict()`.

        Args:
            state: the state, which may hold more.
        """
        self._losses = list(state["losses"].to(self._wrong.device))
        self._wrong.copy_(state["wrong"])
        self._began = perf_counter() - state["wall_time"]
