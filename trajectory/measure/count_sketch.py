"""Count sketches: linear random projections of the weights that keep distances.

    S(w)_b = Σ_{j: b(j) = b} s(j) w_j,   b(j) in 0 .. K − 1 and s(j) = ±1 hashed from j

is linear, S(u) − S(v) = S(u − v), and E‖S(x)‖² = ‖x‖² with variance (2/K)(‖x‖⁴ − Σ_j x_j⁴) over the hashes,
so that ‖S(u) − S(v)‖ is ‖u − v‖ to a relative error of about 1/√(2K) (Charikar, Chen and Farach-Colton 2002;
the variance: Thorup and Zhang 2012). j counts the elements of all trainable parameters as a snapshot does, so
that the sketch of a whole is the sum of the sketches of its parts, however it is cut.

The hash is SplitMix64 (Steele, Lea and Flood 2014) of j: nothing but the seed has to be kept.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

SEED = 0  # one for all runs, so that sketches of different runs of a network can be compared too
_CHUNK = 1 << 18  # elements hashed at a time: 2 MiB an intermediate
_GOLDEN, _FIRST, _SECOND = (k - (1 << 64) for k in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def hash_indices(indices: Tensor, buckets: int, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Hash indices to buckets and signs.

    Args:
        indices: The indices j (int64, any shape).
        buckets: The number of buckets K.
        seed: The seed of the hash.

    Returns:
        b(j) and s(j) (int64) of every index.
    """
    x = (indices + 1) * _GOLDEN + seed  # int64 arithmetic wraps around, as SplitMix64 asks
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    x = x ^ _shifted(x, 31)
    return _shifted(x, 1) % buckets, 1 - 2 * (x & 1)


@torch.no_grad()
def add(sketch: Tensor, values: Tensor, first: int, seed: int = SEED) -> None:
    """Add the sketch of some elements to a sketch, without waiting for the device, a chunk at a time.

    Args:
        sketch: The sketch (K,), which is changed in place.
        values: The elements (n,), whose indices are first, first + 1, …
        first: The index of the first element.
        seed: The seed of the hash.
    """
    for at in range(0, len(values), _CHUNK):
        chunk = values[at : at + _CHUNK]
        start = first + at
        bucket, sign = hash_indices(torch.arange(start, start + len(chunk), device=values.device), len(sketch), seed)
        sketch.index_add_(0, bucket, chunk.to(sketch.dtype) * sign)


def count_sketches(groups: Sequence[Sequence[tuple[Tensor, int]]], buckets: int, seed: int = SEED) -> Tensor:
    """Sketch groups of parameters.

    Args:
        groups: The parameters of each group, one at least, as (tensor, index of its first element).
        buckets: The number of buckets K.
        seed: The seed of the hash.

    Returns:
        The sketches (group, K): float64, or float32 where the device has nothing wider.
    """
    device = groups[0][0][0].device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    result = torch.zeros(len(groups), buckets, dtype=dtype, device=device)
    for row, members in zip(result, groups, strict=True):
        for tensor, first in members:
            add(row, tensor.detach().reshape(-1).to(device, non_blocking=True), first, seed)
    return result


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift x to the right as an unsigned number."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
