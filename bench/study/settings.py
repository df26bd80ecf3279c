"""What the study trains: each setting with its seeds, in the order in which they are trained."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

AGES = (20, 25, 30, 35, 40)
"""Origins that are averaged, in memory times; at all of them the curves agree (table `origins`)."""
CLIP = 5.0  # Hoffer et al.'s code
WIDTH, DEPTH = 64, 3  # F1 cut to 64-64-64-64-10


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of the study's tables: everything but the seed."""

    name: str
    """Names its files."""
    data: str = "mnist"
    """Data set, its images cut to 8 × 8."""
    label_noise: float = 0.2
    """Fraction of the labels that are shuffled."""
    batch_norm: bool = True
    """Whether batch norm follows each hidden layer."""
    batch_size: int = 16
    """Samples in a batch, B."""
    learning_rate: float = 0.05
    """Learning rate, η, constant."""
    optimizer: str = "sgd"
    """The optimizer: sgd, or adamw."""
    momentum: float = 0.9
    """Momentum, μ; of AdamW, β₁."""
    with_replacement: bool = False
    """Whether each batch is drawn from all samples; if not, an epoch takes every sample once."""
    weight_decay: float
    """Weight decay, λ."""
    updates: int = 1_000_000
    """Length of a run."""
    seeds: int = 5
    """Runs with seeds 0, 1, ..."""
    at_equal_age: bool = False
    """Whether only w_0 and the averaged origins are packed."""

    @property
    def memory(self) -> float:
        """τ = (1 − μ)/(ηλ), in updates, and 1/(ηλ) for AdamW; infinite without weight decay."""
        if not self.weight_decay:
            return float("inf")
        return self.rate_share / (self.learning_rate * self.weight_decay)

    @property
    def rate_share(self) -> float:
        """1 − μ, by which the sum of gradients in SGD's momentum exceeds their mean; 1 for AdamW, which averages."""
        return 1.0 if self.optimizer == "adamw" else 1 - self.momentum

    @property
    def rotation(self) -> float:
        """The squared angle that theory gives an update: 2ηλ/(1 + μ), and 2ηλ(1 − β₁)/(1 + β₁) for AdamW."""
        return 2 * (1 - self.momentum) / (1 + self.momentum) / self.memory

    @property
    def noise(self) -> float:
        """1/(B√τ) = √(ηλ/(1 − μ))/B, to which the noise of directions in a memory time is proportional."""
        return 1 / (self.batch_size * self.memory**0.5)

    @property
    def origins(self) -> tuple[int, ...]:
        """Updates from which distances are measured: round numbers, and multiples of the memory time."""
        multiples = (0.5, 1, 2.5, 5, 10, 20, 25, 30, 35, 40) if self.weight_decay else ()
        wanted = {0, 1_000, 10_000, 100_000, *(round(m * self.memory) for m in multiples)}
        return tuple(sorted(s for s in wanted if s <= 0.8 * self.updates))

    @property
    def packed_origins(self) -> tuple[int, ...]:
        """Those that the tables need."""
        needed = {0, *(round(age * self.memory) for age in AGES)} if self.at_equal_age else set(self.origins)
        return tuple(s for s in self.origins if s in needed)


def _equal_age(
    batch_size: int,
    learning_rate: float,
    memory: int,
    *,
    length: int = 100,
    name: str = "",
    **others: Any,
) -> Setting:
    """A run of so many memory times, or of a million updates where these are more; `name` ends its files' names."""
    setting = Setting(
        name=f"batch-{batch_size}-rate-{learning_rate:g}-memory-{memory}{name}",
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=0.0,
        updates=min(length * memory, 1_000_000),
        at_equal_age=True,
        **others,
    )
    weight_decay = setting.rate_share / (learning_rate * memory)
    return replace(setting, weight_decay=float(f"{weight_decay:.6g}"))


_other = partial(Setting, at_equal_age=True)

SETTINGS = (
    # what sets α: batch size, rate and decay at equal age
    *(_equal_age(batch_size, 0.05, 1000) for batch_size in (64, 32, 8, 128, 16)),
    *(_equal_age(batch_size, 0.05, 250) for batch_size in (64, 32, 16, 128)),
    *(_equal_age(16, rate, 1000) for rate in (0.025, 0.1)),
    *(_equal_age(batch_size, 0.05, 4000) for batch_size in (64, 8)),
    # long runs over weight decays
    Setting(name="decay-5e-4", weight_decay=5e-4),
    Setting(name="decay-0", weight_decay=0.0),
    Setting(name="decay-1e-4", weight_decay=1e-4),
    Setting(name="decay-2e-3", weight_decay=2e-3, updates=400_000),
    # other data, other labels, no batch norm
    _other(name="plain-decay-2e-3", batch_norm=False, learning_rate=0.01, weight_decay=2e-3, updates=500_000),
    _other(name="plain-decay-8e-3", batch_norm=False, learning_rate=0.01, weight_decay=8e-3, updates=125_000),
    _other(name="clean-decay-5e-4", label_noise=0.0, weight_decay=5e-4, updates=250_000),
    _other(name="fashion-decay-5e-4", data="fashion-mnist", weight_decay=5e-4, updates=250_000),
    Setting(name="digits-decay-0", data="digits", label_noise=0.0, weight_decay=0.0, updates=300_000),
    Setting(name="clean-decay-0", label_noise=0.0, weight_decay=0.0, updates=300_000),
    *(_equal_age(16, rate, 4000, length=65) for rate in (0.025, 0.1)),
    _other(name="digits-decay-5e-4", data="digits", label_noise=0.0, weight_decay=5e-4, updates=200_000),
    Setting(name="plain-decay-0", batch_norm=False, learning_rate=0.01, weight_decay=0.0, updates=300_000),
    _equal_age(32, 0.05, 4000, length=65),
    _equal_age(16, 0.05, 16000),
    *(_equal_age(16, rate, memory) for memory in (250, 16000) for rate in (0.025, 0.1)),
    # batches so large that they see much of the same gradient; the same path per τ by other momenta; other sampling
    *(_equal_age(batch_size, 0.05, 1000) for batch_size in (256, 512)),
    *(_equal_age(16, 0.5 * (1 - mu), 1000, momentum=mu, name=f"-momentum-{mu:g}") for mu in (0.0, 0.5, 0.99)),
    *(_equal_age(size, 0.05, 1000, with_replacement=True, name="-replacement") for size in (16, 128, 512)),
    _other(name="plain-decay-5e-4", batch_norm=False, learning_rate=0.01, weight_decay=5e-4),
    # another optimizer
    *(_equal_age(size, 0.001, 1000, optimizer="adamw", name="-adamw") for size in (16, 64)),
    _equal_age(16, 0.001, 4000, length=65, optimizer="adamw", name="-adamw"),
)
