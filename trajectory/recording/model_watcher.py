"""Changes of a model and of its optimizers that a recorder was not told of: each is warned of and filed as an event.

What is looked at, and when:

- before each update, which parameters have been unfrozen: they count from then on, by a copy of their weights alone;
- after 1, 2, 4, ... and every 64 updates, before the next one, by the tensors' version counters, whether the weights
  were written to since the last update; then, and in the end, by measuring once more, whether they have moved: equal
  weights give equal numbers;
- every 64 updates and in the end, whether the model's parameters are those of the start, and in the optimizers, and
  whether these keep the momentum that is to be measured.
"""

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trajectory.measure.host_copy import HostCopy
from trajectory.measure.ranks import is_distributed
from trajectory.measure.sharding import is_dtensor
from trajectory.measure.tracked_parameters import plain_names
from trajectory.recording.optimizers import first_names, uncovered
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.reports import NO_UPDATES, OPTIMIZER_ORDER, UNKNOWN_OPTIMIZER, WEIGHTS_CHANGED
from trajectory.recording.rows import BLOCK
from trajectory.recording.session import Session
from trajectory.schema.layout import UNFROZEN

_TRAINABLE = attrgetter("requires_grad")
_FOLLOW = "have the optimizer's updates counted by follow(optimizer), or report each by update()"


