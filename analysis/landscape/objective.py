"""The loss over fixed batches as a function of flat weights, with its gradient and Hessian-vector product.

    L(w) = Σ_b (n_b / N) mean_i ℓ(f_w(x_bi), y_bi)

Per-sample losses are averaged in float64, so that float32 weights resolve differences of about 1e-7. Hessian-vector
products differentiate the gradient once more, in reverse (Pearlmutter 1994): forward over reverse is wrong through
batch norm with batch statistics in torch 2.13.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import LandscapeError
from analysis.landscape.evaluation import Statistics
from analysis.landscape.fixed_state import FixedState
from analysis.landscape.flat_weights import BUILD, FlatWeights
from analysis.landscape.mean_loss import MeanLoss, cross_entropy, finite
from analysis.landscape.reverse import curved, differentiating, finite_slopes, joined, slopes_of
from analysis.landscape.twice_differentiable import twice_differentiable
from trajectory.measure.plain_names import plain_names

Origin = Tensor | Mapping[str, Tensor]
"""A point in weight space: a flat vector, or a state dict, whose buffers and frozen parameters count too."""

_RESOLVED = 100  # roundings of the weights that a step has to be long for 1 % of its length


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
            to be normalized by its own statistics, the model is sharded or changes its input, its output is random,
            or the loss takes the model's parameters themselves.

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
        plain = plain_names(model)
        self._layout = FlatWeights(model)
        with torch.inference_mode(False):  # whose tensors could not be differentiated
            self._mean = MeanLoss(model, batches, loss, statistics, self._layout.device)
            self.weights = self._layout.as_they_stand()
            self._fixed = FixedState.of(model, plain)
        self.statistics, self.samples = statistics, self._mean.samples
        self._state_names = {plain(name) for name in model.state_dict()}
        within = self._mean.check(self._named(self._layout.split(self.weights)), self._fixed)
        self._coarsest = max(self._layout.coarsest, within or self._layout.coarsest, key=lambda t: torch.finfo(t).eps)

    def loss(self, w: Tensor | None = None) -> float:
        """Compute L(w).

        Args:
            w: (weight,); None: at `weights`.

        Returns:
            The mean loss.

        Raises:
            LandscapeError: where it is not finite.
        """
        with self._mean.evaluating(), torch.no_grad():
            total = sum(float(part) for part in self._terms(self._layout.split(self._at(w))))
        return finite(total)

    def gradient(self, w: Tensor | None = None) -> Tensor:
        """Compute ∇L(w), (weight,).

        Args:
            w: (weight,); None: at `weights`.

        Returns:
            The gradient, in the weights' type.

        Raises:
            LandscapeError: where the loss or its gradient is not finite, or there is none.
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
        total, gradient = 0.0, None
        with self._mean.evaluating(), torch.enable_grad(), differentiating():
            leaves = self._leaves(w)
            for part in self._terms(leaves):
                total += float(part.detach())
                slope = joined(slopes_of(part, leaves))
                gradient = slope if gradient is None else gradient.add_(slope)
        assert gradient is not None  # there is a batch
        return finite(total), finite_slopes(gradient)

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
        total, product = 0.0, None
        with self._mean.evaluating(), torch.enable_grad(), twice_differentiable(), differentiating():
            leaves, towards = self._leaves(w), self._layout.split(v)
            for part in self._terms(leaves):
                total += float(part.detach())
                bend = curved(slopes_of(part, leaves, create_graph=True), leaves, towards)
                product = bend if product is None else product.add_(bend)
        assert product is not None  # there is a batch
        finite(total)
        return finite_slopes(product)

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
        if len(self._mean.batches) > 1:
            return partial(self.hessian_vector_product, w)
        with self._mean.evaluating(), torch.enable_grad(), twice_differentiable(), differentiating():
            leaves = self._leaves(self._at(w).clone())  # the graph outlives changes of w
            (mean,) = self._terms(leaves)
            finite(float(mean.detach()))
            slopes = slopes_of(mean, leaves, create_graph=True)

        def product(v: Tensor) -> Tensor:
            with differentiating():
                return finite_slopes(curved(slopes, leaves, self._layout.split(v), retain_graph=True))

        return product

    def at(self, origin: Origin) -> "Objective":
        """Return the same objective with another starting point.

        Args:
            origin: flat weights, or a state dict such as `Run.state_dict` returns. From the latter buffers and frozen
                parameters are taken too: running statistics belong to the weights.

        Returns:
            An objective whose `weights` lie there; the model stays as it is.

        Raises:
            LandscapeError: where the weights do not fit the model, or come without their running statistics.
        """
        moved = copy(self)
        if isinstance(origin, Tensor):
            moved.weights = self._layout.checked(origin).detach().clone()
            return moved
        if not isinstance(origin, Mapping):
            raise LandscapeError(f"got a {type(origin).__name__}; expected flat weights as a tensor, or a state dict")
        moved.weights = self.flat(origin)
        foreign = sorted(origin.keys() - self._state_names)
        if foreign:
            raise LandscapeError(f"the weights hold {foreign[0]}, which the model lacks; {BUILD}")
        moved._fixed = self._fixed.brought_by(origin, self.statistics)
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
        return self._layout.flat(state)

    def by_name(self, v: Tensor) -> dict[str, Tensor]:
        """Split a vector into the parameters' shapes: the reverse of `flat`.

        Args:
            v: (weight,).

        Returns:
            The parts by name, which share the vector's memory.

        Raises:
            LandscapeError: where the vector has another length.
        """
        return self._layout.by_name(v)

    def frozen_apart(self, other: "Objective") -> str:
        """Return the name of a frozen parameter that differs from another point's; empty where none does.

        Args:
            other: an objective that `at` made of this one, or this one.
        """
        return self._fixed.frozen_apart(other._fixed)

    @property
    def normalizes(self) -> bool:
        """Whether the model has layers with running statistics, so that `statistics` matters."""
        return self._mean.normalizes

    @property
    def smallest_step(self) -> float:
        """The shortest step from `weights` whose length their rounding leaves right to about 1 %."""
        return _RESOLVED * self.rounding / 2 * float(self.weights.double().norm())

    @property
    def precision(self) -> str:
        """The coarsest type among the parameters and of an autocast within the model, such as "float32"."""
        return str(self._coarsest).removeprefix("torch.")

    @property
    def rounding(self) -> float:
        """The distance from 1 to the next number of that type."""
        return torch.finfo(self._coarsest).eps

    def _terms(self, parts: list[Tensor]) -> Iterator[Tensor]:
        """Yield each batch's part of the loss."""
        return self._mean.terms(self._named(parts), self._fixed)

    def _named(self, parts: list[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self._layout.full_names, parts, strict=True))

    def _at(self, w: Tensor | None) -> Tensor:
        return self.weights if w is None else w

    def _leaves(self, w: Tensor | None) -> list[Tensor]:
        at = self._at(w)
        own = at.clone() if at.is_inference() else at  # what was made in inference mode takes no gradient
        return [part.detach().requires_grad_() for part in self._layout.split(own)]
