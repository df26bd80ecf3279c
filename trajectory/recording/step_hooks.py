"""Hooks on the optimizers whose steps are counted, and a look at the steps of all others."""

import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

_WATCHED = 3  # the rounds whose order is looked at


class StepHooks:
    """Hooks on optimizers that together make one update of a model.

    A round ends with the step of the optimizer listed last, and makes one update: the others are to step before it,
    and may step more often or more seldom. If a GradScaler leaves the last one's step out, the round goes on.

    A round is counted by one call into C, as soon as torch calls the last optimizer's hook: an interrupt comes before
    that or after it. The weights stay as they are until `before_step` is called.

    Args:
        optimizers: The optimizers, in the order in which they step; none if updates are reported by `update()`.
        before_step: Is called before each step of an optimizer.
        after_round: Is called after each round, and once more if an interrupt ends it.
        misordered: Is called with the optimizer that steps after the last one listed, if one does.
        unknown: Is called with every other optimizer that makes a step after another such step and before the next
            round ends: a step that another one makes within its own is not told.

    Attributes:
        optimizers: The optimizers that are followed.
        before_first: Is called before the first step of a round, and once more if that step fails; None for nothing.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        before_step: Callable[[], None],
        after_round: Callable[[], None],
        misordered: Callable[[Optimizer], None],
        unknown: Callable[[Optimizer], None],
    ):
        self._before_step, self._after_round = before_step, after_round
        self._misordered, self._unknown = misordered, unknown
        self._hooks: list[RemovableHandle] = []
        self.before_first: Callable[[], None] | None = None
        self._past = 0  # rounds of optimizers that were followed before
        self.optimizers: tuple[Optimizer, ...] = ()
        self._follow(optimizers)
        if optimizers:
            _watch_all(self)

    @property
    def rounds(self) -> int:
        """The number of rounds made."""
        return self._past + (self._count().misses if self._count else 0)

    def follow(self, optimizers: Sequence[Optimizer]) -> None:
        """Count the rounds of these optimizers from now on, and no others'.

        Args:
            optimizers: The optimizers, in the order in which they step.
        """
        self.remove()
        self._past = self.rounds
        self._follow(optimizers)
        _judged.clear()

    def _follow(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = tuple(optimizers)
        self._stepped: set[int] = set()  # those that have stepped in this round
        self._rounds: list[set[int]] = []  # the same of the first rounds
        self._others = 0  # steps of other optimizers in this round
        # a cache of no entries counts its calls, before the first instruction of the function that it calls
        hooks = [lru_cache(maxsize=0)(self._hook(k)) for k in range(len(self.optimizers))]
        self._count = hooks[-1].cache_info if hooks else None

        def before(*_: object) -> None:
            self._before_step()
            if self.before_first is not None and not self._stepped:
                self.before_first()

        self._hooks = [
            *(o.register_step_pre_hook(torch.compiler.disable(before)) for o in self.optimizers),
            *(
                o.register_step_post_hook(torch.compiler.disable(h))
                for o, h in zip(self.optimizers, hooks, strict=True)
            ),
        ]

    def remove(self) -> None:
        """Take all hooks from the optimizers."""
        self.before_first = None
        handles, self._hooks = self._hooks, []
        for handle in handles:
            handle.remove()

    def see(self, optimizer: Optimizer) -> bool:
        """Take note of a step of any optimizer.

        Args:
            optimizer: The one that has made a step.

        Returns:
            Whether its further steps are of no concern here.
        """
        if not self._hooks or any(optimizer is own for own in self.optimizers):
            return True
        self._others += 1
        if self._others == 1:
            return False
        self._unknown(optimizer)
        return True

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
        self._others = 0
        if last and len(self._rounds) < _WATCHED:
            self._watch_order(stepped)

    def _watch_order(self, stepped: set[int]) -> None:
        """Report an optimizer that has not stepped before the first round's end, but in every round from then on."""
        self._rounds.append(stepped)
        if len(self._rounds) == _WATCHED:
            for k in sorted(set.intersection(*self._rounds[1:]) - self._rounds[0]):
                self._misordered(self.optimizers[k])


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
