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
from analysis.landscape.evaluation import (
    AutocastWithin,
    Statistics,
    evaluating,
    has_running_statistics,
    normalizes_by_batch,
)
from analysis.landscape.fixed_state import FixedState
from analysis.landscape.random_state import keeping_random_state

_OF_PARAMETERS = (
    "the loss takes the model's parameters themselves, as weight decay does, and they stay where they are while its"
    " weights are moved; leave them out, or let the model return that part"
)
_CHANGED_INPUT = (
    "the model changes its input in place, so that no two evaluations are of one batch; let it work on x.clone()"
)
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
        with keeping_random_state(device):  # which a data loader draws from
            once = not isinstance(batches, Sequence)
            self.batches = [_moved(batch, device, copy=once) for batch in batches]
        self.samples = sum(len(y) for _, y in self.batches)
        self.normalizes = any(map(has_running_statistics, model.modules()))
        if not self.samples:
            spent = "; an iterator gives its batches once" if once else ""
            raise LandscapeError(f"got no batch; expected at least one pair (x, y){spent}")
        by_batch = any(normalizes_by_batch(module, statistics) for module in model.modules())
        if by_batch and any(len(y) < 2 for _, y in self.batches):
            raise LandscapeError(
                "got a batch of one sample with batch statistics, which has no variance; give larger batches"
                + self._instead
            )

    def evaluating(self) -> AbstractContextManager[None]:
        """Return a context in which the model evaluates with the statistics; at its end it is restored."""
        return evaluating(self._model, self._statistics, self._device)

    def terms(self, weights: Mapping[str, Tensor], fixed: FixedState) -> Iterator[Tensor]:
        """Yield each batch's part of the loss, n_b / N times its mean in float64; call it while `evaluating`.

        Args:
            weights: the trainable parameters by the model's own names.
            fixed: what else the model has.
        """
        for x, y in self.batches:
            yield self._losses(weights, fixed, x, y).mean() * (len(y) / self.samples)

    def check(self, weights: Mapping[str, Tensor], fixed: FixedState) -> torch.dtype | None:
        """Evaluate the first batch twice: the loss must be finite, the same again, and one of the output alone.

        Args:
            weights: the trainable parameters by the model's own names, none of which requires a gradient.
            fixed: what else the model has.

        Returns:
            The type of an autocast that the model enters itself, if it does.

        Raises:
            LandscapeError: where it is not, or the model changes its input.
        """
        x, y = self.batches[0]
        with self.evaluating():  # both in one context, whose random numbers are not the same
            first, second = (x.clone() if isinstance(x, Tensor) else x for _ in range(2))
            with torch.enable_grad(), AutocastWithin(self._device.type) as autocast:
                losses = self._losses(weights, fixed, first, y)
            once, of_parameters = finite(float(losses.detach().mean())), self._takes_parameters(losses)
            with torch.no_grad():
                again = finite(float(self._losses(weights, fixed, second, y).mean()))
        if of_parameters:
            raise LandscapeError(_OF_PARAMETERS)
        if isinstance(x, Tensor) and first._version and not torch.equal(first, x):
            raise LandscapeError(_CHANGED_INPUT)
        if not isclose(once, again, rel_tol=_SAME):
            raise LandscapeError(
                f"two evaluations at the same weights give {once:.6g} and {again:.6g}: dropout or other noise is"
                f" active in evaluation; switch it off in the model{self._instead}"
            )
        return autocast.dtype

    @property
    def _instead(self) -> str:
        """What to do otherwise, where the batch's statistics are the trouble."""
        return ", or take statistics='running'" if self._statistics == "batch" and self.normalizes else ""

    def _takes_parameters(self, losses: Tensor) -> bool:
        """Return whether losses at weights without gradient depend on the model's own parameters all the same."""
        if not losses.requires_grad:
            return False
        own = [p for p in self._model.parameters() if p.requires_grad]
        return any(slope is not None for slope in torch.autograd.grad(losses.sum(), own, allow_unused=True))

    def _losses(self, weights: Mapping[str, Tensor], fixed: FixedState, x: Any, y: Tensor) -> Tensor:
        """Compute a batch's per-sample losses in float64."""
        named = {**weights, **fixed.for_one_evaluation()}
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


def _moved(batch: tuple[Any, Tensor], device: torch.device, *, copy: bool) -> tuple[Any, Tensor]:
    """Return a batch on a device; as a copy where it came from an iterator, which may use its memory again."""
    if not (isinstance(batch, Sequence) and len(batch) == 2 and isinstance(batch[1], Tensor)):
        of = f" of {', '.join(type(part).__name__ for part in batch)}" if isinstance(batch, Sequence) else ""
        raise LandscapeError(
            f"got a batch that is a {type(batch).__name__}{of}; expected pairs (x, y) with a tensor y, in a list or a"
            " data loader"
        )
    x, y = batch
    return _on(device, x, copy), _on(device, y, copy)


def _on(device: torch.device, x: Any, copy: bool) -> Any:
    """Return tensors on a device; those of inference mode are copied, since autograd saves none of them."""
    if isinstance(x, Tensor):
        return (x.detach().clone() if copy or x.is_inference() else x.detach()).to(device)
    if type(x) is dict:
        return {key: _on(device, part, copy) for key, part in x.items()}
    return type(x)(_on(device, part, copy) for part in x) if type(x) in (tuple, list) else x
