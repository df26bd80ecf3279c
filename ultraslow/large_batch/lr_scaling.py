"""How the learning rate follows the batch size (Hoffer, Hubara, Soudry 2017, arXiv 1705.08741, section 4)."""

from math import sqrt
from typing import Literal, get_args

from ultraslow.large_batch.errors import SettingError

LrScaling = Literal["none", "sqrt", "linear"]


def sqrt_lr(lr: float, batch_size: int, base_batch_size: int) -> float:
    """Return lr · √(B/B₀), the learning rate that keeps the covariance of an update.

    An update of SGD with batch size B has the covariance (lr²/B) · (1/N) Σ g_n g_nᵀ: it is what it was at batch
    size B₀ if lr ∝ √B (Hoffer, Hubara, Soudry 2017, arXiv 1705.08741, section 4).

    Args:
        lr: the learning rate at `base_batch_size`.
        batch_size: samples in an update, B.
        base_batch_size: samples in an update of the small batch, B₀.

    Returns:
        The learning rate at `batch_size`.

    Examples:
        >>> from ultraslow import sqrt_lr
        >>> sqrt_lr(0.1, batch_size=512, base_batch_size=128)
        0.2
    """
    return lr * sqrt(batch_size / base_batch_size)


def scaled_lr(scaling: LrScaling, lr: float, batch_size: int, base_batch_size: int) -> float:
    """Return the learning rate at a batch size: unchanged, × √(B/B₀), or × B/B₀.

    Args:
        scaling: "none", "sqrt" or "linear".
        lr: the learning rate at `base_batch_size`.
        batch_size: samples in an update, B.
        base_batch_size: samples in an update of the small batch, B₀.

    Returns:
        The learning rate at `batch_size`.

    Raises:
        SettingError: if the scaling is none of the three.

    Examples:
        >>> from ultraslow.large_batch import scaled_lr
        >>> scaled_lr("linear", 0.5, batch_size=512, base_batch_size=128)
        2.0
    """
    if scaling not in get_args(LrScaling):
        raise SettingError(f"lr_scaling is {scaling!r}; expected one of {', '.join(get_args(LrScaling))}")
    if scaling == "sqrt":
        return sqrt_lr(lr, batch_size, base_batch_size)
    return lr * batch_size / base_batch_size if scaling == "linear" else lr