class ModelWatcher:
    """Compares a model and its optimizers with what is recorded of them.

    Args:
        model: The model.
        session: The recording.
        pipeline: Takes the reports, and measures.
    """

    def __init__(self, model: nn.Module, session: Session, pipeline: Pipeline):
        self._model, self._session, self._pipeline = model, session, pipeline
        self._measured_model = pipeline.measured_model
        self._tracked = session.tracked
        self._optimizers: Sequence[Optimizer] = ()
        self._parameters = list(model.parameters())  # as they were when they were looked at last
        self._dtypes = [p.dtype for p in self._parameters]
        self._specs = self._tracked.specs
        self._frozen = dict(self._tracked.frozen)
        self._versions = {name: _version(p) for name, p in self._frozen.items()}
        self._late: dict[str, Tensor] = {}  # unfrozen parameters that count
        self._uncovered: set[str] = set()
        self._lost: set[str] = set()
        self._resized = 0  # parameters reported as such
        self._has_moved = False  # whether an event says that weights moved between updates
        self._last_versions: list[int] = []  # after the last update, if the next one is to be looked at
        self._checks: list[tuple[int, HostCopy]] = []

    @property
    def looks_before(self) -> bool:
        """Whether there is something to look at before the next update."""
        return bool(self._last_versions or self._frozen)

    def follow(self, optimizers: Sequence[Optimizer]) -> None:
        """Compare with other optimizers from now on.

        Args:
            optimizers: The optimizers whose steps are counted; none if updates are reported by `update()`.
        """
        self._optimizers = optimizers
        self._measured_model.follow(optimizers)
        self._uncovered.clear()
        self._report_uncovered()

    def forget_unfrozen(self) -> None:
        """Take the parameters that were unfrozen for frozen ones again, since the rows go on from an earlier step."""
        self._frozen |= {name: p for name, p in self._tracked.frozen.items() if name in self._late}
        self._versions.update(dict.fromkeys(self._late, -1))
        self._late.clear()

    def look_for_unfrozen(self) -> None:
        """Count the parameters that have been unfrozen from now on."""
        if any(map(_TRAINABLE, self._frozen.values())):
            self._count_unfrozen()

    def before_update(self) -> None:
        """Look at what has to be known before the next update."""
        self.look_for_unfrozen()
        before, self._last_versions = self._last_versions, []
        if before and before != self._measured_versions():
            changed = self._measured_model.changed(self._pipeline.step)
            if changed is not None:
                self._checks.append((self._pipeline.step, HostCopy(changed)))

    def after_update(self) -> None:
        """Look at what an update may have changed; most of it once in a block."""
        step = self._pipeline.step
        if step % BLOCK == 0:
            self._look()
        if step % BLOCK == 0 or step & (step - 1) == 0:
            self._last_versions = self._measured_versions()

    def at_end(self) -> None:
        """Look at everything once more, and say so if no update was counted."""
        self._look()
        changed = self._measured_model.changed(self._pipeline.step)
        moved = [] if changed is None else self._moved(changed)
        if self._pipeline.step == 0:
            self._report_none(moved)
        else:
            self._report_moved(moved, self._pipeline.step)

    def report_order(self, late: Optimizer) -> None:
        """Report an optimizer that steps after the one listed last.

        Args:
            late: The optimizer.
        """
        kind = type(late).__name__
        self._pipeline.reports.report(
            self._pipeline.step,
            OPTIMIZER_ORDER,
            f"{kind} steps after the optimizer listed last, so that each row lacks its latest step; list the"
            " optimizers in the order in which they step",
            {"optimizer": kind},
        )

    def report_unknown(self, optimizer: Optimizer) -> None:
        """Report an optimizer that steps measured parameters and is not followed.

        Args:
            optimizer: The optimizer.
        """
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        recorded = {**self._tracked.measured, **self._late}
        names = [name for name, p in recorded.items() if id(p) in held]
        if set(names) <= self._uncovered:
            return
        kind = type(optimizer).__name__
        self._report(
            UNKNOWN_OPTIMIZER,
            f"an optimizer that is not followed, {kind}, updates {_count(names, 'measured parameters')}; its updates"
            f" are not counted: {_FOLLOW}",
            names,
            optimizer=kind,
        )

    def _look(self) -> None:
        """Compare the model with what it was when it was looked at last, and report what checks have found."""
        self._report_checks()
        parameters = list(self._model.parameters())
        known = self._parameters
        if len(parameters) != len(known) or any(p is not q for p, q in zip(parameters, known, strict=True)):
            self._parameters = parameters
            self._compare_names()
        if (dtypes := [p.dtype for p in parameters]) != self._dtypes:
            self._dtypes = dtypes
            self._report_cast()
        self._report_resized()
        self._report_uncovered()
        if self._pipeline.step and self._measured_model.lacks_momentum:
            self._report_no_momentum()

    def _compare_names(self) -> None:
        plain, tracked = plain_names(self._model), self._tracked
        now = {plain(name): p for name, p in self._model.named_parameters(remove_duplicate=False)}
        present = {id(p) for p in now.values()}
        known = {id(p): name for name, p in [*tracked.parameters.items(), *self._frozen.items(), *self._late.items()]}
        absent = [name for name, p in tracked.parameters.items() if id(p) not in present]
        followed = [name for name in absent if name in now and id(now[name]) not in known and self._fits(name, now)]
        for name in followed:
            self._measured_model.replace(name, now[name])
            known[id(now[name])] = name
        for name, p in self._frozen.items():
            if id(p) not in present and name in now and now[name].shape == p.shape:
                self._frozen[name], self._versions[name] = now[name], -1
                known[id(now[name])] = name
        lost = [name for name in [*absent, *self._late] if name not in followed and id(now.get(name)) not in known]
        added = {id(p): name for name, p in now.items() if p.requires_grad and id(p) not in known}
        self._report_replaced(followed)
        self._report_lost(lost)
        self._report_added(list(added.values()))

    def _fits(self, name: str, now: dict[str, nn.Parameter]) -> bool:
        """Return whether the parameter that has a name now can be recorded under it."""
        found = now[name]
        plain = (
            found.is_floating_point()
            and found.layout == torch.strided
            and not (is_distributed() and is_dtensor(found))
        )
        fixed = self._session.ranks.sharded
        return plain and not fixed and found.shape == self._tracked.parameters[name].shape

    def _count_unfrozen(self) -> None:
        late = {name: p for name, p in self._frozen.items() if p.requires_grad}
        since_start = all(_version(p) == self._versions[name] for name, p in late.items())
        exact = since_start and not self._session.resumes
        for name in late:
            del self._frozen[name]
        names, step = list(late), self._pipeline.step
        counted = self._measured_model.extend(list(late.values()))
        if counted:
            self._late |= late
        movement = "how far they move" + ("" if exact else " from here on")
        self._report(
            UNFROZEN,
            f"training unfroze {_count(names, 'parameters')} before update {step + 1}; {movement}"
            f" {'counts in the totals' if counted else 'is not measured'}, and they are in no columns of their own,"
            " snapshots or sketches: frozen=True records them from the start",
            names,
            counted=counted,
            exact=exact,
        )

    @property
    def _names(self) -> list[str]:
        """The parameters that count, in the order of a row's columns."""
        return [*self._tracked.measured, *self._late]

    def _moved(self, changed: Tensor) -> list[str]:
        # parameters unfrozen since the comparison was made come last
        return [name for name, moved in zip(self._names, changed.tolist(), strict=False) if moved]

    def _measured_versions(self) -> list[int]:
        return [_version(p) for p in self._tracked.measured.values()]

    def _report_checks(self) -> None:
        """File the first move between two updates, which the row of the next one holds: as an event alone."""
        while self._checks and self._checks[0][1].ready():
            step, copy = self._checks.pop(0)
            moved = self._moved(copy.wait())
            if moved and not self._has_moved:
                self._has_moved = True
                self._report_moved(moved, step, silently=True)

    def _report_moved(self, names: list[str], step: int, *, silently: bool = False) -> None:
        if set(names) <= self._uncovered:
            return
        self._report(
            WEIGHTS_CHANGED,
            f"something that was not counted as an update changed {_count(names, 'measured parameters')} after update"
            f" {step}; {_FOLLOW}",
            names,
            silently=silently,
            after=step,
        )

    def _report_none(self, moved: list[str]) -> None:
        change = f", yet something changed {_count(moved, 'measured parameters')}; {_FOLLOW}" if moved else ""
        details = {"names": moved[:3], "count": len(moved)}
        self._pipeline.reports.report(
            0, NO_UPDATES, f"the run ends without an update{change}", details, silently=not moved
        )

    def _report_replaced(self, names: list[str]) -> None:
        self._report(
            "replaced_parameters",
            f"others of the same shape took the place of {_count(names, 'parameters')} in the model; rows and"
            " snapshots go on with the new ones, measured from the same w_0",
            names,
        )

    def _report_lost(self, names: list[str]) -> None:
        self._lost.update(names)
        self._report(
            "lost_parameters",
            f"the model has lost {_count(names, 'recorded parameters')}, or given another shape to them; rows and"
            " snapshots go on with former weights: record a new run from here on",
            names,
        )

    def _report_added(self, names: list[str]) -> None:
        self._report(
            "added_parameters",
            f"the model has got {_count(names, 'more trainable parameters')}, which are not measured; record a new"
            " run from here on to measure all",
            names,
        )

    def _report_cast(self) -> None:
        start = {spec.name: spec.dtype for spec in self._specs}
        cast = [name for name, p in self._tracked.parameters.items() if str(p.dtype) != f"torch.{start[name]}"]
        self._report(
            "cast_parameters",
            f"the type of {_count(cast, 'parameters')} has changed; their rounding counts as movement, and snapshots"
            " keep the type of the start",
            cast,
        )

    def _report_resized(self) -> None:
        resized = self._session.observables.resized if self._session.observables else []
        fresh, self._resized = resized[self._resized :], len(resized)
        self._report_lost([self._names[k] for k in fresh])

    def _report_no_momentum(self) -> None:
        self._pipeline.reports.report(
            self._pipeline.step,
            "no_momentum",
            "the optimizer keeps no momentum, so that momentum_norm is NaN; leave it out of quantities=",
            {},
        )

    def _report_uncovered(self) -> None:
        measured = {n: p for n, p in {**self._tracked.measured, **self._late}.items() if n not in self._lost}
        names = uncovered(measured, self._optimizers)
        if names and not set(names) <= self._uncovered:
            self._uncovered.update(names)
            self._report(
                "uncovered_parameters",
                f"{len(names)} of {len(measured)} measured parameters are in no optimizer given"
                f" ({first_names(names)}); if another one moves them, list all in the order in which they step, as in"
                " Recorder(path, model, [first, second])",
                names,
            )

    def _report(
        self, kind: str, sentence: str, names: list[str], *, silently: bool = False, **details: object
    ) -> None:
        if names:
            details = {"names": names[:3], "count": len(names), **details}
            self._pipeline.reports.report(self._pipeline.step, kind, sentence, details, silently=silently)


def _count(names: Sequence[str], of: str) -> str:
    """Return their number, what they are, and the first few names."""
    return f"{len(names)} {of if len(names) != 1 else of.removesuffix('s')} ({first_names(names)})"


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written to; 0 if it does not count that."""
    return 0 if tensor.is_inference() else tensor._version
