"""Ghost batch normalization: a large batch normalized in small, disjoint parts.

Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), algorithm 1. While training, a batch of B samples is split
into n = ⌈B / ghost_batch_size⌉ ghost batches, each normalized with its own mean and variance; the running
statistics take the n successive updates that n small batches would have made,

    μ ← (1−e)^n μ + Σ_{i=1..n} (1−e)^(n−i) e μ_i        (and the same for the variance; e is the momentum)

where the paper prints (1−e)^i, whose weights do not sum to one. At evaluation the running statistics are
used.

Ghost batch i holds the samples i, i+n, i+2n, …, which `fused_ghost_norm` normalizes in one call of torch's, and
`ghost_kernel` where they lie. Where n does not divide B, the first samples make the ghost batches of G+1, the others
those of G: two calls.
"""

from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ultraslow.large_batch import fused_ghost_norm
from ultraslow.large_batch.errors import GhostBatchNormError


def ghost_batch_sizes(batch_size: int, ghost_batch_size: int) -> list[int]:
    """Return the sizes of the ghost batches of one batch, as even as possible, the larger ones first.

    None is larger than `ghost_batch_size`, except where one ghost batch would be left with a single sample, which has
    no variance: then there is one ghost batch less. A ghost size of at least the batch size gives the whole batch.

    Args:
        batch_size: samples in the batch.
        ghost_batch_size: samples in a ghost batch, at most.

    Returns:
        The sizes, which add up to the batch size.

    Examples:
        >>> ghost_batch_sizes(256, 64), ghost_batch_sizes(100, 32), ghost_batch_sizes(17, 8)
        ([64, 64, 64, 64], [25, 25, 25, 25], [6, 6, 5])
    """
    n = max(1, min(-(-batch_size // ghost_batch_size), batch_size // 2))
    size, larger = batch_size // n, batch_size % n  # torch.compile traces no divmod
    return [size + 1] * larger + [size] * (n - larger)


class GhostBatchNorm(_BatchNorm):
    """The 1-d and the 2-d layer but for the check of the input's dimensions.

    Args:
        num_features: channels C.
        ghost_batch_size: samples in a ghost batch, at most; 2 or more.
        eps: added to the variance, for stability.
        momentum: weight e of the newest ghost batch in the running statistics; None for the average over all.
        affine: learn a scale and a shift for each channel.
        track_running_stats: keep running statistics for the evaluation.
        device: where parameters and statistics are.
        dtype: their type.
    """

    ghost_batch_size: int

    def __init__(
        self,
        num_features: int,
        ghost_batch_size: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.ghost_batch_size = checked_size(ghost_batch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch ghost batch by ghost batch while training, by the running statistics when evaluating.

        Args:
            x: the batch, (B, C, …).

        Returns:
            The normalized batch, of the same shape.
        """
        use_running = not self.training and self.running_mean is not None
        sizes = ghost_batch_sizes(len(x), self.ghost_batch_size)
        if use_running or len(sizes) == 1:
            return super().forward(x)
        self._check_input_dim(x)
        larger = len(x) % len(sizes) or len(sizes)
        if larger == len(sizes):
            y, means, variances = self._normalize(x, larger)
        else:
            cut = larger * sizes[0]
            parts = (self._normalize(x[:cut], larger), self._normalize(x[cut:], len(sizes) - larger))
            y, means, variances = (torch.cat(both) for both in zip(*parts, strict=True))
        if self.running_mean is not None:
            self.update_running(means, variances)
        return y

    def _normalize(self, x: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normalize x (n·G, C, …) in n ghost batches; return it, their means and unbiased variances, (n, C) each."""
        if x.device.type == "cpu" and not torch.compiler.is_compiling():
            from ultraslow.large_batch import ghost_kernel  # Numba takes a third of a second to load

            if ghost_kernel.takes(x, self.weight):
                return ghost_kernel.normalize(x, self.weight, self.bias, n, self.eps)
        return fused_ghost_norm.normalize(x, self.weight, self.bias, n, self.eps)

    @torch.no_grad()
    def update_running(self, means: Tensor, variances: Tensor) -> None:
        """Make n successive updates in one, with weights (1−e)^(n−i) e, or 1/(k+n) for the cumulative average.

        Args:
            means: of the ghost batches, (n, C).
            variances: of them, unbiased, (n, C).
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        n, e = len(means), self.momentum
        self.num_batches_tracked.add_(n)
        if e is not None:
            powers = e * (1 - e) ** torch.arange(n - 1, -1, -1, dtype=means.dtype, device=means.device)
        for running, each in ((self.running_mean, means), (self.running_var, variances)):
            if e is None:
                wide = running.to(each.dtype).lerp(each.mean(0), (n / self.num_batches_tracked).to(each.dtype))
            else:
                wide = torch.add(powers @ each, running, alpha=(1 - e) ** n)
            running.copy_(wide)

    def extra_repr(self) -> str:
        """Return the layer's settings, as its `repr` shows them."""
        return f"{super().extra_repr()}, ghost_batch_size={self.ghost_batch_size}"


class GhostBatchNorm1d(GhostBatchNorm, nn.BatchNorm1d):
    """`BatchNorm1d` over ghost batches, for inputs (B, C) or (B, C, L); their state dicts are interchangeable.

    Args:
        num_features: channels C.
        ghost_batch_size: samples in a ghost batch, at most; 2 or more.
        eps: added to the variance, for stability.
        momentum: weight e of the newest ghost batch in the running statistics; None for the average over all.
        affine: learn a scale and a shift for each channel.
        track_running_stats: keep running statistics for the evaluation.
        device: where parameters and statistics are.
        dtype: their type.

    Raises:
        GhostBatchNormError: for a ghost batch size below 2.

    Examples:
        Each half of the batch gets mean 0 on its own.

        >>> import torch
        >>> from ultraslow import GhostBatchNorm1d
        >>> y = GhostBatchNorm1d(3, ghost_batch_size=4)(torch.arange(24.0).view(8, 3))
        >>> bool(y[0::2].mean().abs() < 1e-5), bool(y[1::2].mean().abs() < 1e-5)
        (True, True)
    """


class GhostBatchNorm2d(GhostBatchNorm, nn.BatchNorm2d):
    """`BatchNorm2d` over ghost batches, for inputs (B, C, H, W); their state dicts are interchangeable.

    A contiguous input is normalized without a copy; on a CPU, in float32 or float64, a channels-last one as well.
    Elsewhere that is copied, and the output copied back to channels-last, which costs more than the fused call saves.

    Args:
        num_features: channels C.
        ghost_batch_size: samples in a ghost batch, at most; 2 or more.
        eps: added to the variance, for stability.
        momentum: weight e of the newest ghost batch in the running statistics; None for the average over all.
        affine: learn a scale and a shift for each channel.
        track_running_stats: keep running statistics for the evaluation.
        device: where parameters and statistics are.
        dtype: their type.

    Raises:
        GhostBatchNormError: for a ghost batch size below 2.

    Examples:
        >>> import torch
        >>> from ultraslow import GhostBatchNorm2d
        >>> layer = GhostBatchNorm2d(3, ghost_batch_size=4)
        >>> layer(torch.randn(8, 3, 5, 5)).shape
        torch.Size([8, 3, 5, 5])
        >>> int(layer.num_batches_tracked)
        2
    """


_GHOST: dict[type[_BatchNorm], type[GhostBatchNorm]] = {
    nn.BatchNorm1d: GhostBatchNorm1d,
    nn.BatchNorm2d: GhostBatchNorm2d,
}


def convert_ghost_batch_norm(model: nn.Module, ghost_batch_size: int) -> nn.Module:
    """Turn every BatchNorm1d and BatchNorm2d layer of a model into its ghost twin, in place.

    Weights, buffers, device, dtype, hooks and the training flag stay: the layers keep their identity and only their
    class changes, so that an optimizer made before the conversion goes on working. Layers that are ghost batch norms
    already take the new size.

    Args:
        model: the network.
        ghost_batch_size: samples in a ghost batch, at most; 2 or more.

    Returns:
        The model itself.

    Raises:
        GhostBatchNormError: for a size below 2, a model without batch norm, or a kind of batch norm that has no ghost
            twin (3-d, synchronized, lazy, or a subclass of your own).

    Examples:
        >>> import torch
        >>> from ultraslow import convert_ghost_batch_norm
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8))
        >>> type(convert_ghost_batch_norm(model, ghost_batch_size=128)[1]).__name__
        'GhostBatchNorm1d'
    """
    size = checked_size(ghost_batch_size)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)}
    if not layers:
        raise GhostBatchNormError(
            f"{type(model).__name__} has no BatchNorm1d or BatchNorm2d layer to convert; "
            "leave the ghost batch size out"
        )
    for name, layer in layers.items():
        if not isinstance(layer, GhostBatchNorm) and type(layer) not in _GHOST:
            raise GhostBatchNormError(
                f"layer {name or 'itself'} is a {type(layer).__name__}; only BatchNorm1d and BatchNorm2d "
                "have a ghost batch norm"
            )
    for layer in layers.values():
        layer.__class__ = _GHOST.get(type(layer), type(layer))
        assert isinstance(layer, GhostBatchNorm)
        layer.ghost_batch_size = size
    return model


def keep_ghost_batch_size(model: nn.Module, ghost_batch_size: int) -> None:
    """Let batch norms that may be over larger batches from now on go on over ghost batches of one size, in place.

    Args:
        model: the network; one without batch norm stays as it is.
        ghost_batch_size: samples in a ghost batch, at most; 2 or more.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        if isinstance(layer, GhostBatchNorm):  # one that processes share has this type already
            layer.ghost_batch_size = checked_size(ghost_batch_size)
        else:
            convert_ghost_batch_norm(layer, ghost_batch_size)


def checked_size(ghost_batch_size: int, name: str = "ghost_batch_size") -> int:
    """Return a ghost batch size as an int, whatever library's whole number it is.

    Args:
        ghost_batch_size: samples in a ghost batch.
        name: what it is called where it was given.

    Raises:
        GhostBatchNormError: It is no whole number, or below 2.
    """
    if isinstance(ghost_batch_size, Integral) and not isinstance(ghost_batch_size, bool) and ghost_batch_size >= 2:
        return int(ghost_batch_size)
    raise GhostBatchNormError(
        f"{name} is {ghost_batch_size!r}; expected a whole number of at least 2 samples, since one has no variance"
    )
