"""First and second derivatives in reverse, joined to one vector (Pearlmutter 1994)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from analysis.errors import LandscapeError

_COMPUTED_AGAIN = (
    "the model computes parts of itself once more while it is differentiated (checkpointing), and would do that with"
    " its own weights instead of those given; switch it off"
)


@contextmanager
def differentiating() -> Iterator[None]:
    """Refuse in one line what cannot be differentiated, or would be at other weights.

    Yields:
        None, for the evaluation and its derivatives.

    Raises:
        LandscapeError: for checkpointed segments, and for operations that torch has no derivative of.
    """
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(_COMPUTED_AGAIN):
            yield
    except RuntimeError as error:
        said = str(error)
        if said == _COMPUTED_AGAIN or "use_reentrant" in said:
            raise LandscapeError(_COMPUTED_AGAIN) from None
        if "derivative for" in said and "not implemented" in said:
            raise LandscapeError(
                f"{said.split('.')[0]} in torch; expected a model and a loss of operations that have one"
            ) from None
        raise


def slopes_of(end: Tensor, leaves: Sequence[Tensor], *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """Return the derivatives of a number by each leaf.

    Args:
        end: the number.
        leaves: what it depends on.
        create_graph: keep what a further differentiation needs.

    Raises:
        LandscapeError: where it depends on none of them.
    """
    if not end.requires_grad:
        raise LandscapeError(
            "the loss has no gradient; expected differentiable functions of the model's output, without detach or"
            " argmax"
        )
    return torch.autograd.grad(end, leaves, create_graph=create_graph, materialize_grads=True)


def curved(
    slopes: Sequence[Tensor], leaves: Sequence[Tensor], towards: Sequence[Tensor], *, retain_graph: bool = False
) -> Tensor:
    """Differentiate the slopes along a direction; those of weights that the loss is linear in are constants.

    Args:
        slopes: the first derivatives, with their graph.
        leaves: by what they are differentiated.
        towards: the direction, in the leaves' shapes.
        retain_graph: keep the graph for another direction.

    Returns:
        (weight,), the Hessian times the direction.
    """
    pairs = [(slope, part) for slope, part in zip(slopes, towards, strict=True) if slope.requires_grad]
    if not pairs:
        return joined([torch.zeros_like(leaf) for leaf in leaves])
    ends, parts = zip(*pairs, strict=True)
    return joined(torch.autograd.grad(ends, leaves, parts, retain_graph=retain_graph, materialize_grads=True))


def finite_slopes(derivative: Tensor) -> Tensor:
    """Return a derivative, or refuse one that is no finite number.

    Args:
        derivative: (weight,) a gradient, or a Hessian-vector product.

    Raises:
        LandscapeError: where a number is NaN or infinite.
    """
    if not derivative.isfinite().all():
        raise LandscapeError(
            "the loss is finite, but a derivative of it is not; expected a model and a loss that are smooth there: a"
            " square root, as in a norm, is not at 0"
        )
    return derivative


def joined(parts: Iterable[Tensor]) -> Tensor:
    """Return tensors joined to one vector.

    Args:
        parts: the tensors; those of embeddings may be sparse.
    """
    return torch.cat([(part.to_dense() if part.is_sparse else part).reshape(-1) for part in parts])
