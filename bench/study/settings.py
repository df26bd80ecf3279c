"""What the study trains: each setting with its seeds, in the order in which they are trained."""

from dataclasses import dataclass

MOMENTUM = 0.9
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
    weight_decay: float
    """Weight decay, λ."""
    updates: int = 1_000_000
    """Length of a run."""
    seeds: int = 3
    """Runs with seeds 0, 1, ..."""

    @property
    def memory(self) -> float:
        """τ = (1 − μ)/(ηλ), in updates; infinite without weight decay."""
        return (1 - MOMENTUM) / (self.learning_rate * self.weight_decay) if self.weight_decay else float("inf")

    @property
    def noise(self) -> float:
        """√(ηλ)/B, to which the noise of the directions of scale-invariant weights is proportional."""
        return (self.learning_rate * self.weight_decay) ** 0.5 / self.batch_size

    @property
    def origins(self) -> tuple[int, ...]:
        """Updates from which distances are measured: round numbers, and multiples of the memory time."""
        multiples = (0.5, 1, 2.5, 5, 10, 20, 25, 30, 35, 40) if self.weight_decay else ()
        wanted = {0, 1_000, 10_000, 100_000, *(round(m * self.memory) for m in multiples)}
        return tuple(sorted(s for s in wanted if s <= 0.8 * self.updates))


def _equal_age(batch_size: int, learning_rate: float, memory: int, seeds: int = 5, length: int = 100) -> Setting:
    """A run of so many memory times, or of a million updates where these are more."""
    weight_decay = (1 - MOMENTUM) / (learning_rate * memory)
    return Setting(
        name=f"batch-{batch_size}-rate-{learning_rate:g}-memory-{memory}",
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=float(f"{weight_decay:.6g}"),
        updates=min(length * memory, 1_000_000),
        seeds=seeds,
    )


SETTINGS = (
    # what sets α: batch size, rate and decay at equal age
    *(_equal_age(batch_size, 0.05, 1000) for batch_size in (64, 32, 8, 128, 16)),
    *(_equal_age(batch_size, 0.05, 250) for batch_size in (64, 32, 16, 128)),
    *(_equal_age(16, rate, 1000) for rate in (0.025, 0.1)),
    *(_equal_age(batch_size, 0.05, 4000, seeds=3) for batch_size in (64, 8)),
    # long runs over weight decays
    Setting(name="decay-5e-4", weight_decay=5e-4, seeds=5),
    Setting(name="decay-0", weight_decay=0.0),
    Setting(name="decay-1e-4", weight_decay=1e-4),
    Setting(name="decay-2e-3", weight_decay=2e-3, updates=400_000),
    # other data, other labels, no batch norm
    Setting(name="plain-decay-2e-3", batch_norm=False, learning_rate=0.01, weight_decay=2e-3, updates=500_000),
    Setting(name="plain-decay-8e-3", batch_norm=False, learning_rate=0.01, weight_decay=8e-3, updates=125_000),
    Setting(name="clean-decay-5e-4", label_noise=0.0, weight_decay=5e-4, updates=250_000),
    Setting(name="fashion-decay-5e-4", data="fashion-mnist", weight_decay=5e-4, updates=250_000),
    Setting(name="digits-decay-0", data="digits", label_noise=0.0, weight_decay=0.0, updates=300_000),
    Setting(name="clean-decay-0", label_noise=0.0, weight_decay=0.0, updates=300_000),
    *(_equal_age(16, rate, 4000, seeds=3, length=65) for rate in (0.025, 0.1)),
    Setting(name="digits-decay-5e-4", data="digits", label_noise=0.0, weight_decay=5e-4, updates=200_000),
    Setting(name="plain-decay-0", batch_norm=False, learning_rate=0.01, weight_decay=0.0, updates=300_000),
    _equal_age(32, 0.05, 4000, seeds=3, length=65),
    _equal_age(16, 0.05, 16000, seeds=3),
    Setting(name="plain-decay-5e-4", batch_norm=False, learning_rate=0.01, weight_decay=5e-4),
)
