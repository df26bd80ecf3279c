"""Training regimes as data: the learning rate as a function of the update, and how it adapts to the batch.

A regime is written in epochs, as papers write it. `Regime.schedule` turns it into updates for one batch size and
training set. The schedule's rate is a pure function of t, the number of updates made so far: nothing accumulates, so
nothing drifts. Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), sections 4 and 5.
"""

from dataclasses import dataclass, replace
from math import isfinite

from train.errors import ConfigError

_MOST_UPDATES = 2**53  # float64 holds every whole number up to here


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning rate for every update."""

    lr: float
    """Rate after the warm-up and before the first drop."""
    drops: tuple[tuple[int, float], ...]
    """(t, factor): from the update after t updates on, the rate is multiplied by the factor."""
    warmup_steps: int
    """Updates over which the rate grows linearly from lr/warmup_steps to lr; 0 for none."""
    updates: int
    """Updates in all."""
    weight_decay: float = 0.0
    """Weight decay λ."""
    weight_decay_until: int | None = None
    """Updates after which it is 0; None for never."""

    def rate(self, t: int) -> float:
        """Return the learning rate of the update w_t → w_{t+1}.

        Args:
            t: updates made before it, 0, 1, ...
        """
        rate = self.lr * min(1.0, (t + 1) / self.warmup_steps) if self.warmup_steps else self.lr
        for at, factor in self.drops:
            if t >= at:
                rate *= factor
        return rate

    def decay(self, t: int) -> float:
        """Return the weight decay of the update w_t → w_{t+1}.

        Args:
            t: updates made before it, 0, 1, ...
        """
        return self.weight_decay if self.weight_decay_until is None or t < self.weight_decay_until else 0.0


@dataclass(frozen=True, kw_only=True)
class Regime:
    """How a network is trained, whatever the data: momentum, and the learning rate by epochs.

    Raises:
        ConfigError: for values that cannot be run.

    Examples:
        >>> from train import Regime
        >>> regime = Regime(lr=0.1, drops=((10, 0.1),), epochs=20)
        >>> schedule = regime.schedule(train_size=60_000, batch_size=128)
        >>> schedule.updates, schedule.drops
        (9360, ((4680, 0.1),))
        >>> round(schedule.rate(5000), 6)
        0.01
    """

    lr: float
    """Learning rate before the first drop."""
    drops: tuple[tuple[float, float], ...] = ()
    """(epoch, factor): when that many epochs are done the rate is multiplied by the factor; epochs ascend."""
    epochs: float
    """Length of the training."""
    warmup_steps: int = 0
    """Updates over which the rate grows linearly to lr; 0 for none."""
    momentum: float = 0.9
    """Momentum μ of SGD, β₁ of Adam and AdamW."""
    weight_decay: float = 0.0
    """Weight decay λ (L2, added to the gradient; decoupled for AdamW)."""
    weight_decay_until: float | None = None
    """Epochs after which λ is 0; None for never."""
    max_grad_norm: float | None = None
    """The gradient's total norm is clipped to this; None for no clipping."""

    def __post_init__(self) -> None:
        _check("lr", self.lr, self.lr > 0, "above 0")
        _check("epochs", self.epochs, self.epochs > 0, "above 0")
        _check("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "of 0 or more updates")
        _check("momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)")
        _check("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more")
        if self.max_grad_norm is not None:
            _check("max_grad_norm", self.max_grad_norm, self.max_grad_norm > 0, "above 0, or none")
        if self.weight_decay_until is not None:
            _check("weight_decay_until", self.weight_decay_until, self.weight_decay_until >= 0, "of 0 or more epochs")
        epochs = [epoch for epoch, _ in self.drops]
        if epochs != sorted(set(epochs)) or any(epoch <= 0 or factor <= 0 for epoch, factor in self.drops):
            raise ConfigError(f"drops is {self.drops}; expected (epoch, factor) above 0, epochs ascending")

    def adapted(self, factor: float) -> "Regime":
        """Return the regime with all epoch counts multiplied: regime adaptation.

        Args:
            factor: B_L/B_S, the large batch size over the small one; the numbers of updates are then equal.
        """
        drops = tuple((epoch * factor, by) for epoch, by in self.drops)
        until = None if self.weight_decay_until is None else self.weight_decay_until * factor
        return replace(self, epochs=self.epochs * factor, drops=drops, weight_decay_until=until)

    def schedule(self, train_size: int, batch_size: int, *, keep_short: bool = False) -> Schedule:
        """Return the regime in updates. A drop falls on the nearest update; one beyond the end is left out.

        Args:
            train_size: samples in the training set.
            batch_size: samples in an update.
            keep_short: train on the short last batch of an epoch too.

        Raises:
            ConfigError: if the batch is beyond the training set, or for more epochs than updates can be counted.
        """
        per_epoch = updates_per_epoch(train_size, batch_size, keep_short=keep_short)
        if self.epochs * per_epoch > _MOST_UPDATES:
            raise ConfigError(f"epochs is {self.epochs:g}; expected at most {_MOST_UPDATES / per_epoch:.3g}")
        updates = max(1, round(self.epochs * per_epoch))
        drops = ((round(min(epoch * per_epoch, updates)), factor) for epoch, factor in self.drops)
        until = self.weight_decay_until
        return Schedule(
            lr=self.lr,
            drops=tuple(drop for drop in drops if drop[0] < updates),
            warmup_steps=self.warmup_steps,
            updates=updates,
            weight_decay=self.weight_decay,
            weight_decay_until=None if until is None else round(min(until * per_epoch, updates)),
        )


def updates_per_epoch(train_size: int, batch_size: int, *, keep_short: bool = False) -> int:
    """Return the number of batches in the training set.

    Args:
        train_size: samples in the training set.
        batch_size: samples in an update.
        keep_short: count the short last batch; otherwise it is dropped.

    Raises:
        ConfigError: if the batch is beyond the training set.
    """
    if not 1 <= batch_size <= train_size:
        raise ConfigError(f"batch_size is {batch_size}; expected 1 to {train_size}, the training set")
    return -(-train_size // batch_size) if keep_short else train_size // batch_size


def _check(name: str, value: float, holds: bool, expected: str) -> None:
    if not (holds and isfinite(value)):
        raise ConfigError(f"{name} is {value}; expected a number {expected}")
