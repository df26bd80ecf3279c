"""Ghost batch normalization in one call of torch's batch norm, on any device.

Ghost batch i of n holds the samples i, i+n, i+2n, …: batches are drawn at random, so any partition is as good, and
this one is a *view* (G, n·C, …) of a contiguous batch (n·G, C, …). All ghost batches are then channels of one fused
batch-norm call. Channels-last memory has no such view: it is copied, and the output copied back.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize a batch in n ghost batches.

    Args:
        x: the batch, (n·G, C, …).
        weight: a scale for each channel; None for 1.
        bias: a shift for each channel; None for 0.
        n: number of ghost batches.
        eps: added to the variance, for stability.

    Returns:
        The normalized batch in the memory format of x, and the ghost batches' means and unbiased variances, (n, C).
    """
    channels = x.shape[1]
    # float32 parameters and statistics even for half-precision input: the fused kernels take the mixture
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    mean = x.new_zeros(n * channels, dtype=wide)  # no view of both: torch.vmap would write to copies
    variance = torch.zeros_like(mean)
    weight, bias = (None if p is None else p.to(wide).expand(n, channels).reshape(-1) for p in (weight, bias))
    y = F.batch_norm(
        x.reshape(len(x) // n, n * channels, *x.shape[2:]),
        mean,  # with momentum 1 the "running" statistics that come back are the ghost batches' own
        variance,
        weight,
        bias,
        training=True,
        momentum=1.0,
        eps=eps,
    ).reshape(x.shape)
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        y = y.contiguous(memory_format=torch.channels_last)
    return y, mean.view(n, channels), variance.view(n, channels)
