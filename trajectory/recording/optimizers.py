"""The optimizers that a recorder follows: what is told of their steps, and when several have made one update."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from trajectory.errors import RecordingError

Optimizers: TypeAlias = "Optimizer | Sequence[Optimizer] | None"

# Wrappers whose `step` calls the step of their `.optimizer`, after which nothing moves the weights.
_WRAPPERS = {
    "accelerate.optimizer.AcceleratedOptimizer",
    *(f"{package}.core.optimizer.LightningOptimizer" for package in ("lightning.pytorch", "pytorch_lightning")),
    *(f"{package}.wrappers._FabricOptimizer" for package in ("lightning.fabric", "lightning_fabric")),
}
_BY_HAND = "leave the optimizer out, as in Recorder(path, model), and call recorder.update() after each update"
_WATCHED = 3  # the rounds whose order is looked at


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


def memory_time(optimizers: Sequence[Optimizer]) -> float | None:
    """Return τ, the updates after which weight decay λ has made the weights forget where they began.

    (1 − μ)/(ηλ) for SGD with momentum μ; 1/(ηλ) for AdamW, whose step has a size of its own.

    Args:
        optimizers: Those of a run. η is the rate that a schedule begins with (`initial_lr`), or else the present one.

    Returns:
        The shortest τ among the groups that decay; None where none does, or an optimizer couples the decay otherwise.
    """
    times = []
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            decoupled = "AdamW" in type(optimizer).__name__
            if not group.get("weight_decay") or not (decoupled or isinstance(optimizer, torch.optim.SGD)):
                continue
            lr, decay = float(group.get("initial_lr", group["lr"])), float(group["weight_decay"])
            if lr > 0:
                times.append((1.0 if decoupled else 1 - group.get("momentum", 0.0)) / (lr * decay))
    return min(times, default=None)


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
        RecordingError: They hold none of the model's trainable parameters.
    """
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
    memory = {_memory(p) for p in held} - {0} if left else set()
    return [name for name, p in left.items() if _memory(p) not in memory]


def first_names(names: Sequence[str], shown: int = 3) -> str:
    """Return the first few of some names in a line.

    Args:
        names: The names.
        shown: How many to name.
    """
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def _memory(tensor: Tensor) -> int:
    """Return the address of the memory that a tensor is a view of; 0 if it has none."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError, ValueError):  # not initialized yet, sparse, on no device
        return 0


class StepHooks:
    """Hooks on optimizers that together make one update of a model.

    A round ends with the step of the optimizer listed last, and makes one update: the others are to step before it,
    and may step more often or more seldom. If a GradScaler leaves the last one's step out, the round goes on.

    A round is counted by one call into C, as soon as torch calls the last optimizer's hook: an interrupt comes before
    that or after it. The weights stay as they are until `before_step` is called.

    Args:
        optimizers: The optimizers, in the order in which they step.
        before_step: Is called before each step of an optimizer.
        after_round: Is called after each round, and once more if an interrupt ends it.
        misordered: Is called with the optimizer that steps after the last one listed, if one does.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        before_step: Callable[[], None],
        after_round: Callable[[], None],
        misordered: Callable[[Optimizer], None],
    ):
        self.optimizers = tuple(optimizers)
        self._after_round, self._misordered = after_round, misordered
        self._stepped: set[int] = set()  # those that have stepped in this round
        self._rounds: list[set[int]] = []  # the same of the first rounds
        self._first: list[RemovableHandle] = []
        # a cache of no entries counts its calls, before the first instruction of the function that it calls
        hooks = [lru_cache(maxsize=0)(self._hook(k)) for k in range(len(self.optimizers))]
        self._count = hooks[-1].cache_info if hooks else None

        def before(*_: object) -> None:
            before_step()

        self._hooks = [
            *(o.register_step_pre_hook(torch.compiler.disable(before)) for o in self.optimizers),
            *(
                o.register_step_post_hook(torch.compiler.disable(h))
                for o, h in zip(self.optimizers, hooks, strict=True)
            ),
        ]

    @property
    def rounds(self) -> int:
        """The number of rounds made."""
        return self._count().misses if self._count else 0

    def watch_first(self, before_first: Callable[[], None]) -> None:
        """Have a function called before the first step of the next round.

        Args:
            before_first: The function. It is called again if the step then fails.
        """
        if self._first:
            return

        def before(*_: object) -> None:
            if not self._stepped:
                before_first()

        self._first = [optimizer.register_step_pre_hook(before) for optimizer in self.optimizers]

    def unwatch_first(self) -> None:
        """Call nothing before steps from now on."""
        handles, self._first = self._first, []
        for handle in handles:
            handle.remove()

    def remove(self) -> None:
        """Take all hooks from the optimizers."""
        self.unwatch_first()
        for handle in self._hooks:
            handle.remove()

    def _hook(self, k: int) -> Callable[..., None]:
        last = len(self.optimizers) - 1

        def after_step(*_: object) -> None:
            try:
                self._note_step(k)
                if k == last:
                    self._after_round()
            except BaseException:
                with suppress(Exception):  # what an interrupt cut short, while the gradients are there
                    if k == last:
                        self._after_round()
                raise

        return after_step

    def _note_step(self, k: int) -> None:
        self._stepped.add(k)
        last = len(self.optimizers) - 1
        if k < last:
            return
        stepped, self._stepped = self._stepped, set()
        if last and len(self._rounds) < _WATCHED:
            self._watch_order(stepped)

    def _watch_order(self, stepped: set[int]) -> None:
        """Report an optimizer that has not stepped before the first round's end, but in every round from then on."""
        self._rounds.append(stepped)
        if len(self._rounds) == _WATCHED:
            for k in sorted(set.intersection(*self._rounds[1:]) - self._rounds[0]):
                self._misordered(self.optimizers[k])
