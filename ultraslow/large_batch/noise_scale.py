"""The gradient noise scale: how many samples it takes until the noise of a gradient is as long as the gradient.

McCandlish, Kaplan, Amodei and the OpenAI Dota Team 2018 (arXiv 1812.06162), appendix A: the gradient G_B of a batch
of B samples has E|G_B|² = |G|² + tr Σ / B, so that two batch sizes give both terms without bias,

    |G|²  = (B |G_B|² − b |G_b|²) / (B − b)
    tr Σ  = (|G_b|² − |G_B|²) / (1/b − 1/B)

and B_simple = tr Σ / |G|². Here b is the run's own batch, B are n of them: |G_b|² is the mean over the n batches, and
G_B their mean gradient. A ratio of noisy terms is biased: average both over measurements before dividing.

With batch normalization a sample's gradient depends on its batch; Σ/b then is the covariance of the gradients of such
batches. Weight decay and clipping are no part of it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ultraslow.large_batch.errors import SettingError

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class NoiseScale:
    """Both terms of the gradient noise scale, each a scalar (float64) on the model's device.

    Examples:
        >>> import torch
        >>> from ultraslow.large_batch import NoiseScale
        >>> once, again = (NoiseScale(torch.tensor(g), torch.tensor(8.0)) for g in (1.0, 3.0))
        >>> float(NoiseScale.mean([once, again]).batch_size)
        4.0
    """

    squared_gradient: Tensor
    """|G|², without bias: below 0 where the noise hides the gradient."""
    trace: Tensor
    """tr Σ, the variance of one sample's gradient, summed over all weights."""

    @property
    def batch_size(self) -> Tensor:
        """B_simple = tr Σ / |G|², samples; NaN where |G|² is not above 0."""
        return torch.where(self.squared_gradient > 0, self.trace / self.squared_gradient, torch.nan)

    @classmethod
    def mean(cls, several: Sequence["NoiseScale"]) -> "NoiseScale":
        """Return the averages of both terms over measurements, to be divided then.

        Args:
            several: the measurements.
        """
        terms = [torch.stack([getattr(one, name) for one in several]) for name in ("squared_gradient", "trace")]
        return cls(*(term.mean() for term in terms))


def gradient_noise_scale(
    model: nn.Module,
    loss: Callable[[Batch], Tensor],
    batches: Iterable[Batch],
    batch_size: int,
    *,
    population: int | None = None,
) -> NoiseScale:
    """Measure the gradient noise scale at a model's weights, and leave the training as it is.

    Gradients (`p.grad`), buffers such as batch norm's, and torch's global generators are afterwards what they were.
    It takes a forward and a backward pass for each batch, and does not wait for the device.

    Args:
        model: the model, in the mode that it trains in; its trainable parameters count.
        loss: the mean loss of a batch, as a scalar tensor.
        batches: two batches or more of samples drawn at random.
        batch_size: samples in each, b.
        population: samples in the training set, where the batches are disjoint parts of it and its mean gradient is
            what G stands for; None for samples that are drawn independently.

    Returns:
        |G|² and tr Σ.

    Raises:
        SettingError: for fewer than two batches.

    Examples:
        The loss w · x has the gradient x: of mean 2 and variance 9, so that tr Σ / |G|² is 9/4.

        >>> import torch
        >>> from ultraslow.large_batch import gradient_noise_scale
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.manual_seed(0)
        >>> batches = [2 + 3 * torch.randn(16, 1) for _ in range(1000)]
        >>> found = gradient_noise_scale(model, lambda x: model(x).mean(), batches, batch_size=16)
        >>> 2 < float(found.batch_size) < 2.5
        True
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    n, squares, total = 0, torch.zeros((), dtype=torch.float64, device=parameters[0].device), None
    with _unchanged(model):
        for batch in batches:
            gradient = torch.autograd.grad(loss(batch), parameters, allow_unused=True, materialize_grads=True)
            n, squares = n + 1, squares + _squared_norm(gradient)
            if total is None:
                total = [g.clone() for g in gradient]
            else:
                torch._foreach_add_(total, list(gradient))
    if total is None or n < 2:
        raise SettingError(f"got {n} batches; expected two or more, whose gradients are compared")
    of_mean = _squared_norm(total) / n**2
    variance = (squares - n * of_mean) / (n - 1)  # of a batch's gradient: tr Σ / b
    unseen = 1.0 if population is None else 1 - n * batch_size / population
    return NoiseScale(of_mean - unseen * variance / n, batch_size * variance)


def _squared_norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in tensors]).square().sum()


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Put buffers and torch's global generators back in the end."""
    buffers = list(model.buffers())
    kept = [buffer.clone() for buffer in buffers]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, was in zip(buffers, kept, strict=True):
                    buffer.copy_(was)
