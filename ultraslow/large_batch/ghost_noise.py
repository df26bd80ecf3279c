"""Ghost noise injection: the noise of ghost batch norm, without its other statistics at test time.

Kosson, Fan and Jaggi 2023 (arXiv 2305.17205). Ghost batch norm normalizes a sample by the mean m and the variance v
of a ghost batch, which differ from the batch's own, μ and σ², at random: a noise. But a sample is in its own ghost
batch, and at test time it is not. Here the whole batch is normalized by its own statistics, which the running ones
follow; then each sample x̂ is shifted and scaled as a ghost batch of others would,

    y = (x̂ − (m − μ)) / √((v + ε) / (σ² + ε)),

with m and v (biased) of N samples of the batch, drawn with replacement anew for each sample, layer and update, and
ε = .001 as in the authors' code. No gradient flows through the noise. For independent standard normal x̂ of one
feature, m − μ has mean 0 and variance 1/N, and N v is χ² with N − 1 degrees of freedom.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ultraslow.large_batch.errors import GhostBatchNormError
from ultraslow.large_batch.ghost_batch_norm import checked_size

_EPS = 1e-3  # the authors' code (github.com/epfml/ghost-noise, commit b8e0a4e)


def draw_ghost_noise(x: Tensor, ghost_batch_size: int) -> tuple[Tensor, Tensor]:
    """Draw the shift and the scale of each sample and channel of a batch.

    It draws from torch's global generator of the batch's device, and makes B · N · C additions.

    Args:
        x: the batch, (B, C, …).
        ghost_batch_size: samples N of each ghost batch.

    Returns:
        The shift m − μ and the scale √((v + ε) / (σ² + ε)), (B, C) each, without gradients.

    Examples:
        >>> import torch
        >>> from ultraslow.large_batch import draw_ghost_noise
        >>> _ = torch.manual_seed(0)
        >>> shift, scale = draw_ghost_noise(torch.randn(2000, 1), ghost_batch_size=25)
        >>> bool(abs(shift.std() - 1 / 5) < 0.02)
        True
    """
    with torch.no_grad():
        wide = x.detach().to(torch.float64 if x.dtype == torch.float64 else torch.float32)
        pixels = wide.reshape(*wide.shape[:2], -1)
        moments = torch.cat([pixels.mean(2), pixels.square().mean(2)], dim=1)  # of each sample, (B, 2 C)
        drawn = torch.randint(len(x), (len(x), ghost_batch_size), device=x.device)
        mean, square = F.embedding_bag(drawn, moments, mode="mean").chunk(2, dim=1)
        mu, whole = moments.mean(0).chunk(2)
        variance, whole_variance = square - mean.square(), whole - mu.square()
        return mean - mu, ((variance.clamp(min=0) + _EPS) / (whole_variance + _EPS)).sqrt()


class GhostNoiseNorm(_BatchNorm):
    """Batch norm with ghost noise while training, as `convert_ghost_noise` makes it of a BatchNorm1d or 2d."""

    ghost_batch_size: int

    def forward(self, x: Tensor) -> Tensor:
        """Normalize over the whole batch and add ghost noise while training; normalize as plain when evaluating.

        Args:
            x: the batch, (B, C, …).

        Returns:
            The normalized batch, of the same shape.
        """
        if not self.training:
            return super().forward(x)
        own, weight, bias = self._parameters, self.weight, self.bias
        # the noise comes before scale and shift are learnt; torch.func has plain tensors in their place
        own["weight"] = own["bias"] = None
        try:
            y = super().forward(x)
        finally:
            own["weight"], own["bias"] = weight, bias
        shift, scale = (
            noise.to(y.dtype)[(..., *[None] * (y.dim() - 2))] for noise in draw_ghost_noise(y, self.ghost_batch_size)
        )
        y = (y - shift) / scale
        if weight is None:
            return y
        channels = (-1, *[1] * (y.dim() - 2))
        return y * weight.view(channels) + bias.view(channels)

    def extra_repr(self) -> str:
        """Return the layer's settings, as its `repr` shows them."""
        return f"{super().extra_repr()}, ghost_batch_size={self.ghost_batch_size}"


class GhostNoiseNorm1d(GhostNoiseNorm, nn.BatchNorm1d):
    """`BatchNorm1d` with ghost noise; their state dicts are interchangeable."""


class GhostNoiseNorm2d(GhostNoiseNorm, nn.BatchNorm2d):
    """`BatchNorm2d` with ghost noise; their state dicts are interchangeable."""


_NOISY: dict[type[nn.Module], type[GhostNoiseNorm]] = {
    nn.BatchNorm1d: GhostNoiseNorm1d,
    nn.BatchNorm2d: GhostNoiseNorm2d,
}


def convert_ghost_noise(model: nn.Module, ghost_batch_size: int) -> nn.Module:
    """Inject ghost noise after every BatchNorm1d and BatchNorm2d layer of a model, in place.

    Weights, buffers and hooks stay: the layers keep their identity and only their class changes.

    Args:
        model: the network.
        ghost_batch_size: samples in a ghost batch, N; 2 or more. The fewer, the more noise.

    Returns:
        The model itself.

    Raises:
        GhostBatchNormError: for a size below 2, a model without batch norm, or another kind of batch norm.

    Examples:
        >>> import torch
        >>> from ultraslow.large_batch import convert_ghost_noise
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8))
        >>> type(convert_ghost_noise(model, ghost_batch_size=128)[1]).__name__
        'GhostNoiseNorm1d'
    """
    size = checked_size(ghost_batch_size, "ghost_noise")
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}
    if not layers:
        raise GhostBatchNormError(f"{type(model).__name__} has no batch norm to inject noise after; leave it out")
    for name, layer in layers.items():
        if type(layer) not in _NOISY:
            raise GhostBatchNormError(
                f"layer {name or 'itself'} is a {type(layer).__name__}; ghost noise is for BatchNorm1d and 2d"
            )
    for layer in layers.values():
        layer.__class__ = _NOISY[type(layer)]
        layer.ghost_batch_size = size  # type: ignore[assignment]
    return model
