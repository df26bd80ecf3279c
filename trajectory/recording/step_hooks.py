"""Hooks on the optimizers whose steps are counted, and a look at the steps of all others."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from trajectory.signals import finish_if_interrupted

_WATCHED = 3  # the rounds whose order is looked at


@dataclass
class _Round:
    """What was noted of a round.

    Attributes:
        number: The rounds made before it.
        stepped: The optimizers that have made a step in it, by their place among those followed; not the last one.
        others: The steps of all other optimizers.
    """

    number: int
    stepped: set[int] = field(default_factory=set)
    others: int = 0


@dataclass(eq=False)
class _Followed:
    """The optimizers whose rounds are counted.

    Attributes:
        optimizers: The optimizers, in the order in which they step.
        past: The rounds of those that were followed before.
        count: Returns how often the last one's hook was called.
        first: Those that stepped in each of the first rounds, by its number.
        judged: Whether their order was judged by these.
    """

    optimizers: tuple[Optimizer, ...]
    past: int
    count: Callable[[], Any]
    first: dict[int, set[int]] = field(default_factory=dict)
    judged: bool = False


class StepHooks:
    """Hooks on optimizers that together make one update of a model.

    A round ends with the step of the optimizer listed last, and makes one update: the others are to step before it,
    and may step more often or more seldom. If a GradScaler leaves the last one's step out, the round goes on.

    A round is counted by one call into C, as soon as torch calls the last optimizer's hook: an interrupt comes before
    that or after it. The weights stay as they are until `before_step` is called.

    Args:
        before_step: Is called before each step of an optimizer.
        after_round: Is called after each round, and once more if an interrupt ends it.
        misordered: Is called with the optimizer that steps after the last one listed, if one does.
        unknown: Is called with every other optimizer that makes a step after another such step and before the next
            round ends: a step that another one makes within its own is not told.

    Attributes:
        before_round: Is called before the first step of each round, again if the step then fails; None for nothing.
    """

    def __init__(
        self,
        before_step: Callable[[], None],
        after_round: Callable[[], None],
        misordered: Callable[[Optimizer], None],
        unknown: Callable[[Optimizer], None],
    ):
        self.before_round: Callable[[], None] | None = None
        self._before_step, self._after_round = before_step, after_round
        self._misordered, self._unknown = misordered, unknown
        self._handles: list[RemovableHandle] = []
        self._followed, self._round = _Followed((), 0, _counter(_nothing).cache_info), _Round(0)

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """The optimizers whose rounds are counted."""
        return self._followed.optimizers

    @property
    def rounds(self) -> int:
        """The number of rounds made."""
        followed = self._followed
        return followed.past + followed.count().misses

    def watch(self, optimizers: Sequence[Optimizer]) -> None:
        """Count the rounds of optimizers, and see the steps of all others.

        Args:
            optimizers: The optimizers, in the order in which they step; none if updates are reported by `update()`.
        """
        self.follow(optimizers)
        if optimizers:
            _watch_all(self)

    def follow(self, optimizers: Sequence[Optimizer]) -> None:
        """Count the rounds of these optimizers from now on, and no others'.

        Args:
            optimizers: The optimizers, in the order in which they step.
        """
        former, last = list(self._handles), len(optimizers) - 1
        hooks = [_counter(self._hook(k, last)) for k in range(len(optimizers))]
        for optimizer, hook in zip(optimizers, hooks, strict=True):
            self._handles.append(optimizer.register_step_pre_hook(torch.compiler.disable(self._before)))
            self._handles.append(optimizer.register_step_post_hook(torch.compiler.disable(hook)))
        _judged.clear()
        # from here on the new hooks count, by one assignment, and those that are left of the former ones do not
        self._followed = _Followed(tuple(optimizers), self.rounds, (hooks or [_counter(_nothing)])[-1].cache_info)
        self._round = _Round(self.rounds)
        for handle in former:
            handle.remove()
            self._handles.remove(handle)

    def remove(self) -> None:
        """Take all hooks from the optimizers."""
        self.before_round = None
        self._before_step = self._after_round = _nothing  # of a hook that an interrupt has left without its handle
        while self._handles:
            self._handles[-1].remove()
            del self._handles[-1]

    def see(self, optimizer: Optimizer) -> bool:
        """Take note of a step of any optimizer.

        Args:
            optimizer: The one that has made a step.

        Returns:
            Whether its further steps are of no concern here.
        """
        if not self._handles or any(optimizer is own for own in self.optimizers):
            return True
        this = self._this_round()
        this.others += 1
        if this.others == 1:
            return False
        self._unknown(optimizer)
        return True

    def _before(self, *_: object) -> None:
        self._before_step()
        if self.before_round and not self._this_round().stepped:
            self.before_round()

    def _hook(self, k: int, last: int) -> Callable[..., None]:
        def note(*_: object) -> None:
            self._this_round().stepped.add(k)

        def end(*_: object) -> None:
            # while the gradients are there
            finish_if_interrupted(self._end_round if last else self._after_round)

        return note if k < last else end

    def _this_round(self) -> _Round:
        """Return what was noted of the round that is not made yet."""
        if self._round.number != self.rounds:
            self._round = _Round(self.rounds)
        return self._round

    def _end_round(self) -> None:
        if not self._followed.judged:
            self._watch_order(self._followed)
        self._after_round()

    def _watch_order(self, followed: _Followed) -> None:
        """Report an optimizer that has not stepped before the first round's end, but in every round from then on."""
        followed.first[self.rounds] = self._round.stepped if self._round.number == self.rounds - 1 else set()
        if len(followed.first) >= _WATCHED:
            first, *later = followed.first.values()
            for k in sorted(set.intersection(*later) - first):
                self._misordered(followed.optimizers[k])
            followed.judged = True


def _counter(function: Callable[..., None]) -> Any:
    """Have a function's calls counted in C, before its first instruction, as a cache of no entries counts them."""
    return lru_cache(maxsize=0)(function)


def _nothing() -> None:
    pass


_open: "weakref.WeakSet[StepHooks]" = weakref.WeakSet()
_judged: "weakref.WeakSet[Optimizer]" = weakref.WeakSet()  # those whose steps no recorder wants to hear of
_handles: list[RemovableHandle] = []


def _watch_all(hooks: StepHooks) -> None:
    """Have hooks see every optimizer's steps.

    torch's hook on all optimizers stays from the first time on: removed within a step, it would break that step.
    """
    _open.add(hooks)
    if not _handles:
        _handles.append(register_optimizer_step_post_hook(torch.compiler.disable(_see_step)))


def _see_step(optimizer: Optimizer, *_: object) -> None:
    if optimizer not in _judged:
        of_no_concern = [hooks.see(optimizer) for hooks in list(_open)]
        if all(of_no_concern):
            _judged.add(optimizer)
