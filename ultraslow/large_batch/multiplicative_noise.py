"""Multiplicative noise: a large batch whose gradient is as noisy as a small one's.

Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), section 4: ĝ = (1/M) Σ g_n z_n with one z_n ~ N(1, σ²) a sample.
Around a mean gradient of 0, cov(ĝ) = (1 + σ²)/M · E[g gᵀ], which is a batch of m's for σ² = M/m − 1. (The paper
leaves σ open; this choice is ours.)
"""

from math import sqrt

import torch
from torch import Tensor


def matching_sigma(batch_size: int, base_batch_size: int) -> float:
    """σ = √(M/m − 1), with which a batch of M is as noisy as one of m; 0 where it is no larger."""
    return sqrt(max(batch_size / base_batch_size - 1, 0.0))


def sample_weights(n: int, sigma: float, generator: torch.Generator) -> Tensor:
    """z (n,), drawn from N(1, σ²) on the generator's device: the weights of n samples' losses in the batch's mean."""
    return 1 + sigma * torch.randn(n, generator=generator, device=generator.device)
