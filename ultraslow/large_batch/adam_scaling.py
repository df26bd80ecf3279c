"""How the settings of Adam and AdamW follow the batch size.

Adam divides an update by the root mean square of the gradient. Where noise dominates the gradient, that falls as
1/√B, so that an update is as long for every batch, and what follows the batch is the number of updates that see as
many samples. With κ times the batch, and 1/κ of the updates, weights diffuse as far if η → η√κ; averages span as many
samples if 1 − β → κ (1 − β), or exactly if β → β^κ; and ε is as far below the noise if ε → ε/√κ. That is the square
root scaling rule, which Malladi, Lyu, Panigrahi and Arora 2022 (arXiv 2205.10287) derive from stochastic differential
equations. Marek et al. 2025 (arXiv 2507.07101) hold the half-life of the second moment fixed in samples instead.
"""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal, get_args

from ultraslow.large_batch.errors import SettingError

BetaScaling = Literal["none", "sde", "half-life"]


@dataclass(frozen=True, kw_only=True)
class AdamSettings:
    """What Adam and AdamW average over, and add below the root; the defaults are torch's.

    Raises:
        SettingError: for a β outside [0, 1), or an ε that is not above 0.

    Examples:
        >>> from ultraslow.large_batch import AdamSettings
        >>> AdamSettings(betas=(0.9, 0.95)).eps
        1e-08
    """

    betas: tuple[float, float] = (0.9, 0.999)
    """β₁ of the mean gradient, β₂ of the mean squared gradient."""
    eps: float = 1e-8
    """ε, added to the root of the mean squared gradient."""

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise SettingError(f"betas are {self.betas}; expected two numbers from 0 to below 1")
        if not (self.eps > 0 and isfinite(self.eps)):
            raise SettingError(f"eps is {self.eps}; expected a number above 0")


def scaled_adam(scaling: BetaScaling, settings: AdamSettings, batch_size: int, base_batch_size: int) -> AdamSettings:
    """Return Adam's settings at a batch size, for as many epochs as at the base batch size.

    With κ = B/B₀: "sde" gives 1 − β → κ (1 − β) for both, and ε → ε/√κ (Malladi et al. 2022, arXiv 2205.10287), and
    belongs with the learning rate η√κ; "half-life" gives β₂ → β₂^κ alone, whose half-life in samples is kept (Marek
    et al. 2025, arXiv 2507.07101).

    Args:
        scaling: "none", "sde" or "half-life".
        settings: those at `base_batch_size`.
        batch_size: samples in an update, B.
        base_batch_size: samples in an update of the small batch, B₀.

    Returns:
        The settings at `batch_size`.

    Raises:
        SettingError: if the scaling is none of the three, or κ (1 − β) > 1: no average is so short.

    Examples:
        >>> from ultraslow.large_batch import AdamSettings, scaled_adam
        >>> large = scaled_adam("sde", AdamSettings(betas=(0.9, 0.999)), batch_size=512, base_batch_size=128)
        >>> [round(beta, 6) for beta in large.betas], large.eps
        ([0.6, 0.996], 5e-09)
        >>> scaled_adam("half-life", AdamSettings(betas=(0.9, 0.5)), 256, base_batch_size=128).betas
        (0.9, 0.25)
    """
    if scaling not in get_args(BetaScaling):
        raise SettingError(f"beta_scaling is {scaling!r}; expected one of {', '.join(get_args(BetaScaling))}")
    kappa = batch_size / base_batch_size
    beta1, beta2 = settings.betas
    if scaling == "none":
        return settings
    if scaling == "half-life":
        return AdamSettings(betas=(beta1, beta2**kappa), eps=settings.eps)
    most = 1 - min(settings.betas)
    if kappa * most > 1:
        largest = int(base_batch_size / most * (1 + 1e-12))
        raise SettingError(
            f"a batch {kappa:g} times as large would need 1 − β = {kappa * most:g}, expected at most 1;"
            f" take a batch of {largest} or less, or beta_scaling half-life"
        )
    return AdamSettings(
        betas=(max(0.0, 1 - kappa * (1 - beta1)), max(0.0, 1 - kappa * (1 - beta2))),
        eps=settings.eps / sqrt(kappa),
    )
