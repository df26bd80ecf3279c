"""The mean loss of a model over fixed batches, at any weights."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from math import isclose, isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from analysis.errors import LandscapeError
from analysis.landscape.evaluation import Statistics, evaluating, has_running_statistics, normalizes_by_batch

_SAME = 1e-5  # relative: what two evaluations at the same weights may differ by, on a GPU that adds in any order


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of each sample, in nats.

    Args:
        logits: (sample, class, ...).
        labels: (sample, ...), whole numbers.

    Examples:
        >>> import torch
        >>> from analysis.landscape import cross_entropy
        >>> cross_entropy(torch.zeros(2, 3), torch.tensor([0, 2])).exp().round().tolist()
        [3.0, 3.0]
    """
    return F.cross_entropy(logits, labels, reduction="none")


class MeanLoss:
    """L = Σ_b (n_b / N) mean_i ℓ(f(x_bi), y_bi), averaged in float64.

    Args:
        model: the network, which is never changed.
        batches: pairs (x, y); `len(y)` is the number of samples.
        loss: a function of the model's output and y that returns a loss for each sample.
        statistics: "running" or "batch".
        device: where the model is.

    Attributes:
        samples: the number of samples, N.
        batches: the pairs, on the device.
        normalizes: whether the model has layers with running statistics.

    Raises:
        LandscapeError: where there is no batch, or a batch of one is to be normalized by its own statistics.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[tuple[Any, Tensor]],
        loss: Callable[[Any, Tensor], Tensor],
        statistics: Statistics,
        device: torch.device,
    ):
        if statistics not in ("running", "batch"):
            raise LandscapeError(f"statistics = {statistics!r}; expected 'running' or 'batch'")
        self._model, self._loss, self._statistics, self._device = model, loss, statistics, device
        self.batches = [_moved(batch, device) for batch in batches]
        self.samples = sum(len(y) for _, y in self.batches)
        self.normalizes = any(map(has_running_statistics, model.modules()))
        if not self.samples:
            raise LandscapeError("got no batch; expected at least one pair (x, y)")
        by_batch = any(normalizes_by_batch(module, statistics) for module in model.modules())
        if by_batch and any(len(y) < 2 for _, y in self.batches):
            raise LandscapeError(
                "got a batch of one sample with batch statistics, which has no variance; give larger batches"
                + self._instead
            )

    def evaluating(self) -> AbstractContextManager[None]:
        """Return a context in which the model evaluates with the statistics; at its end it is restored."""
        return evaluating(self._model, self._statistics, self._device)

    def terms(self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Yield each batch's part of the loss, n_b / N times its mean in float64; call it while `evaluating`.

        Args:
            weights: the parameters by the model's own names.
            buffers: the buffers likewise; those that the model updates are copies.
        """
        for x, y in self.batches:
            yield self._losses(weights, buffers, x, y).mean() * (len(y) / self.samples)

    def check(self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        """Evaluate the first batch twice: the loss must be finite, and the same again.

        Args:
            weights: the parameters by the model's own names.
            buffers: the buffers likewise.

        Raises:
            LandscapeError: where it is not.
        """
        with torch.no_grad(), self.evaluating():
            once, again = (finite(float(self._losses(weights, buffers, *self.batches[0]).mean())) for _ in range(2))
        if not isclose(once, again, rel_tol=_SAME):
            raise LandscapeError(
                f"two evaluations at the same weights give {once:.6g} and {again:.6g}: dropout or other noise is"
                f" active in evaluation; switch it off in the model{self._instead}"
            )

    @property
    def _instead(self) -> str:
        """What to do otherwise, where the batch's statistics are the trouble."""
        return ", or take statistics='running'" if self._statistics == "batch" and self.normalizes else ""

    def _losses(self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Any, y: Tensor) -> Tensor:
        """Compute a batch's per-sample losses in float64."""
        named = {**weights, **{name: buffer.clone() for name, buffer in buffers.items()}}
        losses = self._loss(functional_call(self._model, named, (x,)), y)
        if not isinstance(losses, Tensor) or losses.dim() == 0 or len(losses) != len(y):
            got = (
                f"has shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else f"is a {type(losses).__name__}"
            )
            raise LandscapeError(
                f"the loss {got} for {len(y)} samples; expected a loss for each sample, in one tensor,"
                " such as torch's with reduction='none'"
            )
        return losses.double()


def finite(loss: float) -> float:
    """Return a loss, or refuse one that is no finite number.

    Args:
        loss: the loss.

    Raises:
        LandscapeError: where it is NaN or infinite.
    """
    if not isfinite(loss):
        raise LandscapeError(
            f"the loss is {loss}; expected a finite number: look at the weights, the batches and their normalization,"
            " or stay nearer to the origin"
        )
    return loss


def _moved(batch: tuple[Any, Tensor], device: torch.device) -> tuple[Any, Tensor]:
    if not (isinstance(batch, Sequence) and len(batch) == 2 and isinstance(batch[1], Tensor)):
        of = f" of {', '.join(type(part).__name__ for part in batch)}" if isinstance(batch, Sequence) else ""
        raise LandscapeError(
            f"got a batch that is a {type(batch).__name__}{of}; expected pairs (x, y) with a tensor y, in a list or a"
            " data loader"
        )
    x, y = batch
    return _on(device, x) if isinstance(x, Tensor) else x, _on(device, y)


def _on(device: torch.device, x: Tensor) -> Tensor:
    """Return a tensor on a device; one of inference mode is copied, since autograd saves none of those."""
    return (x.clone() if x.is_inference() else x.detach()).to(device)
