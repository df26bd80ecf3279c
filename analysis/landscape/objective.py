"""The loss over fixed batches as a function of flat weights, with its gradient and Hessian-vector product.

    L(w) = Σ_b (n_b / N) mean_i ℓ(f_w(x_bi), y_bi)

Per-sample losses are averaged in float64, so that float32 weights resolve differences of about 1e-7. Hessian-vector
products differentiate the gradient once more, in reverse (Pearlmutter 1994): forward over reverse is wrong through
batch norm with batch statistics in torch 2.13.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import copy
from functools import partial
from math import isclose, isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from analysis.errors import LandscapeError
from analysis.landscape.elementary_norm import ElementaryNorm
from analysis.landscape.evaluation import Statistics, evaluating, has_running_statistics
from trajectory.measure.tracked_parameters import plain_names, trainable

Origin = Tensor | Mapping[str, Tensor]
"""A point in weight space: a flat vector, or a state dict, whose buffers count with running statistics."""

_RESOLVED = 100  # roundings of the weights that a step has to be long for 1 % of its length
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


class Objective:
    """The mean loss of a model over fixed batches, as a function of its flat weights.

    The model is never changed: after any call, and after an exception, its weights, buffers, flags and the random
    state are bit for bit as they were. The weights are the trainable parameters in the model's order; frozen ones
    stay as the model has them. Dropout is off.

    Args:
        model: the network. Its weights as they stand are the point `weights`.
        batches: pairs (x, y); `len(y)` is the number of samples. A data loader is read once.
        loss: a function of the model's output and y that returns a loss for each sample, (sample, ...).
        statistics: "running": normalization layers use their running statistics, as in evaluation. "batch": they use
            each batch's own (ghost batches where the layer has them), as in training; buffers stay untouched.

    Attributes:
        weights: (weight,) the point that functions of the landscape start from.
        statistics: as given.
        samples: the number of samples, N.

    Raises:
        LandscapeError: where there is no batch, the loss is not finite or not one for each sample, a batch of one is
            to be normalized by its own statistics, the model is sharded, or its output is random.

    Examples:
        >>> import torch
        >>> from analysis.landscape import Objective
        >>> model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
        >>> x, y = torch.eye(2, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
        >>> objective = Objective(model, [(x, y)], lambda output, y: (output - y).square())
        >>> w = torch.tensor([3.0, 4.0], dtype=torch.float64)
        >>> objective.loss(w), objective.gradient(w).tolist()
        (12.5, [3.0, 4.0])
        >>> objective.hessian_vector_product(w, torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        [0.0, 1.0]
    """

    weights: Tensor

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[tuple[Any, Tensor]],
        loss: Callable[[Any, Tensor], Tensor] = cross_entropy,
        statistics: Statistics = "running",
    ):
        if statistics not in ("running", "batch"):
            raise LandscapeError(f"statistics = {statistics!r}; expected 'running' or 'batch'")
        self._model, self._loss, self.statistics = model, loss, statistics
        plain = plain_names(model)
        self._parameters = trainable(model)
        self._full_names = [name for name, p in model.named_parameters() if p.requires_grad]
        for name, parameter in self._parameters.items():
            if hasattr(parameter, "to_local"):
                raise LandscapeError(f"parameter {name} is sharded; expected whole weights: gather the model first")
        self._device = next(iter(self._parameters.values())).device
        self._batches = [(self._moved(x), self._moved(y)) for x, y in batches]
        self.samples = sum(len(y) for _, y in self._batches)
        self._check_batches()
        self.weights = self.flat({name: p.detach() for name, p in self._parameters.items()})
        self._buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
        self._buffer_names = {plain(name): name for name in self._buffers}
        self._state_names = {plain(name) for name in model.state_dict()}
        self._check_loss()

    def loss(self, w: Tensor | None = None) -> float:
        """Compute L(w).

        Args:
            w: (weight,); None: at `weights`.

        Returns:
            The mean loss.

        Raises:
            LandscapeError: where it is not finite.
        """
        with torch.no_grad(), self._evaluating():
            total = sum(float(part) for part in self._terms(self._split(self._at(w))))
        return _finite(total)

    def gradient(self, w: Tensor | None = None) -> Tensor:
        """Compute ∇L(w), (weight,).

        Args:
            w: (weight,); None: at `weights`.

        Returns:
            The gradient, in the weights' type.

        Raises:
            LandscapeError: where the loss is not finite.
        """
        return self.loss_and_gradient(w)[1]

    def loss_and_gradient(self, w: Tensor | None = None) -> tuple[float, Tensor]:
        """Compute L(w) and ∇L(w) in one pass.

        Args:
            w: (weight,); None: at `weights`.

        Returns:
            The loss and the gradient, (weight,).

        Raises:
            LandscapeError: where the loss is not finite.
        """
        leaves = self._leaves(w)
        total, gradient = 0.0, None
        with torch.enable_grad(), self._evaluating():
            for part in self._terms(leaves):
                total += float(part.detach())
                slope = _joined(_grad(part, leaves))
                gradient = slope if gradient is None else gradient.add_(slope)
        assert gradient is not None  # there is a batch
        return _finite(total), gradient

    def hessian_vector_product(self, w: Tensor | None, v: Tensor) -> Tensor:
        """Compute H(w) v by reverse over reverse, without forming the Hessian H.

        Args:
            w: (weight,); None: at `weights`.
            v: (weight,).

        Returns:
            H v, (weight,).

        Raises:
            LandscapeError: where the loss is not finite.
        """
        leaves, towards = self._leaves(w), self._split(v)
        total, product = 0.0, torch.zeros_like(self.weights)
        with torch.enable_grad(), self._evaluating(), ElementaryNorm():
            for part in self._terms(leaves):
                total += float(part.detach())
                product += _curved(_grad(part, leaves, create_graph=True), leaves, towards)
        _finite(total)
        return product

    def hessian(self, w: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """Return the function v → H(w) v, for many products at one point.

        With one batch the graph of the gradient is kept, in the memory that one product takes, and a product costs
        about two gradients instead of three and a half.

        Args:
            w: (weight,); None: at `weights`.

        Returns:
            A function from (weight,) to (weight,).

        Raises:
            LandscapeError: where the loss is not finite.
        """
        if len(self._batches) > 1:
            return partial(self.hessian_vector_product, w)
        leaves = self._leaves(w)
        with torch.enable_grad(), self._evaluating(), ElementaryNorm():
            (mean,) = self._terms(leaves)
            _finite(float(mean.detach()))
            slopes = _grad(mean, leaves, create_graph=True)
        return lambda v: _curved(slopes, leaves, self._split(v), retain_graph=True)

    def at(self, origin: Origin) -> "Objective":
        """Return the same objective with another starting point.

        Args:
            origin: flat weights, or a state dict such as `Run.state_dict` returns. From the latter buffers are taken
                too: running statistics belong to the weights.

        Returns:
            An objective whose `weights` lie there; the model stays as it is.

        Raises:
            LandscapeError: where the weights do not fit the model.
        """
        moved = copy(self)
        if isinstance(origin, Tensor):
            moved.weights = self._checked(origin).detach().clone()
            return moved
        moved.weights = self.flat(origin)
        foreign = sorted(origin.keys() - self._state_names)
        if foreign:
            raise LandscapeError(f"the weights hold {foreign[0]}, which the model lacks; {_BUILD}")
        moved._buffers = {
            full: origin[name].detach().to(self._buffers[full]).clone() if name in origin else self._buffers[full]
            for name, full in self._buffer_names.items()
        }
        return moved

    def flat(self, state: Mapping[str, Tensor]) -> Tensor:
        """Join the trainable parameters of a state dict to one vector, in the model's order.

        Args:
            state: tensors by name, as `Run.state_dict` and `analysis.landscape.between` return them.

        Returns:
            (weight,), in the model's type and on its device.

        Raises:
            LandscapeError: where a parameter is missing, has another shape, or is sharded.
        """
        for name, own in self._parameters.items():
            if name not in state:
                raise LandscapeError(
                    f"the weights lack {name}, a trainable parameter of the model: it was frozen when they were"
                    " recorded, or left out; freeze it in the model too (requires_grad_(False))"
                )
            if state[name].shape != own.shape:
                there, here = tuple(state[name].shape), tuple(own.shape)
                raise LandscapeError(f"the weights do not fit the model: {name} is {there}, not {here}; {_BUILD}")
            if hasattr(state[name], "to_local"):
                raise LandscapeError(f"the weights hold a shard of {name}; expected whole weights: gather them first")
        return torch.cat([state[name].detach().to(own).reshape(-1) for name, own in self._parameters.items()])

    def by_name(self, v: Tensor) -> dict[str, Tensor]:
        """Split a vector into the parameters' shapes: the reverse of `flat`.

        Args:
            v: (weight,).

        Returns:
            The parts by name, which share the vector's memory.

        Raises:
            LandscapeError: where the vector has another length.
        """
        return dict(zip(self._parameters, self._split(v), strict=True))

    @property
    def normalizes(self) -> bool:
        """Whether the model has layers with running statistics, so that `statistics` matters."""
        return any(map(has_running_statistics, self._model.modules()))

    @property
    def smallest_step(self) -> float:
        """The shortest step from `weights` whose length their rounding leaves right to about 1 %."""
        rounding = torch.finfo(self.weights.dtype).eps / 2
        return _RESOLVED * rounding * float(self.weights.double().norm())

    def _terms(self, parts: list[Tensor]) -> Iterator[Tensor]:
        """Yield each batch's part of the loss, n_b / N times its mean in float64."""
        for x, y in self._batches:
            yield self._losses(parts, x, y).mean() * (len(y) / self.samples)

    def _losses(self, parts: list[Tensor], x: Any, y: Tensor) -> Tensor:
        """Compute a batch's per-sample losses in float64; buffers that the model updates are copies."""
        named = dict(zip(self._full_names, parts, strict=True))
        named |= {name: buffer.clone() for name, buffer in self._buffers.items()}
        losses = self._loss(functional_call(self._model, named, (x,)), y)
        if losses.dim() == 0 or len(losses) != len(y):
            raise LandscapeError(
                f"the loss has shape {tuple(losses.shape)} for {len(y)} samples; expected a loss for each sample,"
                " such as torch's with reduction='none'"
            )
        return losses.double()

    def _evaluating(self) -> AbstractContextManager[None]:
        return evaluating(self._model, self.statistics, self._device)

    def _at(self, w: Tensor | None) -> Tensor:
        return self.weights if w is None else w

    def _leaves(self, w: Tensor | None) -> list[Tensor]:
        return [part.detach().requires_grad_() for part in self._split(self._at(w))]

    def _split(self, v: Tensor) -> list[Tensor]:
        own = list(self._parameters.values())
        parts = self._checked(v).split([p.numel() for p in own])
        return [part.view(p.shape).to(p.dtype) for part, p in zip(parts, own, strict=True)]

    def _checked(self, v: Tensor) -> Tensor:
        count = sum(p.numel() for p in self._parameters.values())
        if v.shape != (count,):
            raise LandscapeError(f"got a vector of shape {tuple(v.shape)}; expected ({count},), a number a weight")
        return v.to(self._device)

    def _moved(self, value: Any) -> Any:
        return value.detach().to(self._device) if isinstance(value, Tensor) else value

    def _check_batches(self) -> None:
        if not self.samples:
            raise LandscapeError("got no batch; expected at least one pair (x, y)")
        if self.statistics == "batch" and self.normalizes and any(len(y) < 2 for _, y in self._batches):
            raise LandscapeError(
                "got a batch of one sample with batch statistics, which has no variance; give larger batches, or take"
                " statistics='running'"
            )

    def _check_loss(self) -> None:
        """Evaluate the first batch twice: the loss must be finite, and the same again."""
        x, y = self._batches[0]
        with torch.no_grad(), self._evaluating():
            once, again = (_finite(float(self._losses(self._split(self.weights), x, y).mean())) for _ in range(2))
        if not isclose(once, again, rel_tol=_SAME):
            raise LandscapeError(
                f"two evaluations at the same weights give {once:.6g} and {again:.6g}: dropout or other noise is"
                " active in evaluation; switch it off in the model"
            )


_BUILD = "build the network that was recorded"


def _grad(end: Tensor, leaves: list[Tensor], *, create_graph: bool = False) -> tuple[Tensor, ...]:
    return torch.autograd.grad(end, leaves, create_graph=create_graph, materialize_grads=True)


def _curved(
    slopes: tuple[Tensor, ...], leaves: list[Tensor], towards: list[Tensor], *, retain_graph: bool = False
) -> Tensor:
    """Differentiate the slopes along a direction; those of weights that the loss is linear in are constants."""
    pairs = [(slope, part) for slope, part in zip(slopes, towards, strict=True) if slope.requires_grad]
    if not pairs:
        return _joined([torch.zeros_like(leaf) for leaf in leaves])
    ends, parts = zip(*pairs, strict=True)
    return _joined(torch.autograd.grad(ends, leaves, parts, retain_graph=retain_graph, materialize_grads=True))


def _joined(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _finite(loss: float) -> float:
    if not isfinite(loss):
        raise LandscapeError(
            f"the loss is {loss}; expected a finite number: look at the weights, the batches and their normalization,"
            " or stay nearer to the origin"
        )
    return loss
