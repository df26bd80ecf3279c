"""Multiplicative noise: a large batch whose gradient is as noisy as a small one's.

Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), section 4: ĝ = (1/M) Σ g_n z_n with one z_n ~ N(1, σ²) a sample.
Around a mean gradient of 0, cov(ĝ) = (1 + σ²)/M · E[g gᵀ], which is a batch of m's for σ² = M/m − 1. (The paper
leaves σ open; this choice is ours.)
"""

from math import sqrt

import torch
from torch import Tensor


def matching_sigma(batch_size: int, base_batch_size: int) -> float:
    """Return σ = √(M/m − 1), with which a batch of M samples is as noisy as one of m; 0 where M is no larger.

    Args:
        batch_size: samples in the large batch, M.
        base_batch_size: samples in the small batch, m.

    Returns:
        The standard deviation of the samples' weights.

    Examples:
        >>> from ultraslow.large_batch import matching_sigma
        >>> matching_sigma(512, base_batch_size=256)
        1.0
    """
    return sqrt(max(batch_size / base_batch_size - 1, 0.0))


def sample_weights(n: int, sigma: float, generator: torch.Generator) -> Tensor:
    """Draw z from N(1, σ²): the weights of the samples' losses in the batch's mean.

    Args:
        n: samples in the batch.
        sigma: σ, for example that of `matching_sigma`.
        generator: the source of the random numbers, on the device where the weights are wanted.

    Returns:
        The weights, (n,).

    Examples:
        >>> import torch
        >>> from ultraslow.large_batch import sample_weights
        >>> generator = torch.Generator().manual_seed(0)
        >>> losses = torch.ones(4)
        >>> (sample_weights(4, 0.0, generator) * losses).mean()
        tensor(1.)
    """
    return 1 + sigma * torch.randn(n, generator=generator, device=generator.device)
