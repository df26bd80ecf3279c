"""Changes of a model and of its optimizers that a recorder was not told of: each is warned of and filed as an event.

What is looked at, and when:

- before each update, which parameters have been unfrozen (`late_parameters`);
- after each of the first updates and every 64, before the next one, and in the end, whether the weights have moved
  since the last update (`weight_moves`);
- before and after the first update of a resumed run, whether its optimizers' states were loaded;
- every 64 updates and in the end, whether the model's parameters are those of the start, and in the optimizers, and
  whether these keep the momentum that is to be measured.

An interrupt may end any of it, and the next call goes on: what has been seen is reported first, and noted then.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from trajectory.measure.plain_names import plain_names
from trajectory.measure.ranks import is_distributed
from trajectory.measure.sharding import is_dtensor
from trajectory.measure.weight_copy import has_memory
from trajectory.recording.late_parameters import LateParameters
from trajectory.recording.model_reports import ModelReports
from trajectory.recording.optimizers import uncovered
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.rows import BLOCK
from trajectory.recording.session import Session
from trajectory.recording.weight_moves import WeightMoves


class ModelWatcher:
    """Compares a model and its optimizers with what is recorded of them.

    Args:
        model: The model.
        session: The recording.
        pipeline: Takes the reports, and measures.

    Attributes:
        optimizers: The optimizers whose steps are counted; none if updates are reported by `update()`.
        seen: The update after which was looked last.
    """

    def __init__(self, model: nn.Module, session: Session, pipeline: Pipeline):
        self.optimizers: Sequence[Optimizer] = ()
        self.seen = pipeline.step
        self._model, self._session, self._pipeline = model, session, pipeline
        self._measured_model, self._tracked = pipeline.measured_model, session.tracked
        self._reports = reports = ModelReports(pipeline)
        self._late = LateParameters(session, self._measured_model, reports)
        self._moves = WeightMoves(self._measured_model)
        self._parameters = list(model.parameters())  # as they were when they were looked at last
        self._dtypes = [p.dtype for p in self._parameters]
        self._specs = self._tracked.specs
        self._replaced: list[str] = []  # parameters that are to be reported as such
        self._uncovered: set[str] = set()
        self._lost: set[str] = set()
        self._resized = 0  # parameters reported as such
        self._has_moved = False  # whether an event says that weights moved between updates
        self._without_state: list[Optimizer] = []  # optimizers, before the first update of a resumed run

    @property
    def looks_before(self) -> bool:
        """Whether there is something to look at before the next update."""
        return bool(self._moves.looks_before or self._late.frozen)

    def follow(self, optimizers: Sequence[Optimizer]) -> None:
        """Compare with other optimizers from now on.

        Args:
            optimizers: The optimizers whose steps are counted; none if updates are reported by `update()`.
        """
        self._measured_model.follow(optimizers)
        self._uncovered.clear()
        self._look_for_uncovered(optimizers)
        self.optimizers = optimizers

    def go_back(self) -> None:
        """Go on from an earlier step, which the pipeline has gone back to."""
        self._late.go_back()
        self.seen = self._pipeline.step

    def look_for_unfrozen(self) -> None:
        """Count the parameters that have been unfrozen from now on."""
        self._late.look()

    def before_update(self) -> None:
        """Look at what has to be known before the next update."""
        self._late.look()
        self._moves.before_update(self._pipeline.step)

    def before_resumed(self) -> None:
        """Note the optimizers that keep no state before the first update of a resumed run."""
        self._without_state = [optimizer for optimizer in self.optimizers if not _keeps_state(optimizer)]

    def after_resumed(self) -> None:
        """Report those of them that keep state after it: theirs was not loaded."""
        step = self._pipeline.step - 1
        self._reports.no_state([o for o in self._without_state if step and _keeps_state(o)], step)
        self._without_state.clear()

    def after_update(self) -> None:
        """Look at what an update may have changed; most of it once in a block."""
        step = self._pipeline.step
        if step % BLOCK == 0:
            self._look()
        self._moves.after_update(step)
        self.seen = step

    def at_end(self) -> None:
        """Look at everything once more, and say so if no update was counted."""
        self._look()
        step = self._pipeline.step
        moved = self._moved(self._moves.in_the_end(step))
        if step == 0:
            self._reports.no_updates(moved)
        else:
            self._report_moved(moved, step)

    def report_order(self, late: Optimizer) -> None:
        """Report an optimizer that steps after the one listed last.

        Args:
            late: The optimizer.
        """
        self._reports.order(late)

    def report_unknown(self, optimizer: Optimizer) -> None:
        """Report an optimizer that steps measured parameters and is not followed.

        Args:
            optimizer: The optimizer.
        """
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        names = [name for name, p in self._recorded.items() if id(p) in held]
        if not set(names) <= self._uncovered:
            self._reports.unknown(optimizer, names)

    @property
    def _recorded(self) -> dict[str, nn.Parameter]:
        """The parameters that count, in the order of a row's columns."""
        return {**self._tracked.measured, **self._late.counted}

    def _look(self) -> None:
        """Compare the model with what it was when it was looked at last, and report what checks have found."""
        self._report_checks()
        parameters = list(self._model.parameters())
        known = self._parameters
        if len(parameters) != len(known) or any(p is not q for p, q in zip(parameters, known, strict=True)):
            self._compare_names()
            self._parameters = parameters
        if (dtypes := [p.dtype for p in parameters]) != self._dtypes:
            self._look_for_cast()
            self._dtypes = dtypes
        self._look_for_resized()
        self._look_for_uncovered(self.optimizers)
        if self._pipeline.step and self._measured_model.lacks_momentum:
            self._reports.no_momentum()

    def _compare_names(self) -> None:
        plain, tracked = plain_names(self._model), self._tracked
        now = {plain(name): p for name, p in self._model.named_parameters(remove_duplicate=False)}
        present = {id(p): p for p in now.values()}
        own = [*tracked.parameters.items(), *self._late.frozen.items(), *self._late.counted.items()]
        known = {id(p): name for name, p in own}
        absent = [name for name, p in tracked.parameters.items() if id(p) not in present]
        followed = [name for name in absent if name in now and id(now[name]) not in known and self._fits(name, now)]
        self._replaced += followed
        for name in followed:
            self._measured_model.replace(name, now[name])
            known[id(now[name])] = name
        known |= {id(p): "" for p in self._late.follow(present, now)}
        absent += self._late.counted
        lost = [name for name in absent if name not in followed and id(now.get(name)) not in known]
        added = {id(p): name for name, p in now.items() if p.requires_grad and id(p) not in known}
        self._reports.replaced(list(dict.fromkeys(self._replaced)))
        self._report_lost(lost)
        self._reports.added(list(added.values()))
        self._replaced.clear()

    def _fits(self, name: str, now: dict[str, nn.Parameter]) -> bool:
        """Return whether the parameter that has a name now can be recorded under it."""
        found = now[name]
        plain = (
            found.is_floating_point()
            and found.layout == torch.strided
            and has_memory(found)
            and not (is_distributed() and is_dtensor(found))
        )
        fixed = self._session.ranks.sharded
        return plain and not fixed and found.shape == self._tracked.parameters[name].shape

    def _moved(self, changed: Sequence[bool]) -> list[str]:
        # parameters unfrozen since the comparison was made come last
        return [name for name, moved in zip(self._recorded, changed, strict=False) if moved]

    def _report_checks(self) -> None:
        """File the first move between two updates, which the row of the next one holds: as an event alone."""
        while found := self._moves.found():
            step, changed = found
            moved = self._moved(changed)
            if moved and not self._has_moved:
                self._report_moved(moved, step, silently=True)
                self._has_moved = True
            self._moves.forget()

    def _report_moved(self, names: list[str], step: int, *, silently: bool = False) -> None:
        if not set(names) <= self._uncovered:
            self._reports.moved(names, step, silently=silently)

    def _report_lost(self, names: list[str]) -> None:
        self._reports.lost(names)
        self._lost.update(names)

    def _look_for_cast(self) -> None:
        start = {spec.name: spec.dtype for spec in self._specs}
        cast = [name for name, p in self._tracked.parameters.items() if str(p.dtype) != f"torch.{start[name]}"]
        self._reports.cast(cast)

    def _look_for_resized(self) -> None:
        resized, recorded = self._measured_model.resized, list(self._recorded)
        self._report_lost([recorded[k] for k in resized[self._resized :]])
        self._resized = len(resized)

    def _look_for_uncovered(self, optimizers: Sequence[Optimizer]) -> None:
        measured = {name: p for name, p in self._recorded.items() if name not in self._lost}
        names = uncovered(measured, optimizers)
        if not set(names) <= self._uncovered:
            self._reports.uncovered(names, len(measured))
            self._uncovered.update(names)


def _keeps_state(optimizer: Optimizer) -> bool:
    return any(optimizer.state.values())
