"""The optimizers that a recorder follows: which they may be, and which parameters they hold."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from torch import Tensor, nn
from torch.optim import Optimizer

from trajectory.errors import RecordingError
from trajectory.measure.optimizer_state import memory_address

Optimizers: TypeAlias = "Optimizer | Sequence[Optimizer] | None"

# Wrappers whose `step` calls the step of their `.optimizer`, after which nothing moves the weights.
_WRAPPERS = {
    "accelerate.optimizer.AcceleratedOptimizer",
    *(f"{package}.core.optimizer.LightningOptimizer" for package in ("lightning.pytorch", "pytorch_lightning")),
    *(f"{package}.wrappers._FabricOptimizer" for package in ("lightning.fabric", "lightning_fabric")),
}
_BY_HAND = "leave the optimizer out, as in Recorder(path, model), and call recorder.update() after each update"


def unwrap_optimizer(optimizer: Optimizer) -> Optimizer:
    """Find the optimizer whose steps call hooks: wrappers such as Accelerate's call none, the one inside them does.

    Args:
        optimizer: An optimizer, or a wrapper of a known type around one.

    Returns:
        The optimizer of torch.

    Raises:
        RecordingError: There is none, or nothing is known of what the wrapper does to the weights.
    """
    inner, types = optimizer, {f"{kind.__module__}.{kind.__qualname__}" for kind in type(optimizer).__mro__}
    if types & _WRAPPERS:
        inner = optimizer.optimizer  # type: ignore[attr-defined]
    # an optimizer that does not call Optimizer.__init__ has a step that calls no hooks
    if isinstance(inner, Optimizer) and getattr(type(inner).step, "hooked", False):
        return inner
    kind = type(optimizer).__name__
    if hasattr(optimizer, "optimizer"):
        raise RecordingError(
            f"got a {kind}, which holds an optimizer; what it does to the weights after that one's step is not seen:"
            f" {_BY_HAND}"
        )
    raise RecordingError(
        f"got a {kind}; expected a torch.optim.Optimizer, whose steps are seen, or a list of them; for others"
        f" {_BY_HAND}"
    )


def unwrap_optimizers(optimizers: Optimizers) -> tuple[Optimizer, ...]:
    """List the optimizers of torch among the arguments of a recorder.

    Args:
        optimizers: One optimizer, several in the order in which they step, or None.

    Returns:
        The optimizers, unwrapped; none for None.

    Raises:
        RecordingError: One is no optimizer, or stands there twice, or the list is empty.
    """
    if optimizers is None:
        return ()
    if not isinstance(optimizers, (list, tuple)):
        return (unwrap_optimizer(optimizers),)  # type: ignore[arg-type]
    found = tuple(map(unwrap_optimizer, optimizers))
    if not found or len(set(map(id, found))) < len(found):
        raise RecordingError(
            f"got {len(found)} optimizers{', one of them twice' if found else ''}; expected each optimizer of the"
            " model once, in the order in which they step"
        )
    return found


def check_common(model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Check that optimizers train a model at all.

    Args:
        model: The model.
        optimizers: Its optimizers; none if updates are reported by `update()`.

    Raises:
        RecordingError: They hold none of the model's trainable parameters, or the model is no module.
    """
    if not isinstance(model, nn.Module):
        raise RecordingError(f"got a {type(model).__name__} as the model; expected a torch.nn.Module")
    own = {str(k): p for k, p in enumerate(model.parameters()) if p.requires_grad}
    if own and len(uncovered(own, optimizers)) == len(own):
        kinds = " and ".join(type(optimizer).__name__ for optimizer in optimizers)
        raise RecordingError(
            f"{kinds} holds none of the model's trainable parameters; give the optimizer made from this model's"
            f" parameters. For an averaged copy, or weights copied from an optimizer's own, {_BY_HAND}"
        )


def uncovered(parameters: Mapping[str, Tensor], optimizers: Sequence[Optimizer]) -> list[str]:
    """List the parameters that no optimizer holds; one that is a view of what an optimizer holds is held as well.

    Args:
        parameters: The measured parameters by name.
        optimizers: The optimizers whose steps are counted; none if updates are reported by `update()`.

    Returns:
        The names, none if there are no optimizers.
    """
    held = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    if not held:
        return []
    own = {id(p) for p in held}
    left = {name: p for name, p in parameters.items() if id(p) not in own}
    memory = {memory_address(p) for p in held} - {0} if left else set()
    return [name for name, p in left.items() if memory_address(p) not in memory]


def first_names(names: Sequence[str], shown: int = 3) -> str:
    """Return the first few of some names in a line.

    Args:
        names: The names.
        shown: How many to name.
    """
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")
