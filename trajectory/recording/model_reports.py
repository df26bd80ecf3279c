"""What a reader of the rows has to know of the model and its optimizers, in sentences."""

from collections.abc import Sequence

from torch.optim import Optimizer

from trajectory.recording.optimizers import first_names
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.reports import NO_UPDATES, OPTIMIZER_ORDER, UNKNOWN_OPTIMIZER, WEIGHTS_CHANGED
from trajectory.recording.rows import BLOCK
from trajectory.schema.layout import UNFROZEN

_FOLLOW = "have the optimizer's updates counted by follow(optimizer), or report each by update()"


class ModelReports:
    """Reports by kind; none where the list of names that it is of is empty.

    Args:
        pipeline: Takes them, and knows the step.
    """

    def __init__(self, pipeline: Pipeline):
        self._pipeline = pipeline

    def order(self, late: Optimizer) -> None:
        """Report an optimizer that steps after the one listed last.

        Args:
            late: The optimizer.
        """
        kind = type(late).__name__
        self._file(
            OPTIMIZER_ORDER,
            f"{kind} steps after the optimizer listed last, so that each row lacks its latest step; list the"
            " optimizers in the order in which they step",
            {"optimizer": kind},
        )

    def unknown(self, optimizer: Optimizer, names: Sequence[str]) -> None:
        """Report an optimizer that is not followed.

        Args:
            optimizer: The optimizer.
            names: The measured parameters that it steps.
        """
        kind = type(optimizer).__name__
        self._name(
            UNKNOWN_OPTIMIZER,
            f"an optimizer that is not followed, {kind}, updates {_count(names, 'measured parameters')}; its updates"
            f" are not counted: {_FOLLOW}",
            names,
            optimizer=kind,
        )

    def no_state(self, optimizers: Sequence[Optimizer], step: int) -> None:
        """Report optimizers whose state was not loaded when the run was resumed.

        Args:
            optimizers: The optimizers.
            step: The update after which it was resumed.
        """
        if optimizers:
            kinds = " and ".join(type(optimizer).__name__ for optimizer in optimizers)
            self._file(
                "lost_optimizer_state",
                f"{kinds} kept no state when the run was resumed after update {step}, so that momentum and the like"
                " begin anew there; load the optimizer's state_dict as the model's, if that is not meant",
                {"optimizer": kinds, "after": step},
            )

    def uncovered(self, names: Sequence[str], measured: int) -> None:
        """Report measured parameters that no optimizer holds.

        Args:
            names: Their names.
            measured: The number of measured parameters.
        """
        self._name(
            "uncovered_parameters",
            f"{len(names)} of {measured} measured parameters are in no optimizer given"
            f" ({first_names(names)}); if another one moves them, list all in the order in which they step, as in"
            " Recorder(path, model, [first, second])",
            names,
        )

    def no_momentum(self) -> None:
        """Report that there is no momentum to be measured."""
        sentence = "the optimizer keeps no momentum, so that momentum_norm is NaN; leave it out of quantities="
        self._file("no_momentum", sentence, {})

    def unfrozen(self, names: Sequence[str], *, counted: bool, exact: bool) -> None:
        """Report parameters that training has unfrozen.

        Args:
            names: Their names.
            counted: Whether they are measured from here on.
            exact: Whether their weights are those of the start until here.
        """
        movement = "how far they move" + ("" if exact else " from here on")
        self._name(
            UNFROZEN,
            f"training unfroze {_count(names, 'parameters')} before update {self._pipeline.step + 1}; {movement}"
            f" {'counts in the totals' if counted else 'is not measured'}, and they are in no columns of their own,"
            " snapshots or sketches: frozen=True records them from the start",
            names,
            counted=counted,
            exact=exact,
        )

    def moved(self, names: Sequence[str], step: int, *, silently: bool = False) -> None:
        """Report parameters that something has changed between two updates.

        Args:
            names: Their names.
            step: The update before.
            silently: Whether to file it without a warning.
        """
        self._name(
            WEIGHTS_CHANGED,
            f"something that was not counted as an update changed {_count(names, 'measured parameters')} after update"
            f" {step}; {_FOLLOW}",
            names,
            silently=silently,
            after=step,
        )

    def no_updates(self, moved: Sequence[str]) -> None:
        """Report that a run ends without an update.

        Args:
            moved: The parameters that have changed nevertheless.
        """
        change = f", yet something changed {_count(moved, 'measured parameters')}; {_FOLLOW}" if moved else ""
        details = {"names": moved[:3], "count": len(moved)}
        self._file(NO_UPDATES, f"the run ends without an update{change}", details, silently=not moved)

    def replaced(self, names: Sequence[str]) -> None:
        """Report parameters whose places in the model others have taken.

        Args:
            names: Their names.
        """
        looked_before = max(0, self._pipeline.step - 1) // BLOCK * BLOCK
        self._name(
            "replaced_parameters",
            f"others of the same shape took the place of {_count(names, 'parameters')} in the model after update"
            f" {looked_before} or later; rows and snapshots go on with the new ones, measured from the same w_0, and"
            " hold the former ones' weights until here",
            names,
        )

    def lost(self, names: Sequence[str]) -> None:
        """Report parameters that can no longer be recorded.

        Args:
            names: Their names.
        """
        self._name(
            "lost_parameters",
            f"the model has lost {_count(names, 'recorded parameters')}, or given another shape to them; rows and"
            " snapshots go on with former weights: record a new run from here on",
            names,
        )

    def added(self, names: Sequence[str]) -> None:
        """Report parameters that the model did not have at the start.

        Args:
            names: Their names.
        """
        self._name(
            "added_parameters",
            f"the model has got {_count(names, 'more trainable parameters')}, which are not measured; record a new"
            " run from here on to measure all",
            names,
        )

    def cast(self, names: Sequence[str]) -> None:
        """Report parameters whose type is not that of the start.

        Args:
            names: Their names.
        """
        self._name(
            "cast_parameters",
            f"the type of {_count(names, 'parameters')} has changed; their rounding counts as movement, and snapshots"
            " keep the type of the start",
            names,
        )

    def _name(
        self, kind: str, sentence: str, names: Sequence[str], *, silently: bool = False, **details: object
    ) -> None:
        if names:
            self._file(kind, sentence, {"names": names[:3], "count": len(names), **details}, silently=silently)

    def _file(self, kind: str, sentence: str, details: dict[str, object], *, silently: bool = False) -> None:
        self._pipeline.reports.report(self._pipeline.step, kind, sentence, details, silently=silently)


def _count(names: Sequence[str], of: str) -> str:
    """Return their number, what they are, and the first few names."""
    return f"{len(names)} {of if len(names) != 1 else of.removesuffix('s')} ({first_names(names)})"
